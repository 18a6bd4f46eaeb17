"""The table of candidate protocols: pairs are counted by definition, and what is not trained counts nowhere."""

from typing import Any

from benchmarks.accuracy.candidates import SCORED_AT, labels_text, of_protocol, rankings, rows
from benchmarks.accuracy.tasks import CANDIDATES, YARDSTICK, Task


def row(miou: float, **at: float) -> dict[str, Any]:
    return {"miou": miou, "miou_at": dict.fromkeys(SCORED_AT, miou) | at, "cpu_seconds": 3600}


def test_pairs_are_those_that_both_protocols_trained_and_ranked_alike() -> None:
    first, second = CANDIDATES[:2]
    truth, cheap = [50.0, 60.0, 48.0, 57.0], [40.0, 55.0, 41.0, 54.0]
    done = {Task("truth", spec).name: row(value) for spec, value in zip(YARDSTICK, truth, strict=False)}
    done |= {Task(first, spec).name: row(value) for spec, value in zip(YARDSTICK, cheap, strict=False)}
    done |= {Task(second, spec).name: row(1.0) for spec in YARDSTICK[3:]}
    found = {(one.protocol, one.scored_at): one for one in rankings(done)}
    assert len(found) == 2 * len(SCORED_AT)
    own = found[first, SCORED_AT[0]]
    assert (own.networks, own.pairs, own.right, own.hours) == (4, 6, 5, 1.0)
    assert own.kendall is not None and abs(own.kendall - 4 / 6) < 1e-12
    other = found[second, SCORED_AT[0]]
    assert (other.networks, other.pairs, other.right, other.kendall) == (3, 0, 0, None)


def test_another_scoring_size_is_another_ranking() -> None:
    protocol = CANDIDATES[0]
    done = {Task("truth", spec).name: row(value) for spec, value in zip(YARDSTICK[:2], (50.0, 60.0), strict=True)}
    cheap = (row(41.0, **{"480x360": 39.0}), row(40.0, **{"480x360": 45.0}))
    done |= {Task(protocol, spec).name: one for spec, one in zip(YARDSTICK[:2], cheap, strict=True)}
    assert {one.scored_at: one.right for one in rankings(done)} == {"240x184": 0, "360x272": 0, "480x360": 1}


def test_the_text_has_every_committed_row_of_the_six() -> None:
    done, text = rows(), labels_text()
    found = [row for protocol in ("truth", *CANDIDATES) for row in of_protocol(protocol, done).values()]
    assert len(found) >= 4
    for row in found:
        assert f" {row['miou']:.1f} |" in text
