"""Tables in a terminal that never break a word, whatever its width."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

EDGE, GAP = 2, 3
"""Blanks beside a table, and between two columns of it."""


@dataclass(frozen=True, slots=True)
class WordTable:
    """Columns over rows, wrapped between words; where that does not fit, one line a cell, row by row.

    The first `left` columns are text, the others numbers. Cells are plain text.
    """

    title: str | None
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> Iterator[Any]:
        widths = fitted(self._cells(), options.max_width)
        yield from self._records() if widths is None else [self._table(widths)]

    def _cells(self) -> list[list[str]]:
        """All cells, column by column, the head first."""
        return [[head, *(row[i] for row in self.rows)] for i, head in enumerate(self.columns)]

    def _table(self, widths: Sequence[int]) -> Any:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        title = None if self.title is None else Text(self.title, style="table.title")
        out = Table(title=title, box=box.SIMPLE, title_justify="left", pad_edge=False)
        for i, (column, width) in enumerate(zip(self.columns, widths, strict=True)):
            out.add_column(Text(column), justify="left" if i < self.left else "right", width=width, overflow="fold")
        for row in self.rows:
            out.add_row(*map(Text, row))
        return out

    def _records(self) -> Iterator[Any]:
        from rich.text import Text

        if self.title:
            yield Text(self.title)
        for row in self.rows:
            yield Text(row[0])
            for head, cell in zip(self.columns[1:], row[1:], strict=True):
                if cell:
                    yield Text(f"  {head}: {cell}" if head else f"  {cell}")


def fitted(columns: Sequence[Sequence[str]], most: int) -> list[int] | None:
    """Widths in which the columns' cells take at most `most` together and no word is broken; None where none are.

    What is left beside the longest words goes to the columns that would still wrap, the narrowest first.

    >>> fitted([["model", "a long name"], ["n", "12"]], 80), fitted([["model", "a long name"], ["n", "12"]], 12)
    ([11, 2], [5, 2])
    >>> fitted([["unbreakable"], ["word"]], 12) is None
    True
    """
    from rich.cells import cell_len

    words = [max((cell_len(word) for cell in column for word in cell.split()), default=0) for column in columns]
    lines = [max(cell_len(line) for cell in column for line in cell.split("\n")) for column in columns]
    left = most - EDGE - GAP * (len(columns) - 1) - sum(words)
    if left < 0:
        return None
    widths = list(words)
    while left and (wanting := [i for i, width in enumerate(widths) if width < lines[i]]):
        widths[min(wanting, key=lambda i: widths[i])] += 1
        left -= 1
    return widths
