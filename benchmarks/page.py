"""docs/benchmarks.md: a marked section for each part, replaced on its own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import Machine

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "benchmarks.md"

HEAD = """\
# Benchmarks

`make bench` writes the quick sections anew, `python -m benchmarks PART…` chosen ones, `--full` with more rounds and
longer runs, `python -m benchmarks --list` says which there are. Every ratio was measured in one run on one machine,
what is compared taking turns (A B A B …); times are medians, the spread is the range of the middle half over the
median, and a ratio is the median over the rounds with its 90 % interval in brackets. Where the first one's times spread
by more than 25 %, other processes took more than 15 % of the CPUs, or an interval is wider than a factor of 1.25, the
table says "too noisy to tell".
"""


@dataclass(frozen=True)
class Section:
    """What a part found: Markdown that begins with a heading of the second level, and plain values for JSON."""

    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """A section, and when and where it was measured; others: share of the CPUs that other processes took."""

    name: str
    section: Section
    machine: Machine
    when: str
    seconds: float
    others: float | None

    def markdown(self) -> str:
        """The section with a line on its circumstances below its heading."""
        title, _, rest = self.section.text.strip().partition("\n")
        busy = "" if self.others is None else f"; other processes took {self.others:.0%} of the CPUs"
        return f"{title}\n\n*{self.when}, in {self.seconds:.0f} s, on {self.machine}{busy}.*\n\n{rest.strip()}\n"

    def document(self) -> dict[str, Any]:
        return {
            "part": self.name,
            "when": self.when,
            "seconds": self.seconds,
            "machine": self.machine.document(),
            "others": self.others,
            **self.section.data,
        }


def updated(page: str, measured: Mapping[str, str], order: Sequence[str]) -> str:
    """The page with some sections replaced or added, in the order of the parts; what is not marked goes."""
    found = dict(re.findall(r"<!-- ([\w-]+) -->\n(.*?)<!-- /\1 -->", page, flags=re.DOTALL))
    sections = {**found, **measured}
    names = [name for name in order if name in sections]
    return "\n".join([HEAD, *(f"<!-- {name} -->\n{sections[name].rstrip()}\n<!-- /{name} -->\n" for name in names)])


def write(measured: Sequence[Measured], order: Sequence[str], page: Path = PAGE) -> None:
    """Replace the sections in the page, all or none of them."""
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    new = updated(old, {one.name: one.markdown() for one in measured}, order)
    partial = page.with_suffix(".partial")
    partial.write_text(new, encoding="utf-8")
    partial.replace(page)
