"""Draws docs/way-of-a-search.svg and docs/way-of-a-study.svg: `python -m docs.drawings`.

Boxes in rows, arrows between them: small enough to be written by hand, and readable without network or script.
"""

from dataclasses import dataclass
from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT, GAP, ROW = 196, 62, 44, 110


@dataclass(frozen=True)
class Box:
    """A box at a column and a row: what it is, and the module that makes it."""

    key: str
    column: float
    row: float
    title: str
    module: str

    @property
    def x(self) -> float:
        """Left edge."""
        return 10 + self.column * (WIDTH + GAP)

    @property
    def y(self) -> float:
        """Upper edge."""
        return 10 + self.row * ROW


SEARCH = (
    Box("query", 0, 0, "Query", "search/query.py"),
    Box("space", 1, 0, "space, in chunks", "search/space.py"),
    Box("bulk", 2, 0, "counts of all specs", "zoo/bulk/"),
    Box("price", 3, 0, "costs, expected mIOU", "search/pricing.py"),
    Box("front", 3, 1, "feasible, non-dominated", "search/exact.py, pareto.py"),
    Box("cert", 2, 1, "certificate", "search/certificate.py"),
    Box("folder", 1, 1, "run folder", "search/runs/writer.py"),
    Box("report", 0, 1, "charts, HTML report", "search/report/"),
    Box("predictor", 2, -1, "predictor of a device", "hw_models/predictors.py"),
    Box("accuracy", 3, -1, "accuracy model", "search/accuracy/"),
)
SEARCH_ARROWS = ("query space", "space bulk", "bulk price", "predictor price", "accuracy price", "price front")
SEARCH_ARROWS += ("front cert", "cert folder", "folder report")

STUDY = (
    Box("feasible", 0, 0, "feasible set", "search/study/feasible.py"),
    Box("sampler", 1, 0, "proposal", "search/study/samplers.py"),
    Box("trial", 2, 0, "trial", "search/study/trials.py"),
    Box("engine", 3, 0, "engine: local or Ray", "search/study/engines/"),
    Box("evaluator", 3, 1, "training, mIOU", "search/study/evaluators.py"),
    Box("storage", 2, 1, "journal", "search/study/storage.py"),
    Box("surrogate", 1, 1, "observations, surrogate", "search/study/surrogate.py"),
    Box("promotion", 1, 2, "long protocol, repeats", "search/study/promotion.py"),
    Box("results", 2, 2, "front, noise", "search/study/results.py"),
    Box("folder", 3, 2, "run folder", "search/runs/"),
)
STUDY_ARROWS = ("feasible sampler", "sampler trial", "trial engine", "engine evaluator", "evaluator storage")
STUDY_ARROWS += ("storage surrogate", "surrogate sampler", "storage results", "promotion results", "results folder")


def edge(box: Box, other: Box) -> tuple[float, float]:
    """Where an arrow to the other box leaves this one."""
    middle = box.x + WIDTH / 2, box.y + HEIGHT / 2
    if box.row == other.row:
        return (box.x + WIDTH if other.x > box.x else box.x), middle[1]
    return middle[0], (box.y + HEIGHT if other.y > box.y else box.y)


def svg(boxes: tuple[Box, ...], arrows: tuple[str, ...], title: str) -> str:
    """A drawing that reads on light and dark pages."""
    by_key = {box.key: box for box in boxes}
    top = min(box.y for box in boxes) - 10
    width = max(box.x for box in boxes) + WIDTH + 10
    height = max(box.y for box in boxes) + HEIGHT + 10 - top
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 {top:g} {width:g} {height:g}" role="img" '
        f'font-family="sans-serif" font-size="14">',
        f"<title>{escape(title)}</title>",
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#7a8896"/></marker></defs>',
    ]
    for arrow in arrows:
        start, end = (by_key[key] for key in arrow.split())
        (x1, y1), (x2, y2) = edge(start, end), edge(end, start)
        out.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="#7a8896" stroke-width="1.6" '
            'marker-end="url(#a)"/>'
        )
    for box in boxes:
        x = box.x + WIDTH / 2
        out += [
            f'<rect x="{box.x:g}" y="{box.y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#eef4fa" '
            'stroke="#5b7fa3"/>',
            f'<text x="{x:g}" y="{box.y + 26:g}" text-anchor="middle" fill="#14212d">{escape(box.title)}</text>',
            f'<text x="{x:g}" y="{box.y + 46:g}" text-anchor="middle" font-size="11" fill="#4a5b6b">'
            f"{escape(box.module)}</text>",
        ]
    return "\n".join([*out, "</svg>", ""])


DRAWINGS = {
    "way-of-a-search.svg": (SEARCH, SEARCH_ARROWS, "The way of an exact search"),
    "way-of-a-study.svg": (STUDY, STUDY_ARROWS, "The way of a study"),
}

if __name__ == "__main__":
    for name, (boxes, arrows, title) in DRAWINGS.items():
        (HERE / name).write_text(svg(boxes, arrows, title), encoding="utf-8")
