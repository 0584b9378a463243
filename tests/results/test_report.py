"""The report shows whatever was made as one page, says what is missing, and never a smoke number as a reproduction."""

import json
import re
import shutil
from pathlib import Path

import browser
import pytest
from conftest import command, keep_only, set_params
from test_reference import finished, measurements

from pipeline import papers
from pipeline.config.reading import load
from pipeline.keep import keep
from pipeline.papers import Cell
from pipeline.report import REPORT, best_table, report
from pipeline.results.claims import COLUMNS, measured_by
from pipeline.results.page.cells import agreement, decimals, displayed
from pipeline.results.page.parts import Shelf
from pipeline.results.page.plots import around, dot, of_differences
from pipeline.results.page.runs import Link, Runs, curve, duration
from pipeline.results.tables import names
from pipeline.system.files import read_lines, write_lines
from pipeline.work.graph import Graph

FULL = {"paper": "90", "mean": "90.3", "sd": "0.2", "n": "3", "dataset": "cifar10", "state": "measured"}
ENTER, ESCAPE, TAB = {"key": "Enter", "code": 13}, {"key": "Escape", "code": 27}, {"key": "Tab", "code": 9}


@pytest.mark.parametrize(
    ("changes", "whole", "mark"),
    [
        ({}, True, "agrees"),  # half the 95 % interval of three: 4.303 x 0.2 / sqrt(3) = 0.497
        ({"mean": "90.6"}, True, "near"),
        ({"sd": "", "n": "1"}, True, "near"),
        ({"mean": "92"}, True, "above"),
        ({"mean": "88"}, True, "below"),
        ({"paper": ""}, True, "alone"),
        ({"state": "substitute"}, True, "substitute"),
        ({}, False, "capped"),
        ({"dataset": "procedural"}, False, "drawn"),
        ({"dataset": "procedural"}, True, "drawn"),
    ],
)
def test_only_full_runs_on_the_papers_data_are_compared(changes, whole, mark):
    assert agreement({**FULL, **changes}, whole=whole) == mark


def test_a_column_has_as_many_digits_as_the_paper_prints():
    cells = [Cell(paper=value, of="a.b.c", metric="psnr") for value in (22.19, 23.5, 23.87)]
    line = {
        "mean": "23.456",
        "sd": "0.1234",
        "delta": "-0.044",
        **{k: FULL[k] for k in ("n", "dataset", "state")},
    }
    found = displayed(cells[1], {**line, "paper": "23.5"}, decimals=decimals(cells), whole=True)
    assert (found.paper, found.ours, found.spread, found.delta) == ("23.50", "23.46", "0.12", "−0.04")
    assert decimals([Cell(paper=80.0, of="a.b.c", metric="psnr")]) == 0
    assert decimals([Cell(of="a.b.c", metric="psnr")]) == 2


def test_a_substitute_of_another_metric_names_it():
    line, cell = {**FULL, "delta": "", "state": "substitute"}, Cell(paper=71.25, of="a.b.c", metric="map")
    notes = [
        displayed(cell, line | {"metric": each}, decimals=2, whole=False).note for each in ("map", "accuracy")
    ]
    assert notes == ["cifar10", "accuracy on cifar10"]


def test_a_curve_goes_from_its_first_epoch_to_its_last_and_from_its_greatest_loss_to_its_least():
    drawn = curve([[4.0, 2.0, 1.0], [3.0, 2.0, 1.5]])
    assert (drawn.low, drawn.high, drawn.epochs) == ("1", "4", 3)
    assert drawn.lines[0].split() == ["0.0,0.0", "230.0,86.7", "460.0,130.0"]
    assert curve([[]]) is None
    close = curve([[1.0532, 1.0529]])
    assert (close.low, close.high) == ("1.0529", "1.0532")


def test_a_difference_leads_to_the_runs_on_both_sides_of_it():
    by = Link("Table 1", "#paper-table1")
    seeds = [
        f"smoke/evaluate/{run}.restore/{seed}-0123456789"
        for run in ("pretrain.a", "pretrain.b")
        for seed in (0, 1)
    ]
    runs = Runs(lambda scale: None)
    assert [each.text for each in runs.links(" ".join(seeds), by=by)] == [
        "pretrain.a.restore",
        "pretrain.b.restore",
    ]
    assert list(runs.asked) == [tuple(seeds[:2]), tuple(seeds[2:])]


