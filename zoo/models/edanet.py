"""EDANet: efficient dense modules of asymmetric convolution for real-time semantic segmentation.

Lo, Hang, Chan, Lin, ACM Multimedia Asia 2019, arXiv:1809.06323. The authors released no code, but the list of
layers, whose order the names follow. Every convolution has a bias; activations are ReLUs.

Parameters: 689,485 with the 19 classes of Cityscapes, 1.4 % more than the published 0.68 M. Biases make up
2,806 of them; without, they would be 686,679.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Interval

from zoo.graph import Dropout, GraphBuilder
from zoo.lowering import Family, Stage, Tensors, off_grid
from zoo.specs import Count, Rule, Spec

BLOCK1 = (1, 1, 1, 2, 2)
"""Dilations of the modules of EDA block 1, at 1/4 of the image's size."""
BLOCK2 = (2, 2, 4, 4, 8, 8, 16, 16)
"""Dilations of the modules of EDA block 2, at 1/8."""


def _widths_grow(s: "EDANetSpec") -> str | None:
    first, second, _ = s.widths
    if 3 < first < second:
        return None
    return f"a downsampler adds channels to those it pools, so the first two widths must grow from 4 on, not {s.widths}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EDANetSpec(Spec):
    """One EDANet.

    widths: channels that the downsamplers leave at 1/2, 1/4 and 1/8 of the image's size. growth: channels that a
    module adds, the paper's k.
    """

    family: ClassVar[str] = "edanet"
    rules: ClassVar[tuple[Rule, ...]] = (_widths_grow,)

    widths: tuple[Count, Count, Count] = (15, 60, 130)
    growth: Annotated[int, Interval(ge=1, le=256)] = 40
    classes: Count = 19


def bn_relu(g: GraphBuilder, x: str, path: str) -> str:
    """BN and ReLU."""
    return g.act(g.bn(x, f"{path}.bn"), f"{path}.relu", "relu")


def downsampler(g: GraphBuilder, x: str, path: str, width: int) -> str:
    """Downsampling block: 3x3 convolution of stride 2, beside max pooling where that adds channels; BN, ReLU."""
    grows = g.channels(x) < width
    y = g.conv(x, f"{path}.conv", width - g.channels(x) * grows, kernel=3, stride=2, bias=True)
    if grows:
        y = g.concat((y, g.max_pool(x, f"{path}.pool", kernel=2, stride=2)), f"{path}.cat")
    return bn_relu(g, y, path)


def asymmetric(g: GraphBuilder, x: str, path: str, dilation: int) -> str:
    """3x1 and 1x3 convolution, BN, ReLU."""
    width = g.channels(x)
    x = g.conv(x, f"{path}.conv3x1", width, kernel=(3, 1), dilation=(dilation, 1), bias=True)
    x = g.conv(x, f"{path}.conv1x3", width, kernel=(1, 3), dilation=(1, dilation), bias=True)
    return bn_relu(g, x, path)


def eda_module(g: GraphBuilder, x: str, path: str, growth: int, dilation: int) -> str:
    """EDA module (figure 2): 1x1, two asymmetric convolutions, the second dilated, concatenated to the input."""
    y = bn_relu(g, g.conv(x, f"{path}.point.conv", growth, bias=True), f"{path}.point")
    y = asymmetric(g, y, f"{path}.plain", 1)
    y = asymmetric(g, y, f"{path}.dilated", dilation)
    y = g.append(Dropout(0.02, channelwise=True), (y,), f"{path}.dropout")
    return g.concat((y, x), f"{path}.cat")


def down1(g: GraphBuilder, s: EDANetSpec, t: Tensors) -> None:
    """Two downsamplers, to 1/4."""
    x = downsampler(g, t["image"], "down1", s.widths[0])
    t["x"] = downsampler(g, x, "down2", s.widths[1])


def block1(g: GraphBuilder, s: EDANetSpec, t: Tensors) -> None:
    """EDA block 1."""
    for i, dilation in enumerate(BLOCK1, start=1):
        t["x"] = eda_module(g, t["x"], f"eda1.{i}", s.growth, dilation)


def down3(g: GraphBuilder, s: EDANetSpec, t: Tensors) -> None:
    """The third downsampler, to 1/8."""
    t["x"] = downsampler(g, t["x"], "down3", s.widths[2])


def block2(g: GraphBuilder, s: EDANetSpec, t: Tensors) -> None:
    """EDA block 2."""
    for i, dilation in enumerate(BLOCK2, start=1):
        t["x"] = eda_module(g, t["x"], f"eda2.{i}", s.growth, dilation)


def classifier(g: GraphBuilder, s: EDANetSpec, t: Tensors) -> None:
    """The classes, at the image's size."""
    x = g.conv(t["x"], "projection", s.classes, bias=True)
    t["logits"] = g.resize(x, "resize", like=t["image"], align_corners=True)


def _size_fits(s: EDANetSpec, height: int, width: int) -> str | None:
    if s.widths[1] + len(BLOCK1) * s.growth < s.widths[2]:
        return off_grid("down3.cat", 8, height, width)
    return off_grid("down2.cat", 4, height, width)


FAMILY = Family(
    spec=EDANetSpec,
    stages=(Stage(down1), Stage(block1), Stage(down3), Stage(block2), Stage(classifier)),
    check_size=_size_fits,
)
