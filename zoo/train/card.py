"""A model card: where weights come from, what they score, and the command that makes them again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo.train.checkpoint import Kept


@dataclass(frozen=True, slots=True)
class Origin:
    """What a card says beside the file and its scores.

    command: makes these weights. hardware and hours: where and how long. notes: what a user should know.
    """

    name: str
    command: str
    hardware: str
    hours: float
    notes: tuple[str, ...] = ()


def card(weights: Kept, scores: Mapping[str, Any], epochs: int, origin: Origin) -> str:
    """Markdown of a card. scores: what `zoo eval --json` prints. epochs: that were trained."""
    protocol = scores["protocol"]
    start = weights.about.get("init")
    lines = [
        f"# {origin.name}",
        "",
        *(f"{note}\n" for note in origin.notes),
        f"Spec: {_pairs(weights.about['spec'])}.",
        "",
        f"Start: {f'the weights `{start}`' if start else 'random weights'}. Epochs: {epochs}, of which the best on "
        f"{protocol['split']} is kept ({weights.about['epoch']}). Seed: {weights.about['recipe']['seed']}. "
        f"Hardware: {origin.hardware}, {origin.hours:.1f} h.",
        "",
        f"Recipe: {_pairs(weights.about['recipe'])}.",
        "",
        "```",
        origin.command,
        "```",
        "",
        f"## Scores on {protocol['dataset']} {protocol['split']}",
        "",
        f"mIOU {scores['miou']:.2f}, class average {scores['class_average']:.2f}, "
        f"pixel accuracy {scores['pixel_accuracy']:.2f}, category mIOU {scores['category_miou']:.2f}.",
        "",
        f"{scores['images']} images; {_pairs({k: v for k, v in protocol.items() if k not in ('network', 'map')})}.",
        "The best epoch was chosen on these images, so the figures are a little optimistic.",
        "",
        "| class | IOU |",
        "| --- | --: |",
        *(f"| {name} | {'' if iou is None else f'{iou:.2f}'} |" for name, iou in scores["per_class_iou"].items()),
    ]
    return "\n".join(lines) + "\n"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items() if value is not None)
