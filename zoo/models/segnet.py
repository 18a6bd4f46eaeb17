"""SegNet: a deep convolutional encoder-decoder architecture for image segmentation.

Badrinarayanan, Kendall, Cipolla, IEEE Transactions on Pattern Analysis and Machine Intelligence 39(12),
2017, arXiv:1511.00561. Layer names are those of the authors' Caffe model (`conv5_3_D`, `upsample5`), whose
poolings round sizes up. The encoder is VGG-16's convolutions with BN; the decoder mirrors it. All
convolutions have a bias.

Parameters: 29,453,971 with the 19 classes of Cityscapes; the poster of ESPNet shows 29.6 +- 0.3 M, and
29.4 M, the comparison's number, is printed beside ENet's Caffe version. Both are met within 1 %.
"""

from dataclasses import dataclass
from typing import ClassVar

from zoo.graph import GraphBuilder, MaxUnpool
from zoo.lowering import Family, Stage, Tensors
from zoo.models.vgg import CONVOLUTIONS, Widths, block
from zoo.specs import Count, Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class SegNetSpec(Spec):
    """One SegNet. widths: channels of the encoder's five blocks; the decoder has the same."""

    family: ClassVar[str] = "segnet"

    widths: Widths = (64, 128, 256, 512, 512)
    classes: Count = 19


def encoder(g: GraphBuilder, s: SegNetSpec, t: Tensors) -> None:
    """Five blocks of VGG-16 with BN, each followed by max pooling that remembers its positions."""
    x = t["image"]
    for level, (width, count) in enumerate(zip(s.widths, CONVOLUTIONS[16], strict=True), start=1):
        t[f"block{level}"] = block(g, x, level, width, count, bn=True)
        x = t[f"pool{level}"] = g.max_pool(t[f"block{level}"], f"pool{level}", kernel=2, stride=2, ceil=True)
    t["x"] = x


def decoder_conv(g: GraphBuilder, x: str, name: str, width: int) -> str:
    """3x3 convolution, BN, ReLU."""
    x = g.conv(x, f"conv{name}", width, kernel=3, bias=True)
    return g.act(g.bn(x, f"conv{name}_bn"), f"relu{name}", "relu")


def decoder(g: GraphBuilder, s: SegNetSpec, t: Tensors) -> None:
    """Unpool and convolve five times; the last convolution of a block leaves the next one's channels."""
    x = t["x"]
    for level in (5, 4, 3, 2, 1):
        x = g.append(MaxUnpool((2, 2), (2, 2)), (x, t[f"pool{level}"], t[f"block{level}"]), f"upsample{level}")
        for i in range(CONVOLUTIONS[16][level - 1], 1, -1):
            x = decoder_conv(g, x, f"{level}_{i}_D", s.widths[level - 1])
        if level > 1:
            x = decoder_conv(g, x, f"{level}_1_D", s.widths[level - 2])
    t["logits"] = g.conv(x, "conv1_1_D", s.classes, kernel=3, bias=True)


FAMILY = Family(spec=SegNetSpec, stages=(Stage(encoder), Stage(decoder)))
