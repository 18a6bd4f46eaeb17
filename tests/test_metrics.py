"""Scores: against definitions, brute force, and torchmetrics where it is installed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoo.errors import ZooError
from zoo.evaluate.metrics import VOID, Scores, confusion, merged, near_boundary

CLASSES = 4
LABELS = arrays(np.uint8, (6, 7), elements=st.sampled_from([*range(CLASSES), VOID]))
FOUND = arrays(np.uint8, (6, 7), elements=st.integers(0, CLASSES - 1))


def scored(truth, found):
    return Scores(confusion(truth, found, CLASSES))


@given(LABELS, FOUND)
def test_iou_and_recall_are_counts_of_sets_of_pixels(truth, found):
    scores = scored(truth, found)
    known = truth != VOID
    for c in range(CLASSES):
        mine, his = (truth == c) & known, (found == c) & known
        union = (mine | his).sum()
        iou, recall = scores.per_class_iou[c], scores.per_class_recall[c]
        assert iou is None if not union else iou == pytest.approx(100 * (mine & his).sum() / union)
        assert recall is None if not mine.any() else recall == pytest.approx(100 * (mine & his).sum() / mine.sum())


@given(LABELS, FOUND, LABELS, FOUND)
def test_pooling_is_scoring_the_images_side_by_side(truth, found, truth2, found2):
    apart = confusion(truth, found, CLASSES) + confusion(truth2, found2, CLASSES)
    together = confusion(np.hstack([truth, truth2]), np.hstack([found, found2]), CLASSES)
    assert (apart == together).all()


@settings(deadline=None, max_examples=25)
@given(LABELS, FOUND)
def test_torchmetrics_agrees(truth, found):
    classification = pytest.importorskip("torchmetrics.classification")
    torch = pytest.importorskip("torch")
    if (truth == VOID).all():
        return
    scores = scored(truth, found)
    target, preds = (torch.from_numpy(x.astype(np.int64)) for x in (truth, found))
    options = {"num_classes": CLASSES, "ignore_index": VOID}
    jaccard = classification.MulticlassJaccardIndex(**options, average="macro")
    assert 100 * jaccard(preds, target).item() == pytest.approx(scores.miou, abs=1e-3)
    accuracy = classification.MulticlassAccuracy(**options, average="micro")
    assert 100 * accuracy(preds, target).item() == pytest.approx(scores.pixel_accuracy, abs=1e-3)
    matrix = classification.MulticlassConfusionMatrix(**options)
    assert (matrix(preds, target).numpy() == scores.matrix).all()


def test_a_class_that_never_occurs_has_no_iou_and_leaves_the_mean_alone():
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    scores = scored(truth, np.array([[0, 1, 1, 1]], np.uint8))
    assert scores.per_class_iou == (50.0, pytest.approx(200 / 3), None, None)
    assert scores.miou == pytest.approx((50 + 200 / 3) / 2)
    assert scores.class_average == 75.0


def test_void_as_a_class_enlarges_the_unions_but_has_no_part_in_the_mean():
    truth = np.array([[0, 0, 1, 2]], np.uint8)  # 2 stands for void
    found = np.array([[0, 0, 1, 1]], np.uint8)
    assert Scores(confusion(truth, found, 3), counted=2).miou == 75.0
    ignored = np.where(truth == 2, VOID, truth)
    assert Scores(confusion(ignored, found, 2)).miou == 100.0


@given(LABELS, FOUND)
def test_merging_the_matrix_is_merging_the_labels(truth, found):
    groups = np.array([0, 1, 0, 1])
    coarse_truth = np.where(truth == VOID, VOID, groups[np.minimum(truth, 3)])
    expected = confusion(coarse_truth, groups[found], 2)
    assert (merged(confusion(truth, found, CLASSES), groups.tolist()) == expected).all()


@given(arrays(np.uint8, (8, 9), elements=st.sampled_from([0, 1, 2, VOID])), st.integers(1, 3))
def test_the_band_is_what_lies_near_a_change(truth, distance):
    band = near_boundary(truth, distance)
    height, width = truth.shape
    for y in range(height):
        for x in range(width):
            box = [
                (j, i)
                for j in range(max(0, y - distance + 1), min(height, y + distance))
                for i in range(max(0, x - distance + 1), min(width, x + distance))
            ]
            assert band[y, x] == any(beside_a_change(truth, j, i) for j, i in box)


def beside_a_change(truth, y, x):
    around = [(y, x + 1), (y, x - 1), (y + 1, x), (y - 1, x)]
    inside = [(j, i) for j, i in around if 0 <= j < truth.shape[0] and 0 <= i < truth.shape[1]]
    here = truth[y, x]
    return here != VOID and any(truth[j, i] not in (here, VOID) for j, i in inside)


@pytest.mark.parametrize(
    ("truth", "found", "said"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), "one shape"),
        (np.full((2, 2), 4), np.zeros((2, 2), int), "truth holds the label 4"),
        (np.zeros((2, 2), int), np.full((2, 2), -1), "prediction holds the label -1"),
    ],
)
def test_what_cannot_be_scored_says_so(truth, found, said):
    with pytest.raises(ZooError, match=said):
        confusion(truth, found, CLASSES)


def test_nothing_but_void_is_no_score():
    empty = scored(np.full((2, 2), VOID, np.uint8), np.zeros((2, 2), np.uint8))
    with pytest.raises(ZooError, match="nothing to score"):
        _ = empty.miou
