"""A claim is decided by its differences over seeds; a paper's claims together are seldom decided wrongly."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.reading import load
from pipeline.config.typed import plain
from pipeline.papers import Above, Best, Changed, Close, Concordant, Gain, Order, Steadier, papers
from pipeline.results import claims
from pipeline.results.claims import EITHER, TESTS, decidable, lines
from pipeline.results.frame import frame
from pipeline.results.rendering import Rendering
from pipeline.results.statistics import ALPHA, Contrast, Decision, holm
from pipeline.system.files import read_lines
from pipeline.work.graph import Graph

RUNS = {
    "high": [80.0, 80.2, 79.8],
    "low": [70.0, 70.3, 69.9],
    "wide": [60.0, 90.0, 75.0],
    "one": [80.0],
}


def values(label, metric):
    return RUNS[label]


def tried(test, options, values=values, *, pairs=False):
    return Decision(contrasts=TESTS[test](options, values), pairs=pairs, either=test in EITHER)


def decided(test, options, values=values):
    """The verdict as if it were the paper's only claim."""
    return tried(test, options, values).verdict(ALPHA)


@pytest.mark.parametrize(
    ("of", "lower", "said"),
    [
        (("high", "low"), False, "confirmed"),
        (("low", "high"), False, "refuted"),
        (("low", "high"), True, "confirmed"),
        (("high", "wide"), False, "undecided"),
        (("one", "low"), False, "undecided"),
        (("high", "low", "high"), False, "refuted"),
    ],
)
def test_an_order_is_decided_by_every_step_of_it(of, lower, said):
    assert decided("order", Order(metric="accuracy", of=of, lower=lower)) == said


@pytest.mark.parametrize(("than", "said"), [(("low",), "confirmed"), (("low", "wide"), "undecided")])
def test_the_best_lies_above_every_other(than, said):
    assert decided("best", Best(metric="accuracy", of="high", than=than)) == said


@pytest.mark.parametrize(
    ("of", "value", "said"),
    [
        ("high", 70.0, "confirmed"),
        ("high", 90.0, "refuted"),
        ("wide", 70.0, "undecided"),
        ("one", 0.0, "undecided"),
    ],
)
def test_a_value_is_passed_by_the_whole_interval(of, value, said):
    assert decided("above", Above(metric="accuracy", of=of, value=value)) == said


def test_a_gain_is_a_difference_of_differences():
    gain = Gain(metric="accuracy", of=("high", "low"), than=("high", "high"))
    (found,) = TESTS["gain"](gain, values)
    assert found.made(pairs=False).difference == pytest.approx(80.0 - 210.2 / 3)
    assert decided("gain", gain) == "confirmed"
    assert decided("gain", Gain(metric="accuracy", of=("high", "high"), than=("high", "low"))) == "refuted"
    fall = Gain(metric="error", lower=True, of=("low", "high"), than=("high", "high"))  # from 80 to 70
    assert decided("gain", fall) == "confirmed"


def test_a_margin_applies_on_both_sides_of_a_difference():
    close = Close(metric="m", of=("high", "low"), by=9.0, within=2.0)
    found = {each.says: each.made(pairs=False).difference for each in TESTS["close"](close, values)}
    apart = 80.0 - 210.2 / 3
    assert found == pytest.approx({"11 - (m: high - low)": 11 - apart, "-7 - (m: low - high)": apart - 7})
    assert decided("close", close) == "confirmed"


@pytest.mark.parametrize(
    ("of", "by", "said", "deciding"),
    [
        (("high", "low"), 0.1, "confirmed", "m: high - 1.1 low"),
        (("low", "high"), 0.1, "confirmed", "m: 0.9 high - low"),
        (("high", "low"), 0.2, "refuted", "m: high - 1.2 low"),
        (("low", "high"), 0.2, "refuted", "m: 0.8 high - low"),
        (("wide", "low"), 0.1, "undecided", "m: wide - 1.1 low"),
    ],
)
def test_a_change_by_more_than_a_fraction_counts_either_way(of, by, said, deciding):
    found = tried("changed", Changed(metric="m", of=of, by=by))
    assert found.verdict(ALPHA) == said
    assert found.deciding(ALPHA).says == deciding


