"""Tables of spaces: what a row adds up to, where tables come from, and what a file may not do."""

import os
import re
from dataclasses import replace

import numpy as np
import pytest

import search.tables
from hw_models.pieces import prices_of
from hw_models.predictors import predictor
from search.device_at import DeviceAt
from search.digests import ROOT, TABLE_SOURCES
from search.exact import answer
from search.query import Query
from search.space import SearchSpace
from search.table import joined, parts_of, table_from, table_of
from search.table_files import TableFiles
from search.tables import Tables, lowering_pool
from zoo.bulk.choices import Choices
from zoo.bulk.lower import BulkLowering
from zoo.config import Limits
from zoo.errors import ZooError
from zoo.graph import Shape

CHOICES = Choices(
    "espnet",
    {
        "variant": ("A", "C", "ESPNet"),
        "k": (2, 5),
        "alpha2": (1, 2, 3),
        "alpha3": (1, 4),
        "activation": ("relu", "prelu"),
    },
)
SPACE = SearchSpace(CHOICES, (64, 128))
ROWS = np.concatenate(list(SPACE.chunks()))
TX2 = DeviceAt("tx2", 850.0)


def bulk(rows=ROWS):
    return BulkLowering(CHOICES, Shape(3, 64, 128)).lower(CHOICES.codes(rows))


@pytest.fixture(autouse=True)
def small_tables_count(monkeypatch):
    """Tables of small spaces go to files and to other processes too."""
    monkeypatch.setattr(search.tables, "WORTH", 1)


@pytest.mark.parametrize("device", ["tx2", "orin-nano", "rpi4"])
def test_rows_add_up_to_what_the_lowering_adds_up(device):
    """The second opinion is `Bulk.total`, which prices whole pieces and adds stage by stage."""
    prices, found = predictor(device), bulk()
    table = table_of(joined([parts_of(bulk(half)) for half in np.array_split(ROWS, 2)]), {})
    (of_pieces,) = prices_of(table.pieces, [prices])
    expected = found.total(prices.terms, width=prices.width)
    np.testing.assert_allclose(table.totals(of_pieces), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(table.totals(of_pieces, np.array([3, 1])), expected[[3, 1]], rtol=1e-9, atol=1e-12)


def test_a_table_of_other_processes_is_the_same():
    own = Tables(SPACE)
    with lowering_pool() as pool:
        shared = Tables(SPACE, pool=pool)
        for name, column in own.table(ROWS, [TX2]).counts.items():
            np.testing.assert_array_equal(shared.table(ROWS, [TX2]).counts[name], column)
        np.testing.assert_array_equal(shared.terms(ROWS, TX2), own.terms(ROWS, TX2))


def test_limits_clock_and_confidence_change_without_lowering(tmp_path, monkeypatch):
    files = TableFiles(tmp_path)
    query = Query(space=SPACE, devices=(DeviceAt("tx2"),), limits=Limits(max_power_w=6.0, max_params=300_000))
    first = answer(query, tables=Tables(SPACE, files))
    monkeypatch.setattr(BulkLowering, "lower", lambda self, codes: pytest.fail("lowered again"))
    monkeypatch.setattr(search.tables, "prices_of", lambda *args: pytest.fail("priced again"))
    again = answer(query, tables=Tables(SPACE, files))
    assert again.front == first.front
    for other in (
        replace(query, limits=Limits(max_latency_ms=300.0)),
        replace(query, confidence=0.6),
        query.at([TX2]),
    ):
        assert answer(other, tables=Tables(SPACE, files)).enumerated == len(ROWS)


def damaged(content):
    yield b""
    yield content[:20]
    yield content[:-1]
    yield content[:50] + bytes([content[50] ^ 1]) + content[51:]
    yield bytes(32) + b"PK\x03\x04"


def test_a_damaged_file_is_as_good_as_none(tmp_path):
    files = TableFiles(tmp_path)
    files.write("one", {"a": np.arange(5)})
    np.testing.assert_array_equal(files.read("one")["a"], np.arange(5))
    (path,) = tmp_path.iterdir()
    for content in list(damaged(path.read_bytes())):
        path.write_bytes(content)
        assert files.read("one") is None
    path.unlink()
    os.mkfifo(path)
    assert files.read("one") is None


def test_objects_are_never_read(tmp_path):
    files = TableFiles(tmp_path)
    files.write("one", {"a": np.array([{}], dtype=object)})
    assert files.read("one") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"places": np.full((1, len(ROWS)), 1 << 20, dtype=np.int32)},
        {"piece": np.array([10**6])},
        {"params": np.zeros(3, dtype=np.int64)},
        {"macs": np.zeros(len(ROWS))},
        {"times": np.array([[1]])},
    ],
)
def test_a_table_that_points_beyond_itself_is_refused(wrong):
    counts = {name: np.arange(len(ROWS)) for name in ("params", "macs", "memory_bytes")}
    arrays = table_of(parts_of(bulk()), counts).arrays()
    assert table_from(arrays, len(ROWS)).identity == table_of(parts_of(bulk()), counts).identity
    with pytest.raises((ValueError, TypeError)):
        table_from(arrays | wrong, len(ROWS))


def test_the_folder_is_bounded_and_forgets_what_was_used_longest_ago(tmp_path):
    files = TableFiles(tmp_path, most=20_000)
    for i, name in enumerate("abc"):
        files.write(name, {"x": np.zeros(1000) + i})
        os.utime(tmp_path / f"{name}.table", (i, i))
        files.read("a")
    assert files.read("b") is None
    assert files.read("a") is not None
    assert files.read("c") is not None
    files.write("huge", {"x": np.zeros(10_000)})
    assert files.read("huge") is None
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 20_000


def test_a_folder_that_cannot_be_made_keeps_nothing(tmp_path):
    (tmp_path / "file").write_text("x")
    files = TableFiles(tmp_path / "file" / "tables")
    files.write("one", {"a": np.arange(5)})
    assert files.read("one") is None
    assert answer(Query(space=SPACE, devices=(TX2,)), tables=Tables(SPACE, files)).front


def test_unknown_devices_are_still_refused(tmp_path):
    with pytest.raises(ZooError, match="tx3"):
        Tables(SPACE, TableFiles(tmp_path)).terms(ROWS, DeviceAt("tx3"))


def test_what_is_kept_is_void_when_any_code_that_lowers_changes():
    """Every module that lowering imports is part of the digest, but those that print or refuse and count nothing."""
    files = [path for pattern in TABLE_SOURCES if pattern.startswith("zoo/") for path in ROOT.glob(pattern)]
    hashed = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    imports = r"^\s*from (zoo\.[\w.]+) import"
    imported = {name for path in files for name in re.findall(imports, path.read_text(encoding="utf-8"), re.MULTILINE)}
    assert imported - hashed == {"zoo.errors", "zoo.graph_table", "zoo.text"}
