"""ESPNetv2 for segmentation: the encoder and a decoder of efficient pyramids.

Mehta, Rastegari, Shapiro, Hajishirzi, CVPR 2019, arXiv:1811.11431; the decoder is that of the authors'
released weights, whose keys the layers are named after. All 16 released files load strictly once the
three keys of `UNUSED_KEYS` are dropped. Interpolation aligns the corners.
"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Interval

from zoo.graph import AdaptiveAvgPool, ChannelShuffle, GraphBuilder
from zoo.lowering import Family, Stage, Tensors
from zoo.models.espnetv2_encoder import ENCODER, Encoder, Kernel, bn_act, cbr
from zoo.specs import Count

UNUSED_KEYS = tuple(f"base_net.level{level}_0.eesp.module_act.weight" for level in (2, 3, 4))
"""Keys of the released files that no layer reads."""

SCALES = (2.0, 1.5, 1.0, 0.5, 0.1)
"""Relative sizes at which the decoder's pyramids look."""

NUMBERED = ("0", "1", "2")
"""Names of a convolution, its BN and its PReLU in the decoder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ESPNetv2Spec(Encoder):
    """One ESPNetv2 for segmentation; `Encoder` explains the fields it shares with the others.

    widths: channels at levels 1 to 4. r_lim: limits for units that read levels 1 to 4. decoder_width: d;
    the decoder passes on 4d, 3d, 2d channels, and its pyramids work on min(classes // 2, d).
    """

    family: ClassVar[str] = "espnetv2"

    widths: tuple[Count, Count, Count, Count] | None = None
    r_lim: tuple[Kernel, Kernel, Kernel, Kernel] = (9, 9, 9, 7)
    decoder_width: Count = 16
    classes: Annotated[int, Interval(ge=2, le=4096)] = 20

    @property
    def root(self) -> str:
        """Path under which the encoder"s layers live."""
        return "base_net."


def pyramid(
    g: GraphBuilder,
    x: str,
    path: str,
    out_channels: int,
    *,
    proj: int,
    scales: tuple[float, ...] = SCALES,
    last: bool = False,
) -> str:
    """Efficient pyramid pooling: project, look at several sizes depth-wise, shuffle, mix, expand.

    Each size is at least 5. The last pyramid of a network ends in a bias in place of BN and PReLU.
    """
    x = cbr(g, x, f"{path}.projection_layer.cbr", proj, names=NUMBERED)
    looks = tuple(look(g, x, path, i, scale) for i, scale in enumerate(scales))
    y = bn_act(g, g.concat(looks, f"{path}.cat"), f"{path}.merge_layer.0.br", NUMBERED[:2])
    y = g.append(ChannelShuffle(len(scales)), (y,), f"{path}.merge_layer.1")
    y = cbr(g, y, f"{path}.merge_layer.2.cbr", proj, kernel=3, groups=proj, names=NUMBERED)
    y = g.conv(y, f"{path}.merge_layer.3", out_channels, bias=last)
    return y if last else bn_act(g, y, f"{path}.br.br", NUMBERED[:2])


def look(g: GraphBuilder, x: str, path: str, index: int, scale: float) -> str:
    """Depth-wise 3x3 convolution at another size: larger is interpolated and pooled back, smaller the reverse."""
    scaled, back = f"{path}.there{index}", f"{path}.back{index}"
    if scale > 1:
        y = g.resize(x, scaled, scale=scale, minimum=5, align_corners=True)
    elif scale < 1:
        y = g.append(AdaptiveAvgPool(scale=scale, minimum=5), (x,), scaled)
    else:
        y = x
    y = g.conv(y, f"{path}.stages.{index}", g.channels(x), kernel=3, groups=g.channels(x))
    if scale > 1:
        return g.append(AdaptiveAvgPool(), (y, x), back)
    return g.resize(y, back, like=x, align_corners=True) if scale < 1 else y


def merge(g: GraphBuilder, skip: str, path: str, out_channels: int) -> str:
    """Grouped 3x3 convolution of the encoder's features, weighted by channel from their global average."""
    groups = math.gcd(g.channels(skip), out_channels)
    y = cbr(g, skip, f"{path}.expansion_layer.cbr", out_channels, kernel=3, groups=groups, names=NUMBERED)
    pooled = g.append(AdaptiveAvgPool((1, 1)), (skip,), f"{path}.wt_layer.0")
    weight = g.act(g.conv(pooled, f"{path}.wt_layer.1", out_channels), f"{path}.wt_layer.2", "sigmoid")
    return g.multiply(y, weight, f"{path}.weighted")


def projected(s: ESPNetv2Spec) -> int:
    """Channels that the decoder's pyramids work on."""
    return min(s.classes // 2, s.decoder_width)


def decode(g: GraphBuilder, s: ESPNetv2Spec, t: Tensors, step: int, skip: str, out_channels: int) -> str:
    """Interpolate to the skip's size, add it merged, BN, PReLU, pyramid; `step` counts as the layers' names do."""
    x = g.resize(t["x"], f"up{step}", like=t[skip], align_corners=True)
    merged = merge(g, t[skip], f"merge_enc_dec_l{step}", g.channels(x))
    x = bn_act(g, g.add((merged, x), f"sum{step}"), f"bu_br_l{step}", NUMBERED[:2])
    return pyramid(g, x, f"bu_dec_l{step}", out_channels, proj=projected(s), last=step == 4)


def decoder_level4(g: GraphBuilder, s: ESPNetv2Spec, t: Tensors) -> None:
    """Pyramid at 1/16 of the image's size."""
    t["x"] = pyramid(g, t["level4"], "bu_dec_l1", 4 * s.decoder_width, proj=projected(s))


def decoder_level3(g: GraphBuilder, s: ESPNetv2Spec, t: Tensors) -> None:
    """Up to 1/8 of the image's size."""
    t["x"] = decode(g, s, t, 2, "level3", 3 * s.decoder_width)


def decoder_level2(g: GraphBuilder, s: ESPNetv2Spec, t: Tensors) -> None:
    """Up to 1/4 of the image's size."""
    t["x"] = decode(g, s, t, 3, "level2", 2 * s.decoder_width)


def decoder_level1(g: GraphBuilder, s: ESPNetv2Spec, t: Tensors) -> None:
    """Up to half of the image's size, to the classes, and from there to its full size."""
    x = decode(g, s, t, 4, "level1", s.classes)
    t["logits"] = g.resize(x, "logits", like=t["image"], align_corners=True)


FAMILY = Family(
    spec=ESPNetv2Spec,
    stages=(*ENCODER, Stage(decoder_level4), Stage(decoder_level3), Stage(decoder_level2), Stage(decoder_level1)),
)
