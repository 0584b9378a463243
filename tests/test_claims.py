"""A claim is confirmed, refuted or undecided by the interval of its difference over the seeds."""

import math

import pytest

from pipeline.claims import TESTS, verdict
from pipeline.papers import Above, Best, Correlates, Gain, Order

RUNS = {
    "high": [80.0, 80.2, 79.8],
    "low": [70.0, 70.3, 69.9],
    "wide": [60.0, 90.0, 75.0],
    "one": [80.0],
}


def values(label, metric):
    return RUNS[label]


def decided(test, options):
    return verdict(TESTS[test](options, values))


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
    assert found[0] == pytest.approx(80.0 - 210.2 / 3)
    assert decided("gain", gain) == "confirmed"
    assert decided("gain", Gain(metric="accuracy", of=("high", "high"), than=("high", "low"))) == "refuted"


def test_a_correlation_has_spearmans_rho_and_too_few_runs_decide_nothing():
    def ranked(label, metric):
        run = int(label[1:])
        return [float(run if metric == "psnr" else (run * 7) % 11)]

    def claim(runs):
        return Correlates(metrics=("psnr", "map"), of=tuple((f"r{run}", f"r{run}") for run in range(runs)))

    ((rho, low, high),) = TESTS["correlates"](claim(8), ranked)
    from scipy.stats import spearmanr

    assert rho == pytest.approx(spearmanr(range(8), [(run * 7) % 11 for run in range(8)]).statistic)
    assert low < rho < high
    ((_, low, _),) = TESTS["correlates"](claim(3), ranked)
    assert math.isnan(low)