def test_a_change_is_confirmed_either_way_at_the_cost_of_two_tries():
    """Its p is twice that of one contrast; it is refuted only if neither way is left, at no such cost."""
    found = tried("changed", Changed(metric="m", of=("high", "low"), by=0.1))
    up, down = found.contrasts
    assert found.confirming == pytest.approx(2 * up.p(1, pairs=False))
    assert found.refuting == pytest.approx(max(up.p(-1, pairs=False), down.p(-1, pairs=False)))


@pytest.mark.parametrize("true", [0.9, 1.1], ids=["just below", "just above"])
def test_where_a_run_changes_by_just_the_fraction_few_are_called_changed_or_not(true):
    random, tries, wrong = np.random.default_rng(5), 1000, 0
    for _ in range(tries):
        runs = {"a": random.normal(10 * true, 0.2, 5).tolist(), "b": random.normal(10, 0.2, 5).tolist()}
        changed = Changed(metric="m", of=("a", "b"), by=0.1)
        wrong += tried("changed", changed, lambda run, _, runs=runs: runs[run]).p <= ALPHA
    assert wrong / tries <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / tries)


@pytest.mark.parametrize(
    ("first", "second", "said"), [(0.1, 5.0, "confirmed"), (5.0, 0.1, "refuted"), (1.0, 1.0, "undecided")]
)
def test_a_steadier_run_spreads_less_wherever_its_values_lie(first, second, said):
    random = np.random.default_rng(0)
    runs = {"a": random.normal(70, first, 10).tolist(), "b": random.normal(90, second, 10).tolist()}
    steadier = Steadier(metric="m", of=("a", "b"))
    for pairs in (False, True):
        found = tried("steadier", steadier, lambda run, _: runs[run], pairs=pairs)
        assert found.verdict(ALPHA) == said
    (contrast,) = TESTS["steadier"](
        steadier, lambda run, _: [1.0, 2.0, 6.0] if run == "a" else [0.0, 9.0, 9.0]
    )
    assert contrast.says == "m, from its median: b - a"
    assert contrast.made(pairs=False).difference == pytest.approx(9 / 3 - 5 / 3)


@pytest.mark.parametrize("pairs", [False, True])
def test_where_spreads_are_equal_few_runs_are_called_steadier(pairs):
    random, tries, wrong = np.random.default_rng(3), 1000, 0
    for _ in range(tries):
        runs = {"a": random.normal(0, 1, 10).tolist(), "b": random.normal(9, 1, 10).tolist()}
        steadier = Steadier(metric="m", of=("a", "b"))
        wrong += tried("steadier", steadier, lambda run, _, runs=runs: runs[run], pairs=pairs).p <= ALPHA
    assert wrong / tries <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / tries)


def test_the_papers_own_numbers_do_not_contradict_what_the_papers_say():
    seen = 0
    for paper, facts in papers().items():
        cells = [cell for layout in facts.tables.values() for _, _, cell in layout.cells()]
        printed = {(cell.of, cell.metric): [cell.paper] for cell in cells if cell.paper and not cell.less}
        for name, claim in facts.claims.items():
            if claim.test.name in ("concordant", "steadier") or not printed.keys() >= {
                (label, getattr(claim.test.options, "metric", "")) for label in claim.labels()
            }:
                continue
            found = TESTS[claim.test.name](claim.test.options, lambda *key, printed=printed: printed[key])
            assert all(each.made(pairs=False).difference > 0 for each in found), f"{paper}: {name}"
            seen += 1
    assert seen > 40


PSNR = {"a": [20.0, 20.1, 19.9], "b": [25.0, 25.1, 24.9], "c": [25.0, 25.2, 24.9]}


