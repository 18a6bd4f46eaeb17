"""The plan of trainings: what is trained, in which order, and that every decoder has its encoder."""

from pathlib import Path

import pytest

from benchmarks.accuracy.design import design, held_out_pool, labels
from benchmarks.accuracy.held_out import LIST, held_out, truths
from benchmarks.accuracy.protocols import PROTOCOLS
from benchmarks.accuracy.schedule import tasks
from benchmarks.accuracy.tasks import CANDIDATES, YARDSTICK, peers, yardstick
from zoo.registry import lower


def test_every_decoder_comes_after_its_encoder() -> None:
    order = tasks()
    place = {task: i for i, task in enumerate(order)}
    assert len(place) == len(order)
    for task in order:
        if task.encoder:
            assert place[task.encoder] < place[task]


def test_the_label_set_is_what_the_issue_of_trust_asks_for() -> None:
    """24 pairs, 4 others and at least 6 repeats, which is at least 48 labels of different networks."""
    found = labels(CANDIDATES[0])
    specs = {task.spec for task in found}
    pairs = [spec for spec in specs if spec.variant == "ESPNet"]
    assert len(pairs) == len(design()["pairs"]) == 24
    assert len([spec for spec in specs if spec.variant in ("A", "B")]) >= 4
    assert len(specs) >= 48 and sum(task.seed > 0 for task in found) >= 6
    assert set(YARDSTICK) <= specs


def test_protocols_can_be_asked_for_alone() -> None:
    assert {task.protocol for task in tasks(("truth",))} == {"truth"}
    assert tasks(("truth",)) == [*(task for task in yardstick() if task.protocol == "truth"), *peers(), *truths()]
    assert {task.protocol for task in tasks()} <= PROTOCOLS.keys()


def test_what_may_be_held_out_is_labelled_nowhere() -> None:
    labelled = {task.spec for task in [*labels(CANDIDATES[0]), *yardstick()]}
    assert not labelled & set(held_out_pool())
    assert not labelled & {task.spec for task in truths()}


def test_the_held_out_list_is_the_one_that_was_fixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [len(specs) for specs in held_out().values()] == [4, 4, 4]
    assert len({spec for specs in held_out().values() for spec in specs}) == 12
    other = tmp_path / LIST.name
    other.write_text(LIST.read_text().replace('"alpha3": 7', '"alpha3": 8', 1))
    monkeypatch.setattr("benchmarks.accuracy.held_out.LIST", other)
    with pytest.raises(ValueError, match="not the list that was fixed"):
        held_out()


def test_a_decoder_that_starts_from_a_trained_encoder_may_be_trained_for_less() -> None:
    protocol = PROTOCOLS["half-size-distilled-brief"]
    assert [protocol.recipe(0, decoder=decoder).epochs for decoder in (False, True)] == [30, 12]
    assert "for 30 epochs" in str(protocol) and "all trained, for 12 epochs" in str(protocol)
    assert PROTOCOLS["truth"].recipe(0, decoder=True).epochs == 60


def test_peers_are_small_and_trained_in_one_stage_with_names_of_their_own() -> None:
    assert all(lower(task.spec, (360, 480)).params <= 4e5 and task.encoder is None for task in peers())
    assert len({task.name for task in tasks()}) == len(tasks())
