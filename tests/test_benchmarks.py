"""The framework of the benchmarks, on functions whose times are made up: nothing here is asserted of any speed."""

import json
import re
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import page, peers, plots, summary
from benchmarks.apart import Apart
from benchmarks.machine import busy_and_own, machine, peak_bytes
from benchmarks.page import Measured, Section
from benchmarks.side_by_side import (
    COVERAGE,
    Comparison,
    Ratio,
    duration,
    interval,
    markdown,
    plain,
    side_by_side,
    spread,
)


class Clock:
    """Time that passes only where a function says so."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, ""

    def __call__(self) -> float:
        return self.now

    def function(self, name: str, times: Iterator[float]) -> Any:
        def call() -> None:
            self.calls += name
            self.now += next(times)

        return call


def forever(*values: float) -> Iterator[float]:
    while True:
        yield from values


def test_functions_take_turns_after_warming_up() -> None:
    clock = Clock()
    functions = {name: clock.function(name, forever(1.0)) for name in "AB"}
    side_by_side(functions, rounds=3, warm_up=2, clock=clock)
    assert clock.calls == "AABB" + "ABABAB"


def test_a_fast_function_is_called_often_and_timed_for_one_call() -> None:
    clock = Clock()
    functions = {"A": clock.function("A", forever(0.5)), "B": clock.function("B", forever(0.125))}
    found = side_by_side(functions, rounds=3, least_s=1.0, clock=clock)
    assert clock.calls == "A" + "B" + 3 * ("A" * 2 + "B" * 8)
    assert found.seconds == {"A": (0.5, 0.5, 0.5), "B": (0.125, 0.125, 0.125)}
    assert found.ratio("B") == Ratio(4.0, 4.0, 4.0)


def test_rounds_end_with_the_time_but_not_before_the_third() -> None:
    clock = Clock()
    functions = {"A": clock.function("A", forever(1.0))}
    assert len(side_by_side(functions, rounds=9, limit_s=0.5, clock=clock).seconds["A"]) == 3
    assert len(side_by_side(functions, rounds=9, limit_s=5.5, clock=clock).seconds["A"]) == 6


def test_a_ratio_is_taken_within_rounds_so_that_a_slow_machine_cancels() -> None:
    weather = (1.0, 1.1, 1.2, 1.1, 1.0)
    found = Comparison({"A": tuple(2 * w for w in weather), "B": weather})
    assert (found.ratio("B").value, found.ratio("B").low, found.ratio("B").high) == (2.0, 2.0, 2.0)
    assert found.trouble() is None
    assert [row[-1] for row in found.rows()] == ["1", "2.00× (2.00–2.00)"]


@pytest.mark.parametrize(
    "found",
    [
        Comparison({"A": (1.0, 2.0, 3.0), "B": (1.0, 1.0, 1.0)}),
        Comparison({"A": (1.0, 1.0, 1.0), "B": (1.0, 1.0, 2.0)}),
        Comparison({"A": (1.0, 1.0, 1.0), "B": (1.0, 1.0, 1.0)}, others=0.5),
    ],
    ids=["the first spreads", "the interval is wide", "others are busy"],
)
def test_a_noisy_machine_gets_no_ratio(found: Comparison) -> None:
    assert found.rows()[1][-1] == "too noisy to tell"
    assert "too noisy" in found.verdict()


@pytest.mark.parametrize("count", [5, 6, 7, 8, 9])
def test_the_interval_holds_the_median_as_often_as_it_says(count: int) -> None:
    """Over all ways in which `count` values can fall on either side of the median, which are equally likely."""
    low, high = interval([float(i) for i in range(count)])
    sides = [sum(s) for s in product((0, 1), repeat=count)]  # how many of the values are below the median
    share = np.mean([low < below and below <= high for below in sides])
    assert share >= COVERAGE
    tighter = np.mean([low + 1 < below and below <= high - 1 for below in sides])
    assert tighter < COVERAGE


def test_spread_is_the_interquartile_range_over_the_median() -> None:
    values = [1.0, 2.5, 2.0, 7.0, 4.0]
    quartiles = np.percentile(values, [25, 50, 75])
    assert spread(values) == pytest.approx((quartiles[2] - quartiles[0]) / quartiles[1])


def test_numbers_and_tables_are_spelt_for_reading() -> None:
    assert [plain(x) for x in (0.01234, 1.0, 9.99, 10.04, 99.96, 1234.5)] == [
        "0.0123",
        "1.00",
        "9.99",
        "10.0",
        "100.0",
        "1,234",
    ]
    assert [duration(x) for x in (2e-5, 0.5, 61.0)] == ["20.0 µs", "500 ms", "61.0 s"]
    assert markdown([("a", "b"), ("1", "2")]) == "| a | b |\n| --- | --: |\n| 1 | 2 |"


def test_the_machine_describes_itself() -> None:
    found = machine(("numpy", "no-such-package"))
    assert found.cores >= 1 and found.cpu and found.versions == {"numpy": np.__version__}
    assert str(found.cores) in str(found) and json.dumps(found.document())


def test_memory_that_was_used_is_seen() -> None:
    before = peak_bytes()
    filled = np.ones(2**25)  # 256 MiB
    assert peak_bytes() - before > 0.9 * filled.nbytes or before > filled.nbytes


ORDER = ("one", "two", "three")


def test_a_section_is_replaced_alone_and_stays_in_order() -> None:
    start = page.updated("", {"three: AVX2": "## Three\n", "one: AVX2": "## One\n"}, ORDER)
    after = page.updated(start, {"two: AVX2": "## Two\n\nold\n"}, ORDER)
    final = page.updated(after, {"two: AVX2": "## Two\n\nnew\n"}, ORDER)
    assert re.findall(r"^## (One|Two|Three)$", final, flags=re.MULTILINE) == ["One", "Two", "Three"]
    assert "new\n" in final and "old\n" not in final
    assert page.updated(final, {}, ORDER) == final
    assert page.updated("an old page", {}, ORDER) == page.head()


def test_one_kind_of_machine_never_overwrites_another() -> None:
    start = page.updated("", {"one: AVX2": "## Of AVX2\n", "two: AVX2": "## Two\n"}, ORDER)
    final = page.updated(start, {"one: AVX-512": "## Of AVX-512\n"}, ORDER)
    headings = re.findall(r"^## (Of .*|Two)$", final, flags=re.MULTILINE)
    assert sorted(headings[:2]) == ["Of AVX-512", "Of AVX2"] and headings[2:] == ["Two"]


def test_the_page_begins_with_the_aims_that_were_kept() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert text.startswith(page.head()), "run python -m benchmarks.summary, or benchmarks.page.rewritten()"
    kept = summary.kept()
    assert {"AVX-512", "AVX2"} <= set(kept)
    assert all(set(one["values"]) <= set(summary.AIMS) for one in kept.values())


def test_what_was_not_measured_of_a_peer_stays_empty() -> None:
    assert peers.markdown({"AVX2": {}}) == ""
    lines = peers.markdown({"AVX2": {peers.RUNTIME: 1.234}, "AVX-512": {"tpe, share": 0.98}}).splitlines()
    assert any(line.startswith(f"| {peers.RUNTIME}") and "1.23 ×" in line for line in lines)
    assert any("tpe, 300 trials" in line and line.endswith("| 0.980 |") for line in lines)
    assert all(line.count("|") == 4 for line in lines)


def test_values_of_peers_are_kept_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[tuple[str, float]]:
        yield "first", 1.0
        raise RuntimeError

    monkeypatch.setattr(summary, "KEPT", tmp_path / "summary.json")
    monkeypatch.setitem(summary.PEERS, "networks", broken)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError):
        summary.measure(["networks"])
    (column,) = summary.kept().values()
    assert column["peers"] == {"first": 1.0}


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two parts, the second of which is interrupted."""

    class Done:
        @staticmethod
        def run(full: bool) -> Section:
            return Section(f"## Done\n\nfull: {full}\n", {"value": 1.5})

    class Stopped:
        @staticmethod
        def run(full: bool) -> Section:
            raise KeyboardInterrupt

    modules = {"benchmarks.done": Done, "benchmarks.stopped": Stopped}
    monkeypatch.setattr(command, "import_module", modules.__getitem__)
    monkeypatch.setattr(command, "PARTS", {name: command.Part(name, "", 0) for name in ("done", "stopped")})
    written = tmp_path / "benchmarks.md"

    def write(measured: list[Measured], order: list[str]) -> None:
        page.write(measured, order, written)

    monkeypatch.setattr(command, "write", write)
    return written