@pytest.mark.parametrize(
    ("runs", "accuracies", "said"),
    [
        ("ab", {"a": [70.0, 70.2, 69.9], "b": [80.0, 80.3, 79.8]}, "confirmed"),
        ("ba", {"a": [70.0, 70.2, 69.9], "b": [80.0, 80.3, 79.8]}, "confirmed"),
        ("ab", {"a": [80.0, 80.3, 79.8], "b": [70.0, 70.2, 69.9]}, "refuted"),
        ("ab", {"a": [70.0, 70.2, 69.9], "b": [60.0, 80.3, 79.8]}, "undecided"),
        # b and c are restored alike, so that nothing follows from their accuracies
        ("bc", {"b": [80.0, 80.3, 79.8], "c": [70.0, 70.2, 69.9]}, "undecided"),
        ("abc", {"a": [70.0, 70.2, 69.9], "b": [80.0, 80.3, 79.8], "c": [90.0, 90.2, 89.9]}, "undecided"),
    ],
)
def test_better_restored_is_classified_better_or_undecided(runs, accuracies, said):
    claim = Concordant(metrics=("psnr", "accuracy"), of=tuple((run, run) for run in runs))
    found = tried("concordant", claim, lambda run, metric: (PSNR if metric == "psnr" else accuracies)[run])
    assert found.verdict(ALPHA) == said
    shown = found.deciding(ALPHA)
    low, high = found.interval(shown.made(pairs=False), ALPHA)
    assert (low > 0, high < 0) == (said == "confirmed", said == "refuted")


def test_holm_holds_the_smallest_p_to_the_strictest_level_and_stops_at_the_first_failure():
    assert holm([0.03, 0.005, 0.04]) == pytest.approx([0.05 / 2, 0.05 / 3, 0.05 / 2])
    assert holm([0.01, 0.02, 0.04]) == pytest.approx([0.05 / 3, 0.05 / 2, 0.05])
    assert holm([]) == []


P = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1e-4, 1e-3, 0.005, 0.01, 0.02, 0.05]), max_size=12)


@given(P, st.data())
def test_claims_tried_later_take_no_verdict_away_and_lower_no_level(p, data):
    """Claims that are not tried have a p of 1: which ones are tried, and when, buys nothing."""
    before = [data.draw(st.sampled_from([each, 1.0])) for each in p]
    for value, first, then, now in zip(before, holm(before), holm(p), p, strict=True):
        if value == now:  # tried before
            assert then >= first
        assert value > first or now <= then


def test_if_only_tried_claims_counted_trying_less_would_buy_a_verdict():
    p = [0.02, 0.3, 0.4]
    assert p[0] > holm(p)[0]
    assert p[0] > holm([p[0], 1.0, 1.0])[0]
    assert p[0] <= holm(p[:1])[0]


def test_a_refutation_is_corrected_for_the_number_of_comparisons():
    # By itself the step from the second to the first is against the claim with a two-sided p of 0.03.
    runs = {"a": [0.0, 1.0, 2.0], "b": [2.6, 3.6, 4.6], **{name: [0.0, 1.0, 2.0] for name in "cdef"}}
    runs["b"] = [value + 0.15 for value in runs["b"]]

    def of(names):
        return decided("order", Order(metric="m", of=tuple(names)), lambda run, metric: runs[run])

    assert of("ab") == "refuted"
    assert of("abcdef") == "undecided"


SAMPLES = st.lists(st.floats(-10, 10).map(lambda value: round(value, 2)), min_size=3, max_size=3)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(SAMPLES, min_size=2, max_size=4),
    st.sampled_from([0.05, 0.01, 0.002]),
    st.booleans(),
    st.booleans(),
)
def test_the_interval_that_is_shown_is_the_one_that_decided(samples, level, pairs, either):
    runs = {str(number): sample for number, sample in enumerate(samples)}
    test = ("changed", Changed(metric="m", of=("0", "1"), by=0.1))
    test = test if either else ("order", Order(metric="m", of=tuple(runs)))
    found = tried(*test, lambda run, metric: runs[run], pairs=pairs)
    low, high = found.interval(found.deciding(level).made(pairs=pairs), level)
    said = found.verdict(level)
    assert (low > 0, high < 0) == (said == "confirmed", said == "refuted")


