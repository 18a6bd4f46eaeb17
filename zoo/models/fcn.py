"""FCN: fully convolutional networks for semantic segmentation.

Shelhamer, Long, Darrell, IEEE Transactions on Pattern Analysis and Machine Intelligence 39(4), 2017,
arXiv:1605.06211. FCN-8s, FCN-16s and FCN-32s on VGG-16. Layer names and all offsets are those of the
authors' Caffe models: the first convolution is padded by 100 so that any size reaches `fc6`, and the
predictions are cropped to match. VGG's linear layers become a 7x7 and a 1x1 convolution. Up-sampling is a
transposed convolution without bias. The all-at-once version multiplies the skip connections by constants,
which fold into the weights and are left out.

Parameters: 134,456,985 for FCN-8s with the 19 classes of Cityscapes; the comparison has 134.5 M.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoo.graph import Crop, Dropout, GraphBuilder
from zoo.lowering import Family, Stage, Tensors
from zoo.models.vgg import CONVOLUTIONS, Widths, block
from zoo.specs import Count, Spec

LAST_CROP = {8: 31, 16: 27, 32: 19}
"""Where the image begins in the up-sampled scores, by stride."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FCNSpec(Spec):
    """One FCN. stride: of the finest prediction; 8 is FCN-8s. hidden: channels of fc6 and fc7."""

    family: ClassVar[str] = "fcn"

    stride: Literal[8, 16, 32] = 8
    widths: Widths = (64, 128, 256, 512, 512)
    hidden: Count = 4096
    classes: Count = 19


def features(g: GraphBuilder, s: FCNSpec, t: Tensors) -> None:
    """VGG-16's five blocks; poolings round sizes up, as Caffe does."""
    x = t["image"]
    for level, (width, count) in enumerate(zip(s.widths, CONVOLUTIONS[16], strict=True), start=1):
        x = block(g, x, level, width, count, first_padding=100 if level == 1 else 1)
        x = t[f"pool{level}"] = g.max_pool(x, f"pool{level}", kernel=2, stride=2, ceil=True)
    t["x"] = x


def score(g: GraphBuilder, s: FCNSpec, t: Tensors) -> None:
    """VGG's linear layers as convolutions, and a 1x1 convolution to the classes: scores at stride 32."""
    x = t["x"]
    for i, kernel in ((6, 7), (7, 1)):
        x = g.act(g.conv(x, f"fc{i}", s.hidden, kernel=kernel, padding=0, bias=True), f"relu{i}", "relu")
        x = g.append(Dropout(0.5), (x,), f"drop{i}")
    t["score"] = g.conv(x, "score_fr", s.classes, bias=True)


def fuse(g: GraphBuilder, s: FCNSpec, t: Tensors, *, up: str, pool: int, offset: int) -> None:
    """Double the scores' size and add those of a pooling layer, cropped from `offset` on."""
    x = g.deconv(t["score"], up, s.classes, kernel=4)
    skip = g.conv(t[f"pool{pool}"], f"score_pool{pool}", s.classes, bias=True)
    skip = g.append(Crop(offset, offset), (skip, x), f"score_pool{pool}c")
    t["score"] = g.add((x, skip), f"fuse_pool{pool}")


def skips(g: GraphBuilder, s: FCNSpec, t: Tensors) -> None:
    """Combine what and where (section 4.2): scores of pool4, then of pool3."""
    if s.stride <= 16:
        fuse(g, s, t, up="upscore2", pool=4, offset=5)
    if s.stride == 8:
        fuse(g, s, t, up="upscore_pool4", pool=3, offset=9)


def upscore(g: GraphBuilder, s: FCNSpec, t: Tensors) -> None:
    """Up-sample to the image's size."""
    x = g.deconv(t["score"], f"upscore{s.stride}", s.classes, kernel=2 * s.stride, stride=s.stride)
    offset = LAST_CROP[s.stride]
    t["logits"] = g.append(Crop(offset, offset), (x, t["image"]), "score")


FAMILY = Family(spec=FCNSpec, stages=(Stage(features), Stage(score), Stage(skips), Stage(upscore)))
