"""Markdown tables, written one way everywhere."""

from collections.abc import Iterable, Sequence

RULES = {"l": "---", "r": "--:"}


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], align: str | int = 0) -> str:
    """A table, its bars escaped. align: `l` or `r` for each column, or how many of the last ones stand at the right.

    >>> print(table(("network", "M"), [("fpenet", "0.36")], 1))
    | network | M |
    | --- | --: |
    | fpenet | 0.36 |
    """
    sides = align if isinstance(align, str) else "l" * (len(columns) - align) + "r" * align
    lines = [columns, [RULES[side] for side in sides], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