def family(runs):
    """Claims of every kind about twelve runs, some of which share them."""
    said = [
        ("order", Order(metric="m", of=("0", "1"))),
        ("order", Order(metric="m", of=("1", "2", "3"))),
        ("best", Best(metric="m", of="4", than=("5", "6", "7"))),
        ("order", Order(metric="m", of=("8", "9"))),
        ("gain", Gain(metric="m", of=("0", "4"), than=("2", "8"))),
        ("above", Above(metric="m", of="10", value=0.0)),
        ("order", Order(metric="m", of=("4", "5", "6", "7", "8"))),
        ("order", Order(metric="m", lower=True, of=("10", "11"))),
        ("best", Best(metric="m", of="0", than=("9", "10"))),
        ("concordant", Concordant(metrics=("m", "m"), of=(("1", "11"), ("3", "5")))),
        ("steadier", Steadier(metric="m", of=("1", "2"))),
        ("changed", Changed(metric="m", of=("6", "9"), by=0.1)),
    ]
    decisions = [tried(*each, lambda run, metric: runs[int(run)]) for each in said]
    levels = holm([each.p for each in decisions])
    return [each.verdict(level) for each, level in zip(decisions, levels, strict=True)]


@pytest.mark.parametrize("n", [3, 10])
@pytest.mark.parametrize("spread", [lambda run: 1.0, lambda run: 1.0 + 5.0 * (run % 3 == 0)])
def test_without_true_differences_few_papers_have_any_verdict(n, spread):
    random, papers = np.random.default_rng(0), 400
    wrong = sum(
        {"confirmed", "refuted"}
        & set(family([random.normal(0, spread(run), n).tolist() for run in range(12)]))
        != set()
        for _ in range(papers)
    )
    assert wrong / papers <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / papers)


def test_false_verdicts_are_rare_beside_true_ones():
    """Two claims are decided, and two more in one comparison each; Holm then raises the others' levels."""
    random, papers, wrong, right = np.random.default_rng(1), 400, 0, 0
    height = [0, 0, 0, -30, 30, 0, 0, 0, 0, 0, 0, 0]
    for _ in range(papers):
        said = family([(random.normal(0, 1, 5) + each).tolist() for each in height])
        wrong += any(said[k] != "undecided" for k in (0, 1, 3, 5, 6, 7, 8, 9, 10))
        right += (said[2], said[4]) == ("confirmed", "refuted")
    assert wrong / papers <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / papers)
    assert right == papers


POWER = (ROOT / "docs" / "statistics.md").read_text()


@pytest.mark.parametrize(("count", "paper"), re.findall(r"(\d+) claims, as in (\w+)", POWER))
def test_the_table_of_what_n_seeds_can_show_counts_a_papers_claims(count, paper):
    assert int(count) == len(papers()[paper].claims)


@pytest.mark.parametrize(("n", "height"), [(3, 15.9), (5, 4.5), (10, 2.3)])
def test_a_large_difference_is_seen_among_all_claims_of_a_paper(n, height):
    """An effect in standard deviations that is detected in four of five draws, as docs/statistics.md says."""
    random, seen, level = np.random.default_rng(2), 0, ALPHA / len(papers()["zhang2016"].claims)
    assert re.search(rf"^\| {n} \|.* {height} \|$", POWER, re.MULTILINE)
    for _ in range(500):
        runs = {"a": (random.normal(0, 1, n) + height).tolist(), "b": random.normal(0, 1, n).tolist()}
        found = tried("order", Order(metric="m", of=("a", "b")), lambda run, _, runs=runs: runs[run])
        seen += found.p <= level
    assert seen / 500 == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("paper", papers())
def test_every_claim_can_be_decided_at_the_papers_own_scale_by_pipelines_of_their_own(paper):
    graph = Graph(load(scale="paper"))
    for name, claim in papers()[paper].claims.items():
        assert claims.repeats(graph, claim) >= 3, name
        for label in claim.labels():
            roots = {each.training.lineage[-1].identity for each in graph.measurements(label)}
            assert len(roots) == len(graph.measurements(label)), f"{name}: {label}"


def differences(paper, claim):
    """The settings (stage.setting) in which two compared runs or their pre-trainings differ."""
    one, other = (
        Graph(load(scale="paper")).measurement(label, 0).training.lineage
        for label in papers()[paper].claims[claim].labels()[:2]
    )
    left_out = ("start", "evaluate", "repeats", "search")
    return {
        f"{a.stage}.{name}"
        for a, b in zip(one, other, strict=True)
        for name in {**plain(a.spec), **plain(b.spec)}
        if name not in left_out and plain(a.spec).get(name) != plain(b.spec).get(name)
    }