def test_durations_have_fitting_units():
    assert [duration(each) for each in (5.25, 600, 3 * 3600 + 240)] == ["5.2 s", "10 min", "3 h 4 min"]


@pytest.fixture
def page(made):
    """The report of a project where one table and one figure were made."""
    report(load())
    return REPORT.absolute().as_uri()


def test_a_single_table_is_shown_and_missing_ones_have_their_command(made, page):
    text = REPORT.read_text()
    assert "80.60" in text
    measured = json.loads(
        next(made.glob("results/runs/smoke/evaluate/finetune.stl10-ours.*/*/metrics.json")).read_text()
    )
    assert f"{measured['metrics']['accuracy']:.2f}" in text
    missing = set(
        re.findall(
            r"<code>snakemake --cores all (results/(?!runs/)\S+?)(?: --config scale=smoke)?</code>", text
        )
    )
    made_here = {"results/table5.csv", "results/figure10.png"}
    targets = {f"{each}.csv" for kind in ("tables", "architectures") for each in papers.targets(kind)}
    targets |= {f"{each}.png" for each in papers.targets("figures")}
    targets |= {
        str(papers.target(paper, "claims.csv")) for paper, facts in papers.papers().items() if facts.claims
    }
    assert missing == targets - made_here


def test_a_claim_has_its_verdict_the_level_that_it_is_held_to_and_what_was_compared(workplace):
    claims, graph = papers.papers()["masci2011"].claims, Graph(load(scale="paper"))
    lines = [
        {"claim": name, "verdict": "undecidable", "n": "1", "scale": "paper", "dataset": "mnist",
         "runs": names(measured_by(graph, claim))}
        for name, claim in claims.items()
    ]  # fmt: skip
    decided = {"verdict": "confirmed", "p": "0.00021", "level": "0.00357", "design": "paired", "n": "10"}
    lines[0] |= decided | {"difference": "3", "low": "1.25", "high": "4.75", "compared": "trivial: a - c"}
    lines[list(claims).index("mnist-1k")] |= decided
    ours = [name for name, claim in claims.items() if claim.ours]
    assert ours[0] == lines[0]["claim"]
    write_lines(papers.target("masci2011", "claims.csv"), COLUMNS, lines)
    report(load())
    text = " ".join(REPORT.read_text().split())
    assert text.count("? undecidable</span>") == len(claims) - 2
    assert f"1 confirmed, {len(claims) - len(ours) - 1} undecidable" in text
    every = sum(not claim.ours for paper in papers.papers().values() for claim in paper.claims.values())
    assert f"<h1><span>1 of {every} claims holds,</span>" in text  # ours are counted apart
    assert f"1 of {len(ours)} holds." in text
    assert "n 10, paired, p 0.00021 against 0.00357" in text
    assert '+3.00 <span class="spread">[+1.25, +4.75]' in text
    assert "trivial: a - c" in text


def test_the_same_results_give_the_same_page(made, page):
    before = REPORT.read_bytes()
    report(load())
    assert REPORT.read_bytes() == before


def test_a_table_is_outdated_once_params_ask_for_other_values(made, page):
    def state():
        parts = Shelf(load()).parts("dong2016", papers.papers()["dong2016"])
        return {part.name: part.state for part in parts}

    assert state()["Table 5"] == state()["Figure 10"] == "made"
    assert state()["Table 6"] == "missing"
    set_params(made, **{"pretrain__stl10-small__optimiser__adam__lr": 3.0e-4})
    assert state()["Table 5"] == state()["Figure 10"] == "outdated"


def test_missing_runs_are_named(made, page):
    shutil.rmtree(made / "results" / "runs")
    report(load())
    text = REPORT.read_text()
    assert "80.60" in text
    assert "Not on this disk" in text


