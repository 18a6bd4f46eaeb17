"""The order of the queue: what decides on the labels' protocol first, candidates that lost or wait last."""

from collections.abc import Collection

from benchmarks.accuracy.design import labels
from benchmarks.accuracy.held_out import truths
from benchmarks.accuracy.tasks import CANDIDATES, Task, peers, yardstick


def tasks(protocols: Collection[str] = ()) -> list[Task]:
    """All trainings in their order, or those under some protocols: the yardstick's, labels, held-out ones."""
    deciding = [task for task in yardstick() if task.protocol in ("truth", CANDIDATES[0])]
    ordered = dict.fromkeys([*deciding, *labels(CANDIDATES[0]), *peers(), *truths(), *yardstick()])
    return [task for task in ordered if not protocols or task.protocol in protocols]
