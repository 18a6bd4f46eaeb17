"""docs/benchmarks.md: a marked section for each part and kind of machine, replaced on its own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import summary
from benchmarks.machine import Machine

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "benchmarks.md"

HEAD = """\
# Benchmarks

What to expect on two cores of a processor, beside what the project aims at:

1. A search of README's size takes seconds, and nothing is fetched; its exact front is the same every time.
2. `zoo segment` runs ESPNet a few times as fast as eager torch: OpenVINO where it is installed, after our passes.
3. A folder of images takes little longer than the network alone, JPEG less than PNG.
4. `zoo train --amp --compile` takes half or a third of the time of a plain loop, more where the processor has BF16.
5. The narrower a processor's vectors, the longer the network itself takes, and the less all else weighs.

{aims}

## How it is measured

`make bench` writes the quick sections anew, `python -m benchmarks PART…` chosen ones, `--full` with more rounds and
longer runs, `python -m benchmarks --list` says which there are. Every ratio was measured in one run on one machine,
what is compared taking turns (A B A B …); times are medians, the spread is the range of the middle half over the
median, and a ratio is the median over the rounds with its 90 % interval in brackets. Where the first one's times spread
by more than 25 %, other processes took more than 15 % of the CPUs, or an interval is wider than a factor of 1.25, the
table says "too noisy to tell". Sections are by kind of machine, and one kind never overwrites another's.
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
    kind: str = "AVX2"

    @property
    def key(self) -> str:
        """By which the page knows the section."""
        return f"{self.name}: {self.kind}"

    def markdown(self) -> str:
        """The section with a line on its circumstances below its heading."""
        title, _, body = self.section.text.strip().partition("\n")
        busy = "" if self.others is None else f"; other processes took {self.others:.0%} of the CPUs"
        circumstances = f"*{self.when}, in {self.seconds:.0f} s, on {self.machine}{busy}.*"
        return f"{title} ({self.kind})\n\n{circumstances}\n\n{body.strip()}\n"

    def document(self) -> dict[str, Any]:
        return {
            "part": self.name,
            "kind": self.kind,
            "when": self.when,
            "seconds": self.seconds,
            "machine": self.machine.document(),
            "others": self.others,
            **self.section.data,
        }


def head() -> str:
    """What the page begins with: what to expect, the aims beside each kind of machine, and how it is measured."""
    return HEAD.format(aims=summary.markdown(summary.kept()))


def updated(page: str, measured: Mapping[str, str], order: Sequence[str]) -> str:
    """The page with some sections replaced or added, by part and then by kind; what is not marked goes."""
    sections_before = dict(re.findall(r"<!-- ([\w-]+: [\w -]+) -->\n(.*?)<!-- /\1 -->", page, flags=re.DOTALL))
    sections = {**sections_before, **measured}
    names = [name for part in order for name in sorted(sections) if name.partition(":")[0] == part]
    return "\n".join([head(), *(f"<!-- {name} -->\n{sections[name].rstrip()}\n<!-- /{name} -->\n" for name in names)])


def write(measured: Sequence[Measured], order: Sequence[str], page: Path = PAGE) -> None:
    """Replace the sections in the page, all or none of them."""
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    new = updated(old, {section.key: section.markdown() for section in measured}, order)
    partial = page.with_suffix(".partial")
    partial.write_text(new, encoding="utf-8")
    partial.replace(page)


def rewritten(page: Path = PAGE) -> None:
    """Write the page's head anew, its sections as they are; the parts stand in the order that they have."""
    text = page.read_text(encoding="utf-8")
    order = list(dict.fromkeys(re.findall(r"<!-- ([\w-]+): [\w -]+ -->", text)))
    page.write_text(updated(text, {}, order), encoding="utf-8")
