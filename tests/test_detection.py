"""Anchors, box offsets, suppression and decoding, against their definitions."""

import itertools
import math

import numpy as np
import pytest
import torch

from zoo.errors import ZooError
from zoo.inference.detection import anchors, boxes_from, decode, offsets_to, overlap, sides, softmax, suppress
from zoo.models.espnetv2_ssd import BOXES, ESPNetv2SSDSpec
from zoo.network import build

MAPS = [(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)]
RNG = np.random.default_rng(0)


def random_boxes(count: int) -> np.ndarray:
    corners = np.sort(RNG.uniform(0, 1, (count, 2, 2)), axis=1)
    return corners.reshape(count, 4)


def test_ssd300_has_six_anchors_at_each_position() -> None:
    found = anchors(MAPS, (300, 300))
    assert found.shape == (BOXES * (38**2 + 19**2 + 10**2 + 5**2 + 3**2 + 1), 4) == (11640, 4)
    assert found.min() >= 0 and found.max() <= 1


def test_anchors_by_their_definition() -> None:
    height, width, maps = 400, 200, [(4, 2), (1, 3)]
    low, middle, high = sides(2, 200)
    assert (low, high) == (20, 210)
    expected = []
    for (rows, columns), small, big in ((maps[0], low, middle), (maps[1], middle, high)):
        for row, column in itertools.product(range(rows), range(columns)):
            mean = math.sqrt(small * big)
            for w, h in (
                (small, small),
                (mean, mean),
                (small * 2**0.5, small / 2**0.5),
                (small / 2**0.5, small * 2**0.5),
                (small * 3**0.5, small / 3**0.5),
                (small / 3**0.5, small * 3**0.5),
            ):
                expected.append([(column + 0.5) / columns, (row + 0.5) / rows, w / width, h / height])
    np.testing.assert_allclose(anchors(maps, (height, width)), np.clip(expected, 0, 1))


def test_offsets_of_zero_are_the_anchors() -> None:
    around = np.array([[0.5, 0.4, 0.2, 0.1]])
    np.testing.assert_allclose(boxes_from(np.zeros((1, 4)), around), [[0.4, 0.35, 0.6, 0.45]])


def test_offsets_and_boxes_are_inverse() -> None:
    around = anchors(MAPS, (300, 300))[::7]
    boxes = random_boxes(len(around))
    np.testing.assert_allclose(boxes_from(offsets_to(boxes, around), around), boxes, atol=1e-9)


def test_overlap_counts_cells() -> None:
    boxes = np.sort(RNG.integers(0, 12, (60, 2, 2)), axis=1).reshape(-1, 4)
    cells = [set(itertools.product(range(b[0], b[2]), range(b[1], b[3]))) for b in boxes.tolist()]
    for box, mine in zip(boxes, cells, strict=True):
        expected = [len(mine & other) / len(mine | other) if mine | other else 0.0 for other in cells]
        np.testing.assert_allclose(overlap(box.astype(float), boxes.astype(float)), expected)


@pytest.mark.parametrize("max_overlap", [0.0, 0.2, 0.45, 1.0])
@pytest.mark.parametrize("count", [0, 1, 60])
def test_suppression_by_its_definition(count: int, max_overlap: float) -> None:
    boxes, scores = random_boxes(count), RNG.integers(0, 9, count) / 9
    kept: list[int] = []
    for i in sorted(range(count), key=lambda i: (-scores[i], i)):
        if all(overlap(boxes[j], boxes[i : i + 1])[0] <= max_overlap for j in kept):
            kept.append(i)
    assert suppress(boxes, scores, max_overlap, limit=count + 1).tolist() == kept
    assert suppress(boxes, scores, max_overlap, limit=3).tolist() == kept[:3]


def test_suppression_is_idempotent() -> None:
    boxes, scores = random_boxes(80), RNG.uniform(0, 1, 80)
    kept = suppress(boxes, scores)
    assert suppress(boxes[kept], scores[kept]).tolist() == list(range(len(kept)))


