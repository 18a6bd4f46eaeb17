"""The page of budgets: one protocol in a table, and fronts that nothing beats."""

import pytest

from docs import budget
from pretrained.manifest import manifest


@pytest.mark.parametrize("rows", [budget.measured, budget.retrained])
def test_a_front_is_what_no_other_beats(rows):
    found = rows()
    for device in budget.DEVICES:
        kept = budget.front(found, device)
        latencies, scores = [row.latency[device].mean for row in kept], [row.miou for row in kept]
        assert latencies == sorted(latencies) and scores == sorted(scores)
        for row in found:
            better = [o for o in kept if o.miou >= row.miou and o.latency[device].mean <= row.latency[device].mean]
            assert better, f"{row.name} is neither on the front nor behind it"


def test_a_table_has_one_protocol():
    kept = {f"{entry.model}.{entry.tag}": entry for entry in manifest().weights}
    rows = budget.measured()
    assert len(rows) > 4
    for row in rows:
        (metric,) = [m for m in kept[row.name].metrics if m.name == "miou" and m.value == row.miou]
        assert (metric.dataset, metric.split, metric.resolution) == ("camvid", "val", "480x360")


def test_milliseconds_have_two_digits():
    assert [budget._ms(s) for s in (0.00137, 0.0237, 0.9712)] == ["1.4", "24", "970"]
