"""Confusion and scores against dictionaries, hand-computed numbers and what must always hold."""

import collections
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fourdc_jax.evaluation.segmentation import confusion, scores

INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]


def slow_confusion(pred, target, num_classes, ignore):
    counts = collections.Counter()
    for p, t in zip(pred.ravel().tolist(), target.ravel().tolist()):
        if t != ignore:
            counts[t, p if 0 <= p < num_classes else (t + 1) % num_classes] += 1
    classes = range(num_classes)
    return [[counts[t, p] for p in classes] for t in classes]


def slow_scores(pred, target, num_classes):
    """The official script's counts of predictions in 0 .. C-1, from lists of points."""
    iou, acc = [], []
    for c in range(num_classes):
        both = sum(p == c and t == c for p, t in zip(pred, target))
        either = sum(p == c or t == c for p, t in zip(pred, target))
        truth = sum(t == c for t in target)
        iou.append(both / either if either else math.nan)
        acc.append(both / truth if truth else math.nan)
    return iou, acc


@st.composite
def labellings(draw):
    num_classes = draw(st.integers(2, 30))
    ignore = draw(st.sampled_from([0, num_classes, 100]))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6))
    targets = st.sampled_from([*range(num_classes), ignore])
    target = draw(hnp.arrays(draw(st.sampled_from(INTEGERS)), shape, elements=targets))
    dtype = draw(st.sampled_from(INTEGERS))
    pred = draw(hnp.arrays(dtype, shape, elements=st.integers(0, 40)))
    if np.issubdtype(dtype, np.signedinteger):
        pred = pred - 3
    return pred, target, num_classes, ignore


@settings(max_examples=200, deadline=None)
@given(labellings())
def test_confusion_equals_the_dictionary(case):
    pred, target, num_classes, ignore = case
    matrix = confusion(pred, target, num_classes, ignore)
    assert matrix.dtype == np.int64
    assert matrix.tolist() == slow_confusion(*case)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(2, 5))
def test_scores_equal_the_definition(data, num_classes):
    label = st.integers(0, num_classes - 1)
    points = data.draw(st.lists(st.tuples(label, label), max_size=20))
    pred, target = np.array(points, np.int64).reshape(-1, 2).T
    result = scores(confusion(pred, target, num_classes))
    iou, acc = slow_scores(pred, target, num_classes)
    np.testing.assert_allclose(result["iou"], iou)
    np.testing.assert_allclose(result["acc"], acc)
    for name, values in (("miou", iou), ("macc", acc)):
        known = [value for value in values if not math.isnan(value)]
        expected = sum(known) / len(known) if known else math.nan
        np.testing.assert_allclose(result[name], expected)
    np.testing.assert_allclose(
        result["overall"], (pred == target).mean() if len(pred) else math.nan
    )


@settings(max_examples=50, deadline=None)
@given(labellings(), st.randoms(use_true_random=False))
def test_scenes_add_up_and_the_order_of_points_does_not_matter(case, random):
    pred, target, num_classes, ignore = case
    pred, target = pred.ravel(), target.ravel()
    order = np.array(random.sample(range(len(pred)), len(pred)), int)
    cut = len(pred) // 2
    parts = [
        confusion(pred[order[part]], target[order[part]], num_classes, ignore)
        for part in (slice(cut), slice(cut, None))
    ]
    np.testing.assert_array_equal(sum(parts), confusion(pred, target, num_classes, ignore))


def test_numbers_by_hand():
    target = np.array([0, 0, 0, 1, 1, 2, 255, 255])
    pred = np.array([0, 0, 1, 1, 0, 1, 3, 0])
    matrix = confusion(pred, target, num_classes=5)
    assert matrix.tolist() == [[2, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 1, 0, 0, 0], [0] * 5, [0] * 5]
    result = scores(matrix)
    np.testing.assert_allclose(result["iou"], [2 / 4, 1 / 4, 0, math.nan, math.nan])
    np.testing.assert_allclose(result["acc"], [2 / 3, 1 / 2, 0, math.nan, math.nan])
    assert result["miou"] == pytest.approx((2 / 4 + 1 / 4) / 3)
    assert result["macc"] == pytest.approx((2 / 3 + 1 / 2) / 3)
    assert result["overall"] == pytest.approx(3 / 6)


def test_a_class_that_is_only_predicted_counts_against_miou():
    result = scores(confusion(np.array([0, 1]), np.array([0, 0]), num_classes=3))
    np.testing.assert_allclose(result["iou"], [0.5, 0, math.nan])
    np.testing.assert_allclose(result["acc"], [0.5, math.nan, math.nan])
    assert (result["miou"], result["macc"]) == (0.25, 0.5)


def test_a_prediction_that_is_no_class_is_a_miss_of_its_target():
    """Rows and accuracies are exact; only the next class has an additional false positive."""
    target, pred = np.array([1, 1, 1, 2]), np.array([1, 255, -7, 2])
    matrix = confusion(pred, target, num_classes=4)
    assert matrix.tolist() == [[0] * 4, [0, 1, 2, 0], [0, 0, 1, 0], [0] * 4]
    result = scores(matrix)
    assert result["iou"][1] == result["acc"][1] == pytest.approx(1 / 3)
    assert result["acc"][2] == 1
    last = confusion(np.array([9]), np.array([3]), num_classes=4)
    assert last[3].tolist() == [1, 0, 0, 0]


def test_nothing_at_all_gives_nan():
    result = scores(confusion(np.zeros(0, int), np.zeros(0, int)))
    assert result["iou"].shape == result["acc"].shape == (20,)
    assert all(np.isnan(value).all() for value in result.values())


@pytest.mark.parametrize(
    ("pred", "target", "num_classes", "message"),
    [
        (np.zeros(3, int), np.array([0, 20, 255]), 20, "target 20 is neither .* 20 classes 0..19"),
        (np.zeros(3, int), np.array([0, -1, 255]), 20, "target -1 is neither"),
        (np.zeros(3, int), np.zeros(4, int), 20, r"pred has shape \(3,\) and target \(4,\)"),
        (np.zeros(3), np.zeros(3, int), 20, "pred has dtype float64"),
        (np.zeros(3, int), np.zeros(3, bool), 20, "target has dtype bool"),
        (np.zeros(3, int), np.zeros(3, int), 1, "at least 2 classes"),
    ],
)
def test_bad_input_is_told(pred, target, num_classes, message):
    with pytest.raises(ValueError, match=message):
        confusion(pred, target, num_classes)


def test_ten_million_points_take_seconds():
    labels = np.random.default_rng(0).integers(0, 20, 10_000_000, np.uint8)
    start = time.process_time()
    matrix = confusion(labels, labels)
    assert time.process_time() - start < 5
    assert np.trace(matrix) == matrix.sum() == len(labels)