@pytest.mark.parametrize(
    ("paper", "claim", "differs"),
    [
        ("dong2016", "small-blocks-beat-pixel-noise-stl10", "pretrain.corruption"),
        ("dong2016", "corruption-parameters-matter-little", "pretrain.corruption"),
        ("dong2016", "random-sigma-beats-fixed-cifar10", "pretrain.corruption"),
        ("dong2016", "random-sigma-beats-fixed-cifar100", "pretrain.corruption"),
        ("dong2016", "alexnet-restores-worse", "pretrain.network"),
        ("dong2016", "shortcuts-slow-alexnet", "pretrain.objective"),
        ("dong2017", "alexnet-converges-worse", "pretrain.network"),
        ("dong2017", "alexnet-restores-worse", "pretrain.network"),
        ("dong2017", "shortcuts-slow-alexnet", "pretrain.objective"),
        ("dong2017", "small-blocks-beat-a-big-block-4000", "finetune.corruption pretrain.corruption"),
        ("dong2017", "small-blocks-beat-a-big-block-stl10", "pretrain.corruption"),
        ("dong2017", "hard-to-optimise-without-shortcuts-cifar10", "pretrain.objective"),
        ("masci2011", "cifar10-noise-changes-magnitudes", "pretrain.corruption"),
        ("dong2017", "pixel-noise-best-cifar10", "pretrain.corruption"),
        ("dong2017", "small-blocks-best-4000", "finetune.corruption pretrain.corruption"),
        ("dong2017", "small-blocks-best-stl10", "pretrain.corruption"),
        ("dong2017", "small-blocks-best-voc", "pretrain.corruption"),
        ("dong2017", "masked-loss-unnecessary", "pretrain.objective"),
        ("dong2017", "wide-restores-better", "pretrain.network"),
        ("dong2017", "frozen-epochs-help-4000", "finetune.warmup"),
        ("dong2017", "frozen-epochs-help-stl10", "finetune.warmup"),
        ("dong2017", "frozen-epochs-unnecessary-cifar10", "finetune.warmup"),
        ("dong2017", "corrupting-helps-4000", "finetune.corrupted finetune.corruption"),
        ("dong2017", "corrupting-hurts-random-4000", "finetune.corrupted finetune.corruption"),
        ("dong2017", "adam-with-decay-classifies-worse-resnet", "finetune.optimiser finetune.batch"),
        ("dong2017", "adam-converges-faster-resnet", "finetune.optimiser"),
        ("dong2017", "decay-helps-resnet", "finetune.optimiser"),
        ("masci2011", "mnist-no-decay-needed", "pretrain.optimiser"),
        ("masci2011", "mnist-less-noise-loses-less", "pretrain.corruption"),
        ("zhao2016", "hard-pooling-classifies-better", "finetune.network"),
        ("zhao2016", "hard-pooling-classifies-better-svhn", "finetune.network"),
        ("zhao2016", "soft-where-more-accurate-vertical", "pretrain.network"),
        ("zhao2016", "batch-norm-helps-stl10", "finetune.network"),
        ("zhang2016", "annealing-not-critical", "pretrain.schedule"),
        ("zhang2016", "one-epoch-converges", "pretrain.epochs"),
        ("zhang2016", "larger-batches-are-better", "finetune.batch"),
    ],
)
def test_an_ablation_changes_nothing_but_what_it_is_about(paper, claim, differs):
    assert differences(paper, claim) == set(differs.split())


def measured(graph, claim, metrics):
    """Write metrics.json files as `evaluate` does; `metrics` maps (run, seed) to values."""
    for each in claims.measured_by(graph, claim):
        each.metrics.parent.mkdir(parents=True, exist_ok=True)
        found = {"metrics": metrics(each.training.name, each.training.seed), "commit": "0123456789ab"}
        each.metrics.write_text(json.dumps(found))