def test_real_images_outrank_drawn_ones_which_stay_behind_them(workplace):
    graph = Graph(load(scale="reduced"))
    finished(graph, "masci2011")
    keep(graph, "masci2011")
    shutil.rmtree("results/runs")
    real = read_lines(Path("results/reference/reduced/masci2011/table1.csv"))
    drawn = [
        {**each, "scale": "smoke", "dataset": "procedural", "mean": "77.77", "runs": GONE} for each in real
    ]
    write_lines(Path("results/masci2011/table1.csv"), list(real[0]), drawn)
    facts = papers.papers()["masci2011"]
    part = next(part for part in Shelf(load()).parts("masci2011", facts) if part.name == "Table 1")
    best = [cell.ours for row in part.body["rows"].values() for cell in row if cell and cell.ours]
    assert best == [f"{float(each['mean']):.2f}" for each in real if each["mean"]]
    assert {cell.mark.name for row in part.body["rows"].values() for cell in row if cell and cell.ours} == {
        "capped"
    }
    assert (part.scale, part.level, part.state, part.folded) == ("reduced", "real", "kept", False)
    ((version, behind),) = part.body["behind"]
    assert version.scale == "smoke"
    cells = [cell for row in behind["rows"].values() for cell in row if cell and cell.ours]
    assert {(cell.ours, cell.mark.name) for cell in cells} == {("77.77", "other")}


def test_pipelines_that_are_done_are_shown_before_their_table_is_complete(workplace):
    graph = Graph(load(scale="reduced"))
    finished(graph, "masci2011")
    for each in Path("results/runs/reduced/evaluate").glob("finetune.mnist-*/2-*"):
        shutil.rmtree(each)
    shutil.rmtree("results/masci2011")
    facts = papers.papers()["masci2011"]
    part = next(part for part in Shelf(load()).parts("masci2011", facts) if part.name == "Table 1")
    assert (part.state, part.scale, part.level) == ("partial", "reduced", "real")
    cells = [cell for row in part.body["rows"].values() for cell in row if cell and cell.ours]
    assert {cell.n for cell in cells} == {"2", "3"}
    assert all(len(cell.line["runs"].split()) == int(cell.line["draws"]) for cell in cells)
    assert "measurements are there" in part.why


def test_a_substitute_says_what_it_measures_and_is_not_the_best_evidence(workplace):
    graph = Graph(load(scale="reduced"))
    finished(graph, "masci2011")
    for number, each in enumerate(measurements(graph, "table6", paper="dong2016")):
        each.metrics.parent.mkdir(parents=True, exist_ok=True)
        metrics = {"psnr": 20.0 + number, "accuracy": 60.0 + number, "psnr_gain": 2.0}
        each.metrics.write_text(json.dumps({"commit": "0", "dataset": "cifar10", "metrics": metrics}))
    facts = papers.papers()
    sections = {
        name: (facts[name], Shelf(load()).parts(name, facts[name])) for name in ("dong2016", "masci2011")
    }
    (table6,) = [part for part in sections["dong2016"][1] if part.name == "Table 6"]
    assert [panel.title for panel in table6.body["panels"]] == ["PSNR", "accuracy in place of mAP"]
    assert sum(len(panel.lines) for panel in table6.body["panels"]) == 6
    paper, best = best_table(sections)
    assert (paper, best.name) == ("masci2011", "Table 1")


def test_all_dots_of_a_table_are_on_one_axis():
    axis = around([-10.55, -0.04], "dB")
    assert axis.place(-10.55) < 10 < 90 < axis.place(-0.04)
    assert [label for _, label in axis.ticks] == ["−10", "−8", "−6", "−4", "−2", "0"]
    assert axis.zero == axis.place(0)


def test_a_very_wide_interval_is_cut_and_a_missing_one_is_not_drawn():
    found = [{"difference": 1.0, "low": -90.0, "high": 92.0}, {"difference": -0.5}]
    axis = of_differences(found, "dB")
    wide, alone = dot(axis, 1.0, low=-90.0, high=92.0), dot(axis, -0.5)
    assert (wide.cut_low, wide.cut_high, wide.low, wide.high) == (True, True, 0, 100)
    assert (alone.low, alone.high) == (None, None)
    assert alone.at < axis.zero < wide.at