def test_an_interruption_keeps_the_sections_that_are_done(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 130
    assert "full: False" in parts.read_text(encoding="utf-8")
    assert "kept" in capsys.readouterr().err
    assert not list(parts.parent.glob("*.partial"))


def test_json_has_the_figures_and_their_circumstances(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["done", "--full", "--json", "--no-write"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["part"] == "done" and document["value"] == 1.5 and document["machine"]["cores"] >= 1
    assert not parts.exists()


def test_an_unknown_part_is_refused_with_the_known_ones(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["dome"]) == 2
    assert "'dome' is unknown" in capsys.readouterr().err and not parts.exists()


@pytest.mark.parametrize("name", command.PARTS)
def test_every_part_is_a_module_that_runs(name: str) -> None:
    """Read, not imported: some need packages that are not always there."""
    file = Path(command.__file__).parent / f"{command.PARTS[name].module}.py"
    entry = r"^def main\(\*, write: bool = True\)" if name == "own_device" else r"^def run\(full: bool"
    assert re.search(entry, file.read_text(encoding="utf-8"), re.MULTILINE)


def _busy(seconds: float) -> Callable[[], float]:
    def run() -> float:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
        return seconds

    return run


def _broken() -> Callable[[], object]:
    raise ValueError("no such thing")


def test_a_function_apart_answers_and_its_time_is_ours() -> None:
    with Apart(_busy, 0.5) as function:
        before = busy_and_own()
        assert function() == 0.5
        after = busy_and_own()
    assert before is not None and after is not None
    assert after[1] - before[1] >= 0.4


def test_what_fails_apart_is_told() -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        Apart(_broken)


def test_no_write_leaves_plots_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(plots, "_left_alone", [])
    plots.save(plots.figure()[0], tmp_path / "one.svg")
    plots.leave_alone()
    plots.save(plots.figure()[0], tmp_path / "two.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["one.svg"]


def test_the_page_of_precisions_is_written_from_its_rows() -> None:
    from benchmarks import precision

    found = precision.kept()
    assert precision.PAGE.read_text(encoding="utf-8") == precision.page(found)
    assert {row["name"] for row in found["files"]} <= set(precision.FILES)
    assert all(0 < row["miou"] < 100 and row["images"] == 101 for row in found["files"])