def test_runs_that_share_seeds_labels_and_order_are_compared_in_pairs_from_ten_seeds_on(workplace):
    params, claim = load(scale="paper"), papers()["masci2011"].claims["mnist-1k"]
    rng = np.random.default_rng(0)
    labels, rest = rng.normal(8, 1, 10), rng.normal(0, 0.05, (2, 10))

    def error(run, seed):  # the draw of labels matters more than the pre-training
        return {"error": labels[seed] - 0.3 * run.startswith("mnist-cae") + rest[int("cae" in run), seed]}

    def decided(params):
        graph = Graph(params)
        measured(graph, claim, error)
        found = claims.decision(graph, claim, frame(graph))
        return found.pairs, found.verdict(ALPHA)

    assert decided(params) == (True, "confirmed")
    finetune = {**params.finetune}
    for run in ("mnist-cae-1k", "mnist-cnn-1k"):
        finetune[run] = replace(finetune[run], repeats=9)
    assert decided(replace(params, finetune=finetune)) == (False, "undecided")
    finetune = {**params.finetune}
    others = replace(finetune["mnist-cnn-1k"].data, labels=2000)
    finetune["mnist-cnn-1k"] = replace(finetune["mnist-cnn-1k"], data=others)
    assert decided(replace(params, finetune=finetune)) == (False, "undecided")


FILTERS = ("error", "trivial", "localisation", "magnitude")


def test_a_line_has_both_intervals_and_the_level_that_holm_leaves_to_its_claim(workplace):
    graph, facts = Graph(load(scale="paper")), papers()["masci2011"]
    rng = np.random.default_rng(0)
    for claim in facts.claims.values():
        measured(
            graph, claim,
            lambda run, seed: {
                "error": 50.0 + seed - 10 * run.startswith("cifar10-cae") + rng.normal(0, 0.1),
                **dict.fromkeys(FILTERS[1:], 50.0 + rng.normal(0, 1)),
            },
        )  # fmt: skip
    found = {each["claim"]: each for each in lines(graph, "masci2011")}
    won = found["cifar10-1k"]
    assert (won["verdict"], won["design"], won["n"]) == ("confirmed", "paired", "10")
    assert won["compared"] == "error: finetune.cifar10-cnn-1k.centre - finetune.cifar10-cae-1k.centre"
    assert (won["low"], won["high"]) == (won["paired_low"], won["paired_high"])
    assert float(won["unpaired_low"]) < float(won["low"]) < 10 < float(won["high"])
    assert float(won["p"]) <= float(won["level"]) < 0.05
    open_ones = {each["level"] for each in found.values() if each["verdict"] == "undecided"}
    decided = sum(each["verdict"] != "undecided" for each in found.values())
    assert open_ones == {f"{ALPHA / (len(found) - decided):.3g}"}


def test_claims_that_nobody_tried_count_with_a_p_of_1_and_get_no_line(workplace):
    graph, every = Graph(load(scale="paper")), papers()["dong2017"].claims

    def values(difference):
        return lambda run, seed: {"psnr_gain": 8.0, "psnr": 25.0 + difference * ("full" in run) + seed}

    measured(graph, every["shortcuts-restore-better"], values(3.0))
    measured(graph, every["shortcuts-restore-better-4000"], values(40.0))
    found = {each["claim"]: each for each in lines(graph, "dong2017", partly=True)}
    assert list(found) == ["shortcuts-restore-better", "shortcuts-restore-better-4000"]
    clear, close = found["shortcuts-restore-better-4000"], found["shortcuts-restore-better"]
    assert (clear["verdict"], clear["level"]) == ("confirmed", f"{ALPHA / len(every):.3g}")
    assert (close["verdict"], close["level"]) == ("undecided", f"{ALPHA / (len(every) - 1):.3g}")
    assert float(close["p"]) < ALPHA / 2  # of the two that are tried it would be decided


