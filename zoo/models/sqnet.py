"""SQNet: speeding up semantic segmentation for autonomous driving.

Treml, Arjona-Medina, Unterthiner, Durgesh, Friedmann, Schuberth, Mayr, Heusel, Hofmarcher, Widrich, Nessler,
Hochreiter, NIPS workshop on machine learning for intelligent transportation systems, 2016. The authors
released no weights. The encoder is SqueezeNet's Fire modules with ELUs; a parallel dilated convolution
layer follows; the decoder doubles the size with transposed convolutions and lets the encoder's features
by through 3x3 convolutions ("bypass"), which further ones merge ("refinement"). All have a bias, none BN.

Parameters: 16,262,771 with the 19 classes of Cityscapes. The comparison's 16.3 M was read from a figure
(+- 0.4 M). The paper leaves the widths of the decoder open; public re-implementations take those of the
encoder's features, as here, and meet the count.
"""

from dataclasses import dataclass
from typing import ClassVar

from zoo.graph import GraphBuilder
from zoo.lowering import Family, Stage, Tensors, off_grid
from zoo.specs import Count, Rule, Spec

UNITS = (2, 2, 3)
"""Fire modules at 1/4, 1/8 and 1/16 of the image's size."""

DILATIONS = (1, 2, 3, 4)
"""Dilations of the parallel layer."""


def _widths_divide(s: "SQNetSpec") -> str | None:
    if not any(width % 8 for width in s.widths[1:]):
        return None
    return f"a Fire module divides its width by 8, so widths after the first must be multiples of 8, but are {s.widths}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SQNetSpec(Spec):
    """One SQNet. widths: channels at 1/2, 1/4, 1/8 and 1/16 of the image's size."""

    family: ClassVar[str] = "sqnet"
    rules: ClassVar[tuple[Rule, ...]] = (_widths_divide,)

    widths: tuple[Count, Count, Count, Count] = (96, 128, 256, 512)
    classes: Count = 19


def conv_elu(
    g: GraphBuilder, x: str, path: str, width: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1
) -> str:
    """Convolution and ELU."""
    x = g.conv(x, f"{path}.conv", width, kernel=kernel, stride=stride, dilation=dilation, bias=True)
    return g.act(x, f"{path}.elu", "elu")


def fire(g: GraphBuilder, x: str, path: str, width: int) -> str:
    """Fire module: squeeze to an eighth with 1x1, expand half with 1x1 and half with 3x3 (arXiv:1602.07360)."""
    x = conv_elu(g, x, f"{path}.squeeze", width // 8, kernel=1)
    narrow = g.conv(x, f"{path}.expand1x1", width // 2, bias=True)
    wide = g.conv(x, f"{path}.expand3x3", width // 2, kernel=3, bias=True)
    return g.act(g.concat((narrow, wide), f"{path}.cat"), f"{path}.elu", "elu")


def encoder(g: GraphBuilder, s: SQNetSpec, t: Tensors) -> None:
    """3x3 convolution of stride 2, then three times max pooling and Fire modules."""
    x = t["level1"] = conv_elu(g, t["image"], "level1", s.widths[0], stride=2)
    for level, (width, units) in enumerate(zip(s.widths[1:], UNITS, strict=True), start=2):
        x = g.max_pool(x, f"pool{level}", kernel=2, stride=2)
        for i in range(units):
            x = fire(g, x, f"level{level}.{i}", width)
        t[f"level{level}"] = x
    t["x"] = x


def parallel(g: GraphBuilder, s: SQNetSpec, t: Tensors) -> None:
    """Parallel dilated convolutions, summed."""
    branches = tuple(
        conv_elu(g, t["x"], f"parallel.d{dilation}", s.widths[3], dilation=dilation) for dilation in DILATIONS
    )
    t["x"] = g.add(branches, "parallel.sum")


def upsample(g: GraphBuilder, x: str, path: str, width: int) -> str:
    """3x3 transposed convolution that doubles the size."""
    return g.deconv(x, path, width, kernel=3, padding=1, output_padding=1, bias=True)


def decoder(g: GraphBuilder, s: SQNetSpec, t: Tensors) -> None:
    """Three times up-sample, bypass and refine, then up-sample to the classes at the image's size."""
    x = t["x"]
    for level in (3, 2, 1):
        width, path = s.widths[level - 1], f"decoder{level}"
        x = g.act(upsample(g, x, f"{path}.deconv", width), f"{path}.elu", "elu")
        bypass = conv_elu(g, t[f"level{level}"], f"{path}.bypass", width)
        x = conv_elu(g, g.concat((bypass, x), f"{path}.cat"), f"{path}.refine", 2 * width)
    t["logits"] = upsample(g, x, "classifier", s.classes)


def _size_fits(s: SQNetSpec, height: int, width: int) -> str | None:
    return off_grid("decoder3.cat", 16, height, width)


FAMILY = Family(spec=SQNetSpec, stages=(Stage(encoder), Stage(parallel), Stage(decoder)), check_size=_size_fits)
