"""YOLOX: exceeding YOLO series in 2021.

Ge, Liu, Wang, Li, Sun, arXiv:2107.08430. A reference network: its published times check the devices, because its
images are larger than a classifier's and it joins three scales, as segmentation networks do. Parameters with 80
classes (table 2 and the authors' repository, in millions): s 9.0, m 25.3, l 54.2.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoo.graph import GraphBuilder, SpaceToDepth
from zoo.lowering import Family, Stage, Tensors, off_grid
from zoo.specs import Count, Spec

SCALES = {"s": (1, 0.50), "m": (2, 0.75), "l": (3, 1.00)}
"""Residual units of the shortest stage, and the scale of the widths."""

LEVELS = ("dark3", "dark4", "dark5")


@dataclass(frozen=True, slots=True, kw_only=True)
class YOLOXSpec(Spec):
    """One YOLOX."""

    family: ClassVar[str] = "yolox"

    variant: Literal["s", "m", "l"] = "s"
    classes: Count = 80


def conv(g: GraphBuilder, x: str, path: str, width: int, kernel: int = 1, stride: int = 1) -> str:
    """Convolution, BN and SiLU."""
    x = g.bn(g.conv(x, f"{path}.conv", width, kernel=kernel, stride=stride), f"{path}.bn")
    return g.act(x, f"{path}.act", "silu")


def csp(g: GraphBuilder, x: str, path: str, width: int, units: int, *, shortcut: bool) -> str:
    """Cross stage partial unit (arXiv:1911.11929) of 1x1 and 3x3 residual units beside a 1x1 convolution."""
    left, right = (conv(g, x, f"{path}.conv{i}", width // 2) for i in (1, 2))
    for i in range(units):
        y = conv(g, conv(g, left, f"{path}.m.{i}.conv1", width // 2), f"{path}.m.{i}.conv2", width // 2, 3)
        left = g.add((y, left), f"{path}.m.{i}.sum") if shortcut else y
    return conv(g, g.concat((left, right), f"{path}.cat"), f"{path}.conv3", width)


def pyramid_pool(g: GraphBuilder, x: str, path: str, width: int) -> str:
    """Spatial pyramid pooling: windows of 5, 9 and 13 beside the value itself."""
    x = conv(g, x, f"{path}.conv1", g.channels(x) // 2)
    pooled = [g.max_pool(x, f"{path}.m.{i}", kernel=k, stride=1, padding=k // 2) for i, k in enumerate((5, 9, 13))]
    return conv(g, g.concat((x, *pooled), f"{path}.cat"), f"{path}.conv2", width)


def backbone(g: GraphBuilder, s: YOLOXSpec, t: Tensors) -> None:
    """CSPDarknet: blocks of 2x2 pixels as channels, four strided stages."""
    base, scale = SCALES[s.variant]
    width = round(64 * scale)
    x = conv(g, g.append(SpaceToDepth(), (t["image"],), "stem.focus"), "stem.conv", width, 3)
    for level, units in (("dark2", base), ("dark3", 3 * base), ("dark4", 3 * base), ("dark5", base)):
        width *= 2
        x = conv(g, x, f"{level}.0", width, 3, 2)
        if level == "dark5":
            x = pyramid_pool(g, x, f"{level}.1", width)
        x = t[level] = csp(g, x, f"{level}.csp", width, units, shortcut=level != "dark5")


def neck(g: GraphBuilder, s: YOLOXSpec, t: Tensors) -> None:
    """Path aggregation (PANet, arXiv:1803.01534): from the coarsest scale up, and down again."""
    base, scale = SCALES[s.variant]
    w3, w4, w5 = (round(w * scale) for w in (256, 512, 1024))
    low, mid, high = (t[level] for level in LEVELS)
    lateral = conv(g, high, "lateral_conv0", w4)
    x = g.concat((g.resize(lateral, "up0", scale=2, mode="nearest"), mid), "cat0")
    reduced = conv(g, csp(g, x, "C3_p4", w4, base, shortcut=False), "reduce_conv1", w3)
    x = g.concat((g.resize(reduced, "up1", scale=2, mode="nearest"), low), "cat1")
    t["p3"] = csp(g, x, "C3_p3", w3, base, shortcut=False)
    x = g.concat((conv(g, t["p3"], "bu_conv2", w3, 3, 2), reduced), "cat2")
    t["p4"] = csp(g, x, "C3_n3", w4, base, shortcut=False)
    x = g.concat((conv(g, t["p4"], "bu_conv1", w4, 3, 2), lateral), "cat3")
    t["p5"] = csp(g, x, "C3_n4", w5, base, shortcut=False)


def head(g: GraphBuilder, s: YOLOXSpec, t: Tensors) -> None:
    """Decoupled head (figure 2): classes on one side, box and objectness on the other, for each scale."""
    width = round(256 * SCALES[s.variant][1])
    for i, level in enumerate(("p3", "p4", "p5")):
        x = conv(g, t[level], f"stems.{i}", width)
        sides = []
        for side in ("cls", "reg"):
            y = conv(g, x, f"{side}_convs.{i}.0", width, 3)
            sides.append(conv(g, y, f"{side}_convs.{i}.1", width, 3))
        box = g.conv(sides[1], f"reg_preds.{i}", 4, bias=True)
        objectness = g.act(g.conv(sides[1], f"obj_preds.{i}", 1, bias=True), f"obj_preds.{i}.sigmoid", "sigmoid")
        classes = g.act(g.conv(sides[0], f"cls_preds.{i}", s.classes, bias=True), f"cls_preds.{i}.sigmoid", "sigmoid")
        t[f"out{i}"] = g.concat((box, objectness, classes), f"out{i}.cat")


def _size_fits(s: YOLOXSpec, height: int, width: int) -> str | None:
    return off_grid("cat0", 32, height, width)


FAMILY = Family(
    spec=YOLOXSpec,
    stages=(Stage(backbone), Stage(neck), Stage(head)),
    bn_eps=1e-3,
    outputs=lambda spec: ("out0", "out1", "out2"),
    check_size=_size_fits,
)
