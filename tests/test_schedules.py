"""Learning rates, against their definitions."""

import pytest

from zoo.errors import ZooError
from zoo.train.schedules import cyclic


def test_cyclic_as_defined() -> None:
    halvings = (51, 101, 131, 161, 191, 221, 251, 281)
    for epoch in range(1, 301):
        halved = sum(at <= epoch for at in halvings)
        lr_max, lr_min = 0.5 / 2**halved, 0.1 / 2**halved
        assert cyclic(epoch - 1) == pytest.approx(lr_max - ((epoch - 1) % 5) * lr_min)


def test_cyclic_restarts_when_it_is_halved_and_ends_a_256th_lower() -> None:
    tops = [epoch for epoch in range(1, 300) if cyclic(epoch) > cyclic(epoch - 1)]
    assert tops == list(range(5, 300, 5))
    assert cyclic(299) == pytest.approx(0.1 / 256)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"epoch": -1}, "at least 0"), ({"epoch": 0, "period": 6}, "above 0"), ({"epoch": 0, "period": 0}, "0 epochs")],
)
def test_cyclic_is_refused(options: dict[str, int], said: str) -> None:
    with pytest.raises(ZooError, match=said):
        cyclic(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("amp", "has_it", "used", "said"), [
    (True, True, True, False), (True, False, False, True), ("auto", True, True, False), ("auto", False, False, False),
    (False, True, False, False), (False, False, False, False),
])  # fmt: skip
def test_bfloat16_only_where_there_are_instructions_for_it(
    amp: bool | str, has_it: bool, used: bool, said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.train import amp as module

    monkeypatch.setattr(module, "multiplies_bfloat16", lambda device="cpu": has_it)
    assert module.computes_in_bfloat16(amp) is used  # type: ignore[arg-type]
    assert (module.why_not(amp) is not None) is said  # type: ignore[arg-type]