def test_softmax_is_torchs_and_does_not_overflow() -> None:
    scores = RNG.normal(0, 400, (3, 5, 7))
    np.testing.assert_allclose(softmax(scores), torch.from_numpy(scores).softmax(-1), atol=1e-12)


def planted(classes: int, at: list[tuple[int, int, int, int, int]], size: tuple[int, int]) -> list[np.ndarray]:
    """Maps that see background everywhere but at (map, row, column, shape), where they see a class."""
    maps = [np.zeros((1, BOXES * classes, *shape)) for shape in MAPS]
    for level in maps:
        level[:, ::classes] = 20.0
    for level, row, column, shape, label in at:
        maps[level][0, shape * classes + label, row, column] = 40.0 + level
    return maps + [np.zeros((1, BOXES * 4, *shape)) for shape in MAPS]


def test_planted_objects_are_found() -> None:
    where = [(0, 5, 30, 0, 2), (2, 4, 6, 3, 1), (4, 1, 1, 5, 2), (0, 5, 30, 1, 2)]
    (found,) = decode(planted(3, where, (300, 300)), (300, 300))
    # The second anchor at one place overlaps the first by less than 0.45: (30 / sqrt(30 * 77))^2 = 0.39.
    assert found.classes.tolist() == [2, 1, 2, 2]
    all_anchors = anchors(MAPS, (300, 300))
    first = [BOXES * sum(h * w for h, w in MAPS[:level]) for level in range(len(MAPS))]
    rows = [first[m] + BOXES * (r * MAPS[m][1] + c) + shape for m, r, c, shape, _ in where]
    expected = np.clip(boxes_from(np.zeros((4, 4)), all_anchors[rows]), 0, 1)
    np.testing.assert_allclose(found.boxes, expected[[2, 1, 0, 3]])
    assert np.all(np.diff(found.scores) <= 0) and np.all(found.scores > 0.99)


def test_limits_of_decoding() -> None:
    where = [(1, row, column, 0, 1) for row in range(19) for column in range(19)]
    outputs = planted(2, where, (300, 300))
    assert len(decode(outputs, (300, 300), limit=17)[0].scores) == 17
    assert len(decode(outputs, (300, 300), min_score=1.0 + 1e-9)[0].scores) == 0
    loose, strict = (decode(outputs, (300, 300), max_overlap=o, limit=999)[0] for o in (1.0, 0.2))
    assert len(loose.scores) == len(where) > len(strict.scores) > 0


@torch.no_grad()
def test_a_networks_outputs_decode_image_by_image() -> None:
    torch.manual_seed(0)
    network = build(ESPNetv2SSDSpec(scale=0.5, depth3=1, depth4=1, depth5=1, classes=4), (96, 128)).eval()
    outputs = [x.numpy() for x in network(torch.randn(2, 3, 96, 128))]
    both = decode(outputs, (96, 128), min_score=0.0, limit=20)
    for i, found in enumerate(both):
        (alone,) = decode([x[i : i + 1] for x in outputs], (96, 128), min_score=0.0, limit=20)
        np.testing.assert_array_equal(alone.boxes, found.boxes)
        np.testing.assert_array_equal(alone.classes, found.classes)
        assert len(found.scores) == 20 and found.classes.min() >= 1


@pytest.mark.parametrize(
    "break_it",
    [
        lambda maps: [],
        lambda maps: maps[:-1],
        lambda maps: maps[6:] + maps[:6],
        lambda maps: [x[:, :, :-1] for x in maps[:6]] + maps[6:],
        lambda maps: [x[:, :BOXES] for x in maps[:6]] + maps[6:],
    ],
)
def test_maps_that_do_not_belong_together_are_refused(break_it) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ZooError, match="detection maps"):
        decode(break_it(planted(3, [], (300, 300))), (300, 300))
