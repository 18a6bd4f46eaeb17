"""Work in forked processes gives what it gives here, in order; what fails there is raised here."""

import os
import signal

import pytest

from search import forking


@pytest.fixture(params=[True, False], ids=["forked", "here"])
def forked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param and not hasattr(os, "fork"):
        pytest.skip("processes cannot be forked on this system")
    monkeypatch.setattr(forking, "can_fork", lambda: request.param)
    monkeypatch.setattr(forking, "cores", lambda: 2)
    return bool(request.param)


def test_results_are_in_order_and_of_whatever_the_function_holds(forked: bool) -> None:
    held = {i: i**2 for i in range(20)}
    done = forking.forked_map(lambda item: (held[item], os.getpid()), range(20))
    assert [value for value, _ in done] == list(held.values())
    assert (os.getpid() not in {process for _, process in done}) is forked


def test_what_fails_in_a_worker_is_raised_here(forked: bool) -> None:
    with pytest.raises(ZeroDivisionError):
        forking.forked_map(lambda item: 1 // item, [1, 0, 2])


def test_where_a_worker_is_killed_all_is_done_here(forked: bool) -> None:
    parent = os.getpid()

    def value(item: int) -> int:
        if item == 3 and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return -item

    assert forking.forked_map(value, range(6)) == [0, -1, -2, -3, -4, -5]