def test_an_undecidable_claim_does_not_count(workplace):
    params, name = load(scale="paper"), "dong2017-wide-adam"
    once = replace(params.pretrain[name], repeats=1)
    graph = Graph(replace(params, pretrain={**params.pretrain, name: once}))
    every = papers()["dong2017"].claims
    left = [claim for claim in every.values() if decidable(graph, claim)]
    assert 0 < len(left) < len(every)
    claim = every["shortcuts-restore-better-4000"]
    measured(graph, claim, lambda run, seed: {"psnr_gain": 8.0, "psnr": 25.0 + 40 * ("full" in run) + seed})
    (line,) = lines(graph, "dong2017", partly=True)
    assert line["level"] == f"{ALPHA / len(left):.3g}"


def test_one_seed_leaves_a_claim_undecidable_and_says_so_in_its_line(workplace):
    graph = Graph(load(scale="smoke"))
    assert not any(decidable(graph, claim) for facts in papers().values() for claim in facts.claims.values())
    for claim in papers()["masci2011"].claims.values():
        measured(graph, claim, lambda run, seed: dict.fromkeys(FILTERS, 1.0))
    claims.claims(graph, "masci2011")
    found = read_lines(claims.target("masci2011", "claims.csv"))
    assert {(each["verdict"], each["n"], each["p"], each["low"]) for each in found} == {
        ("undecidable", "1", "", "")
    }
    assert not Rendering("claims", "masci2011", claims.NAME).stale(graph)
    assert tuple(found[0]) == claims.COLUMNS


def test_convergence_is_compared_by_the_mean_loss_of_the_first_fifty_epochs(workplace):
    graph, claim = Graph(load(scale="paper")), papers()["dong2016"].claims["ours-converges-faster"]
    measured(graph, claim, lambda run, seed: {"accuracy": 90.0, "psnr_gain": 8.0})
    for each in claims.measured_by(graph, claim):
        ours, seed = each.training.name == "cifar10-ours", each.training.seed
        late = [9.0 if ours else 0.0] * 150
        losses = [(1.0 if ours else 2.0) + 0.01 * seed] * 50 + late
        each.metrics.write_text(json.dumps(json.loads(each.metrics.read_text()) | {"epoch_losses": losses}))
    found = claims.decision(graph, claim, frame(graph))
    assert found.verdict(ALPHA) == "confirmed"
    assert found.deciding(ALPHA).made(pairs=False).difference == pytest.approx(1)


def test_a_contrast_without_any_spread_is_a_point():
    point = Decision(contrasts=[Contrast(says="", samples=([2.0, 2.0], [-1.0, -1.0, -1.0]))], pairs=False)
    assert point.verdict(ALPHA) == "confirmed"
    assert point.interval(point.deciding(ALPHA).made(pairs=False), ALPHA) == (1, 1)
    assert (
        decided("close", Close(metric="m", of=("a", "b"), within=0.5), lambda *_: [1.0, 1.0]) == "confirmed"
    )


@pytest.mark.parametrize(("gain", "said"), [(1.1, "confirmed"), (0.9, "not learnt")])
def test_nothing_is_decided_with_a_pretraining_that_has_not_learnt_to_restore(workplace, gain, said):
    """One of three pipelines of one arm restores hardly better than its input."""
    graph = Graph(load(scale="paper"))
    rng = np.random.default_rng(0)
    wanted = ["unlabelled-images-help-4000", "shortcuts-restore-better-4000", "adam-classifies-worse-resnet"]

    def metrics(run, seed):
        weak = run == "dong2017-4000-input-output" and seed == 1
        height = 10 * ("full" in run) + 5 * ("input-output" in run) - 20 * ("adam" in run)
        noise = rng.normal(0, 0.1, 2)
        return {
            "accuracy": 70 + height + noise[0],
            "psnr": 25 + height + noise[1],
            "psnr_gain": gain if weak else 8.0,
        }

    for name in wanted:
        measured(graph, papers()["dong2017"].claims[name], metrics)
    found = {each["claim"]: each for each in lines(graph, "dong2017", partly=True)}
    assert {name: found[name]["verdict"] for name in wanted} == {
        "unlabelled-images-help-4000": said,
        "shortcuts-restore-better-4000": said,
        "adam-classifies-worse-resnet": "confirmed",
    }
    if said == "not learnt":
        assert found[wanted[0]]["compared"] == "psnr_gain: pretrain.dong2017-4000-input-output.restore - 1"
