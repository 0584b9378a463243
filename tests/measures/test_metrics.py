"""Measures against values worked out by hand, and against scikit-learn and SciPy."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.measures.metrics import (
    accuracy,
    average_precision,
    average_precision_11,
    confusion,
    mean_average_precision,
    mean_iou,
    psnr,
    rank_correlation,
    selectivity,
)
from pipeline.results.statistics import paired, unpaired

FEW = settings(max_examples=60, deadline=None, derandomize=True)


def nan(value: float) -> bool:
    return math.isnan(value)


@st.composite
def ranking(draw):
    """Scores with many ties, and at least one relevant."""
    count = draw(st.integers(1, 30))
    scores = draw(st.lists(st.integers(-3, 3), min_size=count, max_size=count))
    relevant = draw(st.lists(st.booleans(), min_size=count, max_size=count).filter(any))
    return np.array(scores) / 2, np.array(relevant)


def test_psnr_of_each_image_by_hand():
    x = torch.full((3, 3, 2, 2), 100.0)
    y = x.clone()
    y[0] += 5
    y[1, 0, 0, 0] += 6  # one value of 12: mean squared error 3
    expected = [20 * math.log10(255 / 5), 10 * math.log10(255**2 / 3), math.inf]
    assert psnr(x, y).tolist() == pytest.approx(expected, rel=1e-9)


def test_psnr_clips_what_is_restored_but_not_what_is_clean():
    x = torch.tensor([0.0, 255.0, 250.0]).view(3, 1, 1, 1)
    y = torch.tensor([-40.0, 300.0, 300.0]).view(3, 1, 1, 1)
    assert psnr(x, y).tolist() == pytest.approx([math.inf, math.inf, 20 * math.log10(255 / 5)])
    assert psnr(y[:1], x[:1]).tolist() == pytest.approx([20 * math.log10(255 / 40)])


def test_psnr_of_bytes_does_not_wrap_around():
    x, y = (torch.full((1, 3, 2, 2), value, dtype=torch.uint8) for value in (10, 20))
    assert psnr(x, y).tolist() == pytest.approx([20 * math.log10(255 / 10)])


def test_psnr_over_the_masked_pixels_alone():
    x = torch.zeros(3, 3, 2, 2)
    y = torch.zeros(3, 3, 2, 2)
    y[:2, :, 0, 0], y[:2, :, 1, 1] = 10, 99
    where = torch.zeros(3, 1, 2, 2, dtype=torch.bool)
    where[0, 0, 0, 0] = where[1, 0, 0, :2] = True
    first, second, third = psnr(x, y, where=where).tolist()
    assert first == pytest.approx(20 * math.log10(255 / 10))
    assert second == pytest.approx(10 * math.log10(255**2 / 50))
    assert nan(third)  # nothing was masked
    assert torch.equal(psnr(x, y, where=torch.ones_like(where)), psnr(x, y))


def test_accuracy_by_hand():
    logits = torch.tensor([[3.0, 2, 1], [1, 2, 3], [2, 3, 1], [3, 1, 2]])
    labels = torch.tensor([0, 1, 2, 2])
    assert [accuracy(logits, labels, top=k) for k in (1, 2, 3)] == [0.25, 0.75, 1.0]


@FEW
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_accuracy_is_scikit_learns(seed, count):
    from sklearn.metrics import accuracy_score, top_k_accuracy_score

    source = np.random.default_rng(seed)
    logits, labels = source.normal(size=(count, 5)), source.integers(0, 5, count)
    ours = [accuracy(torch.tensor(logits), torch.tensor(labels), top=k) for k in (1, 3)]
    assert ours[0] == pytest.approx(accuracy_score(labels, logits.argmax(1)))
    assert ours[1] == pytest.approx(top_k_accuracy_score(labels, logits, k=3, labels=range(5)))


def test_average_precision_by_hand():
    # Precision 1, 2/3 and 3/5 where a relevant one is found.
    assert average_precision([5, 4, 3, 2, 1], [1, 0, 1, 0, 1]) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert average_precision([1, 1, 1, 1], [1, 0, 0, 0]) == pytest.approx(0.25)  # all tied: one threshold
    assert average_precision([2, 1, 1, 0], [0, 1, 0, 1]) == pytest.approx(0.5 / 3 + 0.5 / 2)
    assert average_precision([3, -math.inf, -math.inf], [0, 1, 0]) == pytest.approx(1 / 3)
    assert nan(average_precision([1, 2], [0, 0]))


@FEW
@given(ranking())
def test_average_precision_is_scikit_learns_with_ties(case):
    from sklearn.metrics import average_precision_score

    scores, relevant = case
    assert average_precision(scores, relevant) == pytest.approx(average_precision_score(relevant, scores))


@FEW
@given(ranking(), st.randoms())
def test_the_order_of_images_changes_no_measure(case, random):
    scores, relevant = case
    order = list(range(len(scores)))
    random.shuffle(order)
    for measure in (average_precision, average_precision_11):
        assert measure(scores[order], relevant[order]) == pytest.approx(measure(scores, relevant))


def test_eleven_point_average_precision_by_hand():
    # Recalls 1/3, 2/3, 1 at precisions 1, 2/3, 3/5: four points of the first, three and four of the others.
    assert average_precision_11([5, 4, 3, 2, 1], [1, 0, 1, 0, 1]) == pytest.approx(
        (4 + 3 * 2 / 3 + 4 * 3 / 5) / 11
    )
    # Precision rises with recall: every point takes the best that comes later.
    assert average_precision_11([3, 2, 1], [0, 1, 1]) == pytest.approx(2 / 3)
    assert nan(average_precision_11([1, 2], [0, 0]))


def test_a_recall_of_exactly_three_tenths_counts_for_its_point():
    relevant = [1] * 3 + [0] * 7 + [1] * 7  # 3 of 10 at precision 1, and at most 10/17 after
    ranks = list(range(17, 0, -1))
    assert average_precision_11(ranks, relevant) == pytest.approx((4 + 7 * 10 / 17) / 11)


@FEW
@given(ranking())
def test_eleven_point_average_precision_is_the_definition_on_scikit_learns_curve(case):
    from sklearn.metrics import precision_recall_curve

    scores, relevant = case
    precision, recall, _ = precision_recall_curve(relevant, scores)
    precision, recall = precision[:-1], recall[:-1]  # without the end that it adds, at precision 1
    points = [precision[recall >= tenths / 10 - 1e-9].max() for tenths in range(11)]
    assert average_precision_11(scores, relevant) == pytest.approx(np.mean(points))


@pytest.mark.parametrize("measure", [average_precision, average_precision_11])
def test_nan_scores_are_refused(measure):
    with pytest.raises(AssertionError):
        measure([1.0, math.nan], [1, 0])


def test_the_mean_leaves_out_classes_that_do_not_occur():
    scores = torch.tensor([[3.0, 3, 1], [2, 2, 2], [1, 1, 3]], dtype=torch.bfloat16)
    relevant = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 0, 1]], dtype=torch.bool)
    mean, each = mean_average_precision(scores, relevant)
    assert each[0] == each[2] == pytest.approx((1 + 2 / 3) / 2)
    assert nan(each[1])
    assert mean == pytest.approx((1 + 2 / 3) / 2)
    eleven, _ = mean_average_precision(scores, relevant, measure=average_precision_11)
    assert eleven == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nan(mean_average_precision(scores, torch.zeros_like(relevant))[0])


def test_confusion_by_hand_counts_truth_in_rows_and_leaves_out_void():
    truth = torch.tensor([[0, 0, 1, 255], [2, 2, 255, 2]])
    predicted = torch.tensor([[0, 1, 1, 1], [2, 0, 0, 2]])
    counted = confusion(predicted, truth, classes=4)
    assert counted.dtype == torch.int64
    assert counted.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]
    mean, each = mean_iou(counted)
    assert each[:3] == pytest.approx([1 / 3, 1 / 2, 2 / 3])
    assert nan(each[3])
    assert mean == pytest.approx(0.5)


def test_a_class_that_is_only_predicted_counts_as_zero():
    mean, each = mean_iou(confusion(torch.tensor([0, 1]), torch.tensor([0, 0]), classes=2))
    assert each == [0.5, 0.0]
    assert mean == 0.25


def test_masks_of_bytes_do_not_wrap_around():
    truth, predicted = (torch.tensor([20, 13, 255], dtype=torch.uint8) for _ in range(2))
    counted = confusion(predicted, truth, classes=21)
    assert counted[20, 20] == counted[13, 13] == 1
    assert counted.sum() == 2


def test_a_mask_with_an_unknown_class_is_refused_by_name():
    with pytest.raises(ValueError, match="class 21; allowed: 0 to 20, and 255"):
        confusion(torch.tensor([0]), torch.tensor([21]), classes=21)


def test_an_image_of_void_alone_has_no_score():
    counted = confusion(torch.tensor([1]), torch.tensor([255]), classes=2)
    assert counted.sum() == 0
    assert nan(mean_iou(counted)[0])


@FEW
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_confusion_and_iou_are_scikit_learns(seed, count):
    from sklearn.metrics import confusion_matrix, jaccard_score

    source = np.random.default_rng(seed)
    truth, predicted = source.choice([0, 1, 2, 3, 255], count), source.integers(0, 5, count)
    kept = truth != 255
    counted = confusion(torch.tensor(predicted), torch.tensor(truth), classes=6)
    mean, each = mean_iou(counted)
    if not kept.any():
        assert nan(mean)
        return
    assert counted.tolist() == confusion_matrix(truth[kept], predicted[kept], labels=range(6)).tolist()
    occurring = sorted({*truth[kept].tolist(), *predicted[kept].tolist()})
    theirs = jaccard_score(truth[kept], predicted[kept], labels=occurring, average=None)
    assert [each[k] for k in occurring] == pytest.approx(theirs.tolist())
    assert mean == pytest.approx(theirs.mean())


def negated(values):
    return [-value for value in values]


def test_welch_by_hand():
    # Variances 1 and 4 of 3 values each: t = -2 / sqrt(5/3), (5/3)^2 / ((1/9 + 16/9) / 2) = 2.941 degrees.
    found = unpaired([1, 2, 3], negated([2, 4, 6]))
    half = 3.2187 * (5 / 3) ** 0.5  # the t of 2.941 degrees at 97.5 %
    assert found.difference == -2
    assert found.interval(0.025, 0.025) == pytest.approx((-2 - half, -2 + half), rel=1e-3)
    assert found.interval(0.025, 0.001)[1] > -2 + half
    assert 2 * found.p(-1) == pytest.approx(0.2208, abs=1e-3)
    assert found.p(1) == pytest.approx(1 - found.p(-1))


VALUES = st.lists(st.floats(0, 100).map(lambda value: round(value, 2)), min_size=2, max_size=8)


@FEW
@given(VALUES.filter(lambda values: len(set(values)) > 1), VALUES)
def test_unpaired_is_scipys_welch(a, b):
    from scipy.stats import ttest_ind

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        test = ttest_ind(a, b, equal_var=False)
        low, high = test.confidence_interval(0.95)
        found = unpaired(a, negated(b))
    ours = found.difference, *found.interval(0.025, 0.025), 2 * min(found.p(1), found.p(-1))
    assert ours == pytest.approx((np.mean(a) - np.mean(b), low, high, test.pvalue), rel=1e-9, abs=1e-9)


@FEW
@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=2, max_size=8))
def test_paired_is_scipys_ttest_rel(pairs):
    from scipy.stats import ttest_rel

    a, b = (list(each) for each in zip(*pairs, strict=True))
    assume(len({one - other for one, other in pairs}) > 1)
    found, test = paired(a, negated(b)), ttest_rel(a, b)
    ours = found.difference, *found.interval(0.025, 0.025), 2 * min(found.p(1), found.p(-1))
    assert ours == pytest.approx((np.mean(a) - np.mean(b), *test.confidence_interval(0.95), test.pvalue))


def test_four_samples_have_welchs_degrees_of_freedom():
    # Variances of the means 1/3, 4/3, 1/3, 4/3: (10/3)^2 / ((1/9 + 16/9 + 1/9 + 16/9) / 2) = 5.882.
    found = unpaired([1, 2, 3], [2, 4, 6], [1, 2, 3], negated([2, 4, 6]))
    assert (found.difference, found.error) == pytest.approx((4, (10 / 3) ** 0.5))
    assert found.freedom == pytest.approx(5.882, abs=1e-3)


@pytest.mark.parametrize(("a", "b"), [([3.0], [1.0, 2.0]), ([3.0, 3.0], [1.5]), ([3.0], [1.5])])
def test_one_value_on_a_side_gives_a_difference_that_decides_nothing(a, b):
    found = unpaired(a, negated(b))
    assert found.difference == 1.5
    assert found.p(1) == found.p(-1) == 1
    assert all(map(nan, found.interval(0.025, 0.025)))


def test_values_without_spread_give_a_point():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = unpaired([2.0, 2.0], negated([1.0, 1.0, 1.0]))
    assert found.interval(0.025, 0.025) == (1, 1)
    assert (found.p(1), found.p(-1)) == (0, 1)
    equal = unpaired([2.0, 2.0], negated([2.0, 2.0]))
    assert (equal.p(1), equal.p(-1)) == (1, 1)


def test_rank_correlation_by_hand_and_as_scipy():
    from scipy.stats import spearmanr

    assert rank_correlation([1, 2, 3, 4], [1, 4, 9, 16])[0] == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 0])[0] == pytest.approx(-1)
    a, b = [1, 2, 3, 4, 5], [2, 1, 4, 3, 5]
    assert rank_correlation(a, b)[0] == pytest.approx(1 - 6 * 4 / (5 * 24))
    assert rank_correlation(a, b) == pytest.approx(tuple(spearmanr(a, b)))


def test_a_side_of_one_value_has_no_rank_correlation():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(map(nan, rank_correlation([1, 1, 1], [1, 2, 3])))
        assert all(map(nan, rank_correlation([1], [2])))


def test_selectivity_by_hand_counts_pairs_and_halves_ties():
    inside = torch.tensor([[[True, False], [True, False]]])
    maps = torch.tensor([[3.0, 1], [2, 2]]).expand(1, 3, 2, 2).clone()  # 3 and 2 inside, 1 and 2 outside
    maps[0, 1], maps[0, 2] = 0, -maps[0, 0]
    assert selectivity(maps, inside).tolist() == [[3.5 / 4, 0.5, 0.5 / 4]]


@FEW
@given(st.integers(0, 10_000))
def test_selectivity_is_scikit_learns_area_under_the_curve(seed):
    from sklearn.metrics import roc_auc_score

    source = np.random.default_rng(seed)
    maps = torch.tensor(source.integers(0, 4, (2, 3, 5, 5)) / 2, dtype=torch.float32)
    inside = torch.tensor(source.random((2, 5, 5)) < 0.4)
    inside[:, 0, 0], inside[:, 0, 1] = True, False
    expected = [
        [roc_auc_score(place.flatten(), each.flatten()) for each in image]
        for image, place in zip(maps, inside, strict=True)
    ]
    assert selectivity(maps, inside).numpy() == pytest.approx(np.array(expected))


def test_a_dead_map_with_one_spike_is_not_selective_and_a_faint_detector_is():
    source = torch.Generator().manual_seed(0)
    inside = torch.zeros(40, 6, 6, dtype=torch.bool)
    inside[:, 1:4, 2:5] = True
    maps = torch.zeros(40, 3, 6, 6)
    maps[7, 0, 2, 3] = 0.001  # its peak is 1,440 times its mean
    maps[:, 1] = torch.rand(40, 6, 6, generator=source) + 0.5 * inside  # a detector in noise
    maps[:, 2] = torch.rand(40, 6, 6, generator=source)
    dead, detector, noise = selectivity(maps, inside).mean(dim=0).tolist()
    assert 0.5 <= dead < 0.502
    assert detector > 0.8
    assert abs(noise - 0.5) < 0.05
