"""The table of zero-cost proxies, which `benchmarks.accuracy.proxies` computes."""

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path

from search.accuracy.bench.protocol import BenchError
from zoo.errors import SpecError
from zoo.files import atomic
from zoo.registry import spec_from_dict
from zoo.specs import Spec, as_dict

TABLE = Path(__file__).with_name("proxies.csv")
PROXIES = ("synflow", "naswot", "jacobian", "snip", "grad_norm")


def read_proxies(path: Path = TABLE) -> dict[Spec, dict[str, float]]:
    """Spec -> proxy -> score; empty where there is no table. Raises BenchError, naming the line."""
    if not path.exists():
        return {}
    out: dict[Spec, dict[str, float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.DictReader(file), 2):
            location = f"{path}, line {line}"
            try:
                spec = spec_from_dict(json.loads(row["spec"]), location)
                out[spec] = {name: float(row[name]) for name in PROXIES}
            except (KeyError, TypeError, ValueError, AttributeError, SpecError) as error:
                raise BenchError(
                    f"{location}: is no row of proxies ({error}); remove the file and score again"
                ) from None
            if not all(map(math.isfinite, out[spec].values())):
                raise BenchError(f"{location}: a score is not finite; remove the file and score again")
    return out


def write_proxies(proxies: Mapping[Spec, Mapping[str, float]], path: Path = TABLE) -> None:
    """Replace the table."""
    with atomic(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("spec", *PROXIES))
        for spec, scores in proxies.items():
            text = json.dumps(as_dict(spec), separators=(",", ":"))
            writer.writerow((text, *(f"{scores[name]:.6g}" for name in PROXIES)))