def test_the_filter_keeps_what_has_every_word(made, page, tab):
    tab.goto(page)
    shown = "[...document.querySelectorAll('.part:not(.out)')].map(part => part.id)"
    everything = len(tab.js(shown))
    ask = "document.querySelector('#words').value = {!r}; document.querySelector('#filter').dispatchEvent(new Event('input'))"
    tab.js(ask.format("dong2016 state art stl-10"))
    assert "dong2016-table5" in tab.js(shown)
    assert all(each.startswith("dong2016-") for each in tab.js(shown))
    assert tab.js("document.querySelector('#dong2016-table5 details').open")
    tab.js(ask.format(""))
    assert len(tab.js(shown)) == everything
    assert not tab.js("document.querySelector('#dong2016-table5 details').open")


def test_kept_results_are_shown_until_they_are_made_here(workplace, tab):
    finished(Graph(load(scale="reduced")), "masci2011")
    keep(Graph(load(scale="reduced")), "masci2011")
    for made_here in ("runs", "masci2011"):
        shutil.rmtree(Path("results") / made_here)
    place = Path("results/reference/reduced/masci2011")
    kept = read_lines(place / "table1.csv")
    table, cells = (
        "document.querySelector('#masci2011-table1')",
        "document.querySelectorAll('#masci2011-table1 .ours a')",
    )
    report(load(scale="smoke"))
    tab.goto(REPORT.absolute().as_uri())
    assert tab.js(f"{table}.className") == "part kept"
    assert "Ours: scale reduced, mnist, n 3. Kept from an earlier run." in tab.js(f"{table}.innerText")
    assert tab.js(f"[...{cells}].map(each => each.innerText)") == [
        f"{float(each['mean']):.2f}" for each in kept if each["mean"]
    ]
    tab.js(f"{cells}[0].click()")
    tab.until("document.querySelector('.run:target polyline')")
    assert "Not on this disk" not in tab.js("document.querySelector('#masci2011-table1').textContent")
    assert "Outdated" not in tab.js("document.querySelector('.run:target').textContent")
    claims = "[...document.querySelectorAll('#masci2011-claims .verdict')].map(each => each.textContent.split(' ')[1])"
    verdicts = [each["verdict"] for each in read_lines(place / "claims.csv")]
    assert sorted(tab.js(claims)) == sorted(verdicts)

    write_lines(Path("results/masci2011/table1.csv"), list(kept[0]), [{**each, "runs": ""} for each in kept])
    report(load(scale="smoke"))
    tab.goto(REPORT.absolute().as_uri())
    assert tab.js(f"{table}.className") == "part outdated"


def test_all_links_resolve_and_nothing_is_loaded_from_elsewhere(made, page, tab):
    tab.goto(page)
    inside = "[...document.links].filter(a => a.getAttribute('href').startsWith('#'))"
    assert tab.js(f"{inside}.filter(a => !document.getElementById(a.hash.slice(1))).map(a => a.href)") == []
    others = tab.js(
        "[...document.links].map(a => a.getAttribute('href')).filter(href => !href.startsWith('#'))"
    )
    addresses = {each for each in others if "://" in each}
    assert {each for each in addresses if not each.startswith("http://127.0.0.1:5000/")} == {
        facts.url for facts in papers.papers().values()
    }
    assert [each for each in set(others) - addresses if not (REPORT.parent / each).exists()] == []
    assert tab.js("document.links.length") > 30
    assert tab.js("new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size") == tab.js(
        "document.querySelectorAll('[id]').length"
    )
    assert tab.js(
        "[...document.querySelectorAll('.part img')].every(image => image.complete && image.naturalWidth > 100)"
    )
    assert {each.partition(":")[0] for each in tab.requests} <= {"file", "data", "about"}
    assert tab.errors == []


