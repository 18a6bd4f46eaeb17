"""Check a run's folder by answering its question again.

By definition, not by the path that found the answer: every combination is made a spec one by one; whatever stands
in the files is computed again from the specs; every member of the front is lowered and priced on its own; and every
other candidate, at every setting of the clocks, is shown to be over a limit, dominated, or the same network as a
member. Last, every file must have the hash that the certificate has of it.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.alone import single_entry, single_within
from search.certificate import FORMAT, NotVerified, basis, scale, valid_specs
from search.clocks import settings_of, settled
from search.differences import check_csv, same
from search.exact import entry
from search.forking import forked_map
from search.pareto import dominated_by, levels
from search.pricing import Columns, Evaluator, accuracy_of, join
from search.query import Query
from search.runs.folder import read_json
from search.runs.writer import _csv, basis_of_miou, query_from
from search.shortlist import entries_of, shortlist_of
from search.space import digest
from search.structure import structure
from search.tables import lowering_pool, tables_of
from zoo.errors import ZooError
from zoo.registry import lower, spec_from_dict
from zoo.specs import Spec

Progress = Callable[[int, int], None]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TOGETHER = 64
"""Members of a front that one worker computes in a go."""


def verify(folder: Path, *, one_by_one: bool = False, progress: Progress | None = None) -> int:
    """Check a run; returns the number of specs checked. Raises NotVerified, ConfigError for what is no run.

    With `one_by_one` every candidate, not only the front's, is lowered and priced on its own: no shared
    pieces and no vectors, at about a millisecond a candidate, clock and device.
    """
    certificate = read_json(folder / "certificate.json")
    document = read_json(folder / "front.json")
    if certificate.get("format", 1) != FORMAT:
        from search.verification_v1 import verify_v1

        return verify_v1(certificate, document, one_by_one=one_by_one, progress=progress)
    recomputed = Again(query_from(certificate.get("asked", {})), progress)
    try:
        recomputed.check_basis(certificate["basis"])
        places = recomputed.places(document.get("front"))
        recomputed.check_definition(places)
        front = recomputed.check_document(document, places)
        recomputed.check_certificate(certificate, front)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotVerified(f"{folder / 'front.json'}: is not the document of a search ({error})") from None
    check_csv("front.csv", _text(folder / "front.csv"), _csv(front))
    recomputed.check_sample(_text(folder / "sample.csv"))
    if one_by_one:
        recomputed.check_every_price(progress)
    for name, certified in certificate["files"].items():
        same(f"{name}: SHA-256", sha256(_text(folder / name).encode()).hexdigest(), certified)
    return len(recomputed.specs)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, ValueError):
        raise NotVerified(f"{path}: is missing or cannot be read") from None


class Again:
    """The answer to a question, computed again: every valid spec at every setting, a row each."""

    def __init__(self, query: Query, progress: Progress | None = None) -> None:
        self.asked, self.settings = query, settings_of(query)
        self.query = settled(query, self.settings)
        self.accuracy = accuracy_of(self.query)
        numbered = valid_specs(query.space, progress)
        self.specs = [spec for _, spec in numbered]
        self.place = {spec: i for i, spec in enumerate(self.specs)}
        rows = np.array([row for row, _ in numbered])
        with lowering_pool() as pool:  # and no files: what a search kept proves nothing
            first, *others = Evaluator(self.query, tables_of(query.space, pool=pool)).at_settings(self.settings)
            parts = list(query.space.parts(rows))
            fastest = join([first(part) for part in parts])  # which also lowers, once for all settings
        slower = forked_map(lambda evaluator: join([evaluator(part) for part in parts]), others)
        self.columns: list[Columns] = [fastest, *slower]
        self.points = np.stack([self._points(columns) for columns in self.columns])
        self.within = np.stack([columns.within for columns in self.columns])
        self._structures: dict[int, Any] = {}
        self._last: tuple[tuple[tuple[int, int], ...], dict[str, Any]] | None = None

    def _points(self, columns: Columns) -> Floats:
        axes = [sign * columns.metric(name, device) for name, device, sign in self.query.axes()]
        return np.stack(axes, axis=1).astype(np.float64)

    def structure(self, i: int) -> Any:
        """What makes spec `i` the network that it is."""
        if i not in self._structures:
            self._structures[i] = structure(lower(self.specs[i], self.query.space.size))
        return self._structures[i]

    def places(self, front: Any) -> list[tuple[int, int]]:
        """Setting and spec of every entry of a front, by place. Raises NotVerified for what is not in the space."""
        labels = {tuple(map(str, setting)): s for s, setting in enumerate(self.settings)}
        out = []
        for i, member in enumerate(front):
            location = f"front.json: front[{i}]"
            try:
                spec = spec_from_dict(member["spec"], f"{location}.spec")
            except ZooError as error:
                raise NotVerified(str(error)) from None
            if spec not in self.place:
                raise NotVerified(f"{location}.spec: is not in the space")
            at = labels.get(tuple(member["at"]))
            if at is None:
                raise NotVerified(f"{location}.at: {member['at']} is no setting of the clocks that the search tries")
            out.append((at, self.place[spec]))
        if len(set(out)) < len(out):
            raise NotVerified("front.json: front: holds a candidate twice")
        return out

    def check_definition(self, places: Sequence[tuple[int, int]]) -> None:
        """The members are within the limits, nobody dominates them, and no other candidate is missing."""
        s, i = (np.array(column, dtype=np.int64) for column in zip(*places, strict=True))
        if not self.within[s, i].all():
            raise NotVerified("front.json: front: a member is over a limit")
        at, row = np.nonzero(self.within)
        ranks = levels(np.concatenate([self.points[s, i], self.points[at, row]]))
        members, feasible = ranks[: len(s)], ranks[len(s) :]
        if dominated_by(members, feasible).any():
            raise NotVerified("front.json: front: a member is dominated")
        self.ranks, self.aliases = members, [{int(spec)} for spec in i]
        beside = {tuple(key): [] for key in members.tolist()}  # type: dict[tuple[float, ...], list[int]]
        for k, key in enumerate(members.tolist()):
            beside[tuple(key)].append(k)
        for j in np.flatnonzero(~dominated_by(feasible, members)).tolist():
            spec = int(row[j])
            same_network = [
                k for k in beside.get(tuple(feasible[j].tolist()), ()) if self._same_network(places[k][1], spec)
            ]
            if not same_network:
                raise NotVerified("front.json: front: a feasible candidate that no member dominates is missing from it")
            self.aliases[same_network[0]].add(spec)

    def _same_network(self, a: int, b: int) -> bool:
        return a == b or bool(self.structure(a) == self.structure(b))

    def check_document(self, document: Mapping[str, Any], places: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        """Every value of front.json, each member of the front lowered and priced on its own; returns the front."""
        order = np.lexsort(self.ranks.T[::-1])
        if not (self.ranks[order] == self.ranks).all():
            raise NotVerified("front.json: front: is not in the order of the objectives")
        expected, front = self._document(tuple(places)), list(document["front"])
        same("front.json: front", front, expected["front"])
        same("front.json", dict(document), expected)
        return front

    def _document(self, places: tuple[tuple[int, int], ...]) -> dict[str, Any]:
        """What front.json must be for these members; of the members asked last it is kept."""
        if self._last and self._last[0] == places:
            return self._last[1]
        specs, settings = [self.specs[i] for _, i in places], [self.settings[s] for s, _ in places]

        def entry_of(rank: int) -> dict[str, Any]:
            own = single_entry(self.query, settings[rank], specs[rank], rank + 1)
            return own | {"aliases": len(self.aliases[rank])}

        def entries_from(first: int) -> list[dict[str, Any]]:
            return [entry_of(rank) for rank in range(first, min(first + TOGETHER, len(places)))]

        front = [entry for part in forked_map(entries_from, range(0, len(places), TOGETHER)) for entry in part]
        expected = {
            "query": self.query.describe(),
            "settings": self._labels(),
            "enumerated": len(self.specs),
            "feasible": int(self.within.any(axis=0).sum()),
            "complete": True,
            "chosen": 1,
            "accuracy": basis_of_miou(self.query),
            "shortlist": entries_of(self.query, shortlist_of(self.query, specs, settings), front),
            "front": front,
        }
        self._last = (places, expected)
        return expected

    def _labels(self) -> list[list[str]]:
        return [[str(device) for device in setting] for setting in self.settings]

    def check_basis(self, certified: Mapping[str, Any]) -> None:
        """The search rested on the devices and the accuracy model of today, so that values can be compared at all."""
        for name, value in basis(self.query).items():
            if name in certified and name != "version" and certified[name] != value:
                raise NotVerified(
                    f"certificate.json: basis.{name} is no longer what the search rested on; search again"
                )

    def check_certificate(self, certificate: Mapping[str, Any], front: Sequence[Mapping[str, Any]]) -> None:
        """Every value of certificate.json but the hashes of files; the version that wrote it is only told."""
        written_by = certificate["basis"]["version"]
        if not isinstance(written_by, str):
            raise NotVerified(f"certificate.json: basis.version: must be a text, but is {written_by!r}")
        expected = {
            "format": FORMAT,
            "asked": self.asked.describe(),
            "query": self.query.describe(),
            "settings": self._labels(),
            "basis": basis(self.query) | {"version": written_by},
            "accuracy": scale(self.query),
            "enumerated": len(self.specs),
            "feasible": int(self.within.any(axis=0).sum()),
            "front": len(front),
            "front_sha256": digest(list(front)),
            "complete": True,
            "files": dict.fromkeys(("front.json", "front.csv", "sample.csv"), ""),
        }
        same("certificate.json", {**certificate, "files": dict.fromkeys(certificate["files"], "")}, expected)

    def check_sample(self, text: str) -> None:
        """Every row of sample.csv is a feasible candidate, with its values."""
        labels = {" ".join(map(str, setting)): s for s, setting in enumerate(self.settings)}
        header, *rows = csv.reader(io.StringIO(text))
        own = [dict(zip(header, row, strict=False)) for row in rows]
        if not own:
            raise NotVerified("sample.csv: is empty")
        # Spelling a spec as a row does takes long, so only those with the counts of some row are.
        claimed = {(row.get("params"), row.get("macs")) for row in own}
        counts = (self.columns[0].counts[name].tolist() for name in ("params", "macs"))
        candidates = [i for i, pair in enumerate(zip(*counts, strict=True)) if tuple(map(str, pair)) in claimed]
        by_cells = {self._flat_spec(self.specs[i]): i for i in candidates}
        expected = []
        for k, row in enumerate(own):
            i, s = by_cells.get(_spec_cells(row)), labels.get(row.get("at", ""))
            if i is None or s is None or not self.within[s, i]:
                raise NotVerified(f"sample.csv: row {k + 1} is no candidate within the limits")
            recomputed = entry(self.query, self.columns[s], i, self.specs[i], self.settings[s], self.accuracy)
            expected.append(recomputed | {"rank": k + 1})
        check_csv("sample.csv", text, _csv(expected))

    def _flat_spec(self, spec: Spec) -> frozenset[tuple[str, str]]:
        row = entry(self.query, self.columns[0], 0, spec, self.settings[0], self.accuracy)
        header, values = csv.reader(io.StringIO(_csv([row])))
        return _spec_cells(dict(zip(header, values, strict=True)))

    def check_every_price(self, progress: Progress | None) -> None:
        """Every candidate at every setting, lowered and priced on its own, against its row of the enumeration."""
        for i, spec in enumerate(self.specs):
            for s, setting in enumerate(self.settings):
                own = single_entry(self.query, setting, spec, i + 1)
                same(str(spec), entry(self.query, self.columns[s], i, spec, setting, self.accuracy), own)
                if single_within(self.query, setting, spec, self.settings[0]) != bool(self.within[s, i]):
                    raise NotVerified(f"{spec}: priced on its own its limits hold otherwise than in the enumeration")
            if progress:
                progress(i, len(self.specs))


def _spec_cells(row: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """What a row of a table says of its spec; other families' fields are empty in it."""
    return frozenset((name, value) for name, value in row.items() if name.startswith("spec.") and value)
