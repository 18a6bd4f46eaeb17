"""Tables in a terminal that never break a word, whatever its width."""

from collections.abc import Callable, Iterator, Sequence
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
        widths = fitted(self._cells(), options.max_width, self.left)
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


def fitted(columns: Sequence[Sequence[str]], most: int, left: int = 0) -> list[int] | None:
    """Widths in which the columns' cells take at most `most` together and no word is broken; None where none are.

    Each column's first cell is its head. Columns from `left` on hold numbers, which stay beside their units where
    there is room. What remains goes to the columns that would still wrap, the narrowest first.

    >>> columns = [["model", "a long name"], ["time", "12 ms"]]
    >>> fitted(columns, 80), fitted(columns, 15), fitted(columns, 14), fitted(columns, 12)
    ([11, 5], [5, 5], [5, 4], None)
    """
    room = most - EDGE - GAP * (len(columns) - 1)
    least = [_longest(column, str.split) for column in columns]
    lines = [_longest(column, str.splitlines) for column in columns]
    whole = [*least[:left], *(_longest([*c[0].split(), *c[1:]], str.splitlines) for c in columns[left:])]
    widths = next((widths for widths in (whole, least) if sum(widths) <= room), None)
    if widths is None:
        return None
    for _ in range(room - sum(widths)):
        wanting = [i for i, width in enumerate(widths) if width < lines[i]]
        if wanting:
            widths[min(wanting, key=lambda i: widths[i])] += 1
    return widths


def _longest(cells: Sequence[str], parts: Callable[[str], list[str]]) -> int:
    """Columns that the longest part of the cells takes in a terminal."""
    from rich.cells import cell_len

    return max((cell_len(part) for cell in cells for part in parts(cell)), default=0)