def test_a_number_leads_to_its_run_and_back_by_keyboard_alone(made, page, tab):
    tab.goto(page)
    tab.js("location.hash = '#dong2016-table5'")
    tab.until("document.querySelector('#dong2016-table5 details').open")
    tab.js("document.querySelector('#dong2016-table5 .ours a').focus()")
    place = tab.js("scrollY")
    tab.press(**ENTER)
    tab.until("document.querySelector('.run:target')")
    said = tab.js("document.querySelector('.run:target').innerText")
    record = json.loads(next(made.glob("results/runs/smoke/finetune/stl10-ours/*/run.json")).read_text())
    for wanted in ("finetune.stl10-ours.centre", "optimiser.adam.lr", "0.0001", record["data_sha256"][:16],
                   record["commit"], record["machine"]["device"], "metrics.json --config scale=smoke"):  # fmt: skip
        assert wanted in said
    assert tab.js("document.querySelectorAll('.run:target polyline').length") == 1
    assert tab.js("document.activeElement.matches('.run:target')")
    tab.js("document.querySelector('.run:target a[href^=\"#run-\"]').click()")
    tab.until("document.querySelector('.run:target h3').textContent == 'pretrain.stl10-small'")
    tab.press(**ESCAPE)
    tab.until("document.querySelector('.run:target h3').textContent.startsWith('finetune')")
    tab.press(**ESCAPE)
    tab.until("!document.querySelector('.run:target')")
    tab.until("document.activeElement.matches('#dong2016-table5 .ours a')")
    assert tab.js("scrollY") == place
    assert tab.errors == []


def test_no_smoke_number_looks_like_a_reproduction(made, page, tab):
    tab.goto(page)
    assert "they reproduce nothing" in tab.js("document.querySelector('.warning').textContent")
    assert tab.js("document.querySelector('h1').innerText").endswith("claims are still open")
    assert not tab.js("document.querySelector('#dong2016-table5 details').open")
    numbers = "[...document.querySelectorAll('.results .ours a')].map(a => a.parentElement.className.trim())"
    assert tab.js(numbers) == ["ours other"] * 3  # two of Table 5, and the one of them that ablations repeats


def test_it_fits_a_phone_goes_dark_and_leaves_the_frame_off_paper(made, page, tab):
    tab.goto(page)
    shade = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    assert tab.js(shade) > 240
    tab.media(dark=True)
    assert tab.js(shade) < 40
    tab.media(kind="print")
    assert tab.js("getComputedStyle(document.querySelector('nav')).display") == "none"
    tab.media(kind="print", dark=True)
    assert tab.js(shade) == 255
    assert tab.js("getComputedStyle(document.querySelector('.part img')).filter") == "none"
    tab.media()
    tab.size(*browser.PHONE)
    tab.goto(page)
    assert tab.js("document.documentElement.scrollWidth") <= browser.PHONE[0]
    tab.js("document.querySelector('.ours a').click()")
    tab.until("document.querySelector('.run:target')")
    width = "document.querySelector('.run:target').getBoundingClientRect().width"
    assert tab.js(width) == browser.PHONE[0]
    assert tab.errors == []


GONE = "smoke/evaluate/finetune.gone.centre/0-0123456789"
BAD = "<img src=x onerror=hit()><script>hit()</script>\"' {{ 7 * 7 }}"


def test_a_table_without_printed_numbers_has_one_column_for_ours(made, page, tab):
    tab.goto(page)
    heads = "[...document.querySelectorAll('#dong2016-{} .results')].map(e => e.querySelectorAll('thead th').length)"
    assert tab.js(heads.format("ablations")) == [4]
    assert tab.js(heads.format("table5")) == [3]  # a column, over the paper's and ours


def test_text_from_outside_is_escaped(made, tab):
    """Labels of a paper, and the machine in a run's record."""
    keep_only(made, "table5")
    path = made / "pipeline" / "papers" / "dong2016.yaml"
    content = json.dumps(BAD)
    path.write_text(
        path.read_text().replace("The state of the art on STL-10", content).replace("Swersky et al.", content)
    )
    for file in made.glob("results/runs/smoke/*/*/*/*.json"):
        found = json.loads(file.read_text())
        file.write_text(json.dumps({**found, "machine": {**found["machine"], "device": BAD}, "commit": BAD}))
    command("python", "-m", "pipeline.report", folder=made)
    tab.goto(REPORT.absolute().as_uri())
    assert BAD in tab.js("document.querySelector('#dong2016-table5 h3').innerText")
    assert tab.js("document.querySelector('#dong2016-table5 tbody th').textContent") == BAD
    assert BAD in tab.js("document.querySelector('.run').textContent")
    assert tab.js("document.querySelectorAll('[onerror], img[src=x], body script').length") == 1
    assert tab.errors == []
