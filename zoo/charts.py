"""Saves charts: equal charts are equal files, whole or not at all."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.files import atomic
from zoo.ownership import NAME

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SALT = "zoo"
"""What the ids inside an SVG are made from; random ones would differ from file to file."""


def save_figure(figure: "Figure", path: Path, **options: Any) -> Path:
    """Write a figure as its file's ending says, without the time at which it was drawn. options: of `savefig`."""
    import matplotlib

    kind = path.suffix[1:].lower()
    about: dict[str, dict[str, Any]] = {
        "png": {"Software": NAME},
        "svg": {"Creator": NAME, "Date": None},
        "pdf": {"Creator": NAME, "CreationDate": None},
    }
    with matplotlib.rc_context({"svg.hashsalt": SALT}), atomic(path) as partial:
        figure.savefig(partial, format=kind, metadata=about[kind], **options)
    return path
