"""CGNet: a light-weight context guided network for semantic segmentation.

Wu, Tang, Zhang, Cao, Zhang, IEEE Transactions on Image Processing 30, 2021, arXiv:1811.08201. Layer names are
the keys of the authors' released checkpoints. Only the linear layers of the global context have a bias; BN
is BatchNorm with eps 1e-3, and a PReLU has one slope a channel.

Parameters: 496,306 with M = 3, N = 21 and the 19 classes of Cityscapes, where the paper has less than 0.5 M;
423,682 with N = 15, its smaller network.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Interval

from zoo.graph import AdaptiveAvgPool, GraphBuilder, Linear
from zoo.lowering import Family, Stage, Tensors
from zoo.specs import Count, Rule, Spec

Depth = Annotated[int, Interval(ge=2, le=64)]

REDUCTIONS = (8, 16)
"""Channels over the hidden ones of the global context, in stages 2 and 3."""


def _widths_halve(s: "CGNetSpec") -> str | None:
    if all(width % 2 == 0 and width >= reduction for width, reduction in zip(s.widths[1:], REDUCTIONS, strict=True)):
        return None
    return (
        f"widths: the second must be even and at least {REDUCTIONS[0]}, the third even and at least {REDUCTIONS[1]}, "
        f"because a block halves its channels and its global context divides them, but they are {s.widths}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CGNetSpec(Spec):
    """One CGNet.

    widths: channels at 1/2, 1/4 and 1/8 of the image's size. depth2, depth3: CG blocks of stages 2 and 3, the
    paper's M and N. dilations: of the surrounding context, in stages 2 and 3.
    """

    family: ClassVar[str] = "cgnet"
    rules: ClassVar[tuple[Rule, ...]] = (_widths_halve,)

    widths: tuple[Count, Count, Count] = (32, 64, 128)
    depth2: Depth = 3
    depth3: Depth = 21
    dilations: tuple[Count, Count] = (2, 4)
    classes: Count = 19

    @property
    def units2(self) -> int:
        """Blocks of stage 2 after the strided one."""
        return self.depth2 - 1

    @property
    def units3(self) -> int:
        """Blocks of stage 3 after the strided one."""
        return self.depth3 - 1


def bn_prelu(g: GraphBuilder, x: str, path: str) -> str:
    """BN and PReLU."""
    return g.act(g.bn(x, f"{path}.bn"), f"{path}.act")


def conv_bn_prelu(g: GraphBuilder, x: str, path: str, width: int, *, kernel: int, stride: int = 1) -> str:
    """Convolution, BN, PReLU."""
    return bn_prelu(g, g.conv(x, f"{path}.conv", width, kernel=kernel, stride=stride), path)


def joint(g: GraphBuilder, x: str, path: str, dilation: int) -> str:
    """Joint feature (section 3.1): local feature and surrounding context, both depth-wise, concatenated."""
    width = g.channels(x)
    local = g.conv(x, f"{path}.F_loc.conv", width, kernel=3, groups=width)
    surrounding = g.conv(x, f"{path}.F_sur.conv", width, kernel=3, dilation=dilation, groups=width)
    return g.concat((local, surrounding), f"{path}.F_joi")


def global_context(g: GraphBuilder, x: str, path: str, reduction: int) -> str:
    """Global context: weigh the channels by what two linear layers make of their means."""
    width = g.channels(x)
    y = g.append(AdaptiveAvgPool((1, 1)), (x,), f"{path}.avg_pool")
    y = g.act(g.append(Linear(width // reduction), (y,), f"{path}.fc.0"), f"{path}.fc.1", "relu")
    y = g.act(g.append(Linear(width), (y,), f"{path}.fc.2"), f"{path}.fc.3", "sigmoid")
    return g.multiply(x, y, f"{path}.weighted")


def cg_block(g: GraphBuilder, x: str, path: str, *, dilation: int, reduction: int) -> str:
    """CG block (figure 3): halve the channels, joint feature, global context, and global residual learning."""
    y = conv_bn_prelu(g, x, f"{path}.conv1x1", g.channels(x) // 2, kernel=1)
    y = bn_prelu(g, joint(g, y, path, dilation), f"{path}.bn_prelu")
    return g.add((x, global_context(g, y, f"{path}.F_glo", reduction)), f"{path}.residual")


def down(g: GraphBuilder, x: str, path: str, width: int, *, dilation: int, reduction: int) -> str:
    """Strided CG block: its first convolution is 3x3 with stride 2, and 1x1 reduces the joint feature."""
    y = conv_bn_prelu(g, x, f"{path}.conv1x1", width, kernel=3, stride=2)
    y = bn_prelu(g, joint(g, y, path, dilation), path)
    return global_context(g, g.conv(y, f"{path}.reduce.conv", width), f"{path}.F_glo", reduction)


def inject(g: GraphBuilder, image: str, level: int) -> str:
    """Input injection: the image at half the size that it has."""
    return g.avg_pool(image, f"sample.{level}", kernel=3, stride=2, padding=1)


def stage1(g: GraphBuilder, s: CGNetSpec, t: Tensors) -> None:
    """Three 3x3 convolutions, the first of stride 2."""
    x = t["image"]
    for i, stride in enumerate((2, 1, 1)):
        x = conv_bn_prelu(g, x, f"level1_{i}", s.widths[0], kernel=3, stride=stride)
    t["x"] = x


def stage2_down(g: GraphBuilder, s: CGNetSpec, t: Tensors) -> None:
    """Input injection and the strided block to 1/4."""
    t["image1"] = inject(g, t["image"], 1)
    x = bn_prelu(g, g.concat((t["x"], t["image1"]), "b1.cat"), "b1")
    t["x"] = t["first"] = down(g, x, "level2_0", s.widths[1], dilation=s.dilations[0], reduction=REDUCTIONS[0])


def stage2_unit(g: GraphBuilder, s: CGNetSpec, t: Tensors, index: int) -> None:
    """One of the M - 1 other blocks."""
    t["x"] = cg_block(g, t["x"], f"level2.{index}", dilation=s.dilations[0], reduction=REDUCTIONS[0])


def stage3_down(g: GraphBuilder, s: CGNetSpec, t: Tensors) -> None:
    """Last and first block of stage 2 beside the image, and the strided block to 1/8."""
    image2 = inject(g, t["image1"], 2)
    x = bn_prelu(g, g.concat((t["x"], t["first"], image2), "bn_prelu_2.cat"), "bn_prelu_2")
    t["x"] = t["first"] = down(g, x, "level3_0", s.widths[2], dilation=s.dilations[1], reduction=REDUCTIONS[1])


def stage3_unit(g: GraphBuilder, s: CGNetSpec, t: Tensors, index: int) -> None:
    """One of the N - 1 other blocks."""
    t["x"] = cg_block(g, t["x"], f"level3.{index}", dilation=s.dilations[1], reduction=REDUCTIONS[1])


def classifier(g: GraphBuilder, s: CGNetSpec, t: Tensors) -> None:
    """First and last block of stage 3, the classes, and the image's size."""
    x = bn_prelu(g, g.concat((t["first"], t["x"]), "bn_prelu_3.cat"), "bn_prelu_3")
    x = g.conv(x, "classifier.0.conv", s.classes)
    t["logits"] = g.resize(x, "resize", like=t["image"])


FAMILY = Family(
    spec=CGNetSpec,
    stages=(
        Stage(stage1),
        Stage(stage2_down),
        Stage(stage2_unit, repeat="units2"),
        Stage(stage3_down),
        Stage(stage3_unit, repeat="units3"),
        Stage(classifier),
    ),
    bn_eps=1e-3,
)
