"""DABNet: depth-wise asymmetric bottleneck for real-time semantic segmentation.

Li, Yun, Kim, Kim, BMVC 2019, arXiv:1907.11357. Layer names are the keys of the authors' released checkpoints.
No convolution has a bias; BN is BatchNorm with eps 1e-3, and a PReLU has one slope a channel.

Parameters: 756,643 with the 19 classes of Cityscapes, where the paper has 0.76 M.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Interval

from zoo.graph import GraphBuilder, Pair
from zoo.lowering import Family, Stage, Tensors, off_grid
from zoo.specs import Count, Rule, Spec

Depth = Annotated[int, Interval(ge=1, le=16)]


def _widths_halve(s: "DABNetSpec") -> str | None:
    if not any(width % 2 for width in s.widths[1:]):
        return None
    return f"widths: a DAB module halves its channels, so the last two must be even, but they are {s.widths}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DABNetSpec(Spec):
    """One DABNet.

    widths: channels at 1/2, 1/4 and 1/8 of the image's size. depth2: DAB modules at 1/4, of `dilation`.
    depth3: modules at 1/8 of each of `dilations`, one after the other.
    """

    family: ClassVar[str] = "dabnet"
    rules: ClassVar[tuple[Rule, ...]] = (_widths_halve,)

    widths: tuple[Count, Count, Count] = (32, 64, 128)
    depth2: Depth = 3
    depth3: Depth = 2
    dilation: Count = 2
    dilations: tuple[Count, Count, Count] = (4, 8, 16)
    classes: Count = 19


def bn_prelu(g: GraphBuilder, x: str, path: str) -> str:
    """BN and PReLU."""
    return g.act(g.bn(x, f"{path}.bn"), f"{path}.acti")


def conv_bn_prelu(
    g: GraphBuilder,
    x: str,
    path: str,
    width: int,
    *,
    kernel: int | Pair,
    stride: int = 1,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> str:
    """Convolution, BN, PReLU."""
    x = g.conv(x, f"{path}.conv", width, kernel=kernel, stride=stride, dilation=dilation, groups=groups)
    return bn_prelu(g, x, f"{path}.bn_prelu")


def asymmetric(g: GraphBuilder, x: str, path: str, prefix: str, dilation: int = 1) -> str:
    """Depth-wise asymmetric convolution: 3x1, then 1x3, each with BN and PReLU."""
    width = g.channels(x)
    x = conv_bn_prelu(g, x, f"{path}.{prefix}3x1", width, kernel=(3, 1), dilation=(dilation, 1), groups=width)
    return conv_bn_prelu(g, x, f"{path}.{prefix}1x3", width, kernel=(1, 3), dilation=(1, dilation), groups=width)


def dab_module(g: GraphBuilder, x: str, path: str, dilation: int) -> str:
    """DAB module: 3x3 to half the channels, two asymmetric branches, one dilated, summed; 1x1; sum."""
    width = g.channels(x)
    y = conv_bn_prelu(g, bn_prelu(g, x, f"{path}.bn_relu_1"), f"{path}.conv3x3", width // 2, kernel=3)
    branches = (asymmetric(g, y, path, "dconv"), asymmetric(g, y, path, "ddconv", dilation))
    y = bn_prelu(g, g.add(branches, f"{path}.sum"), f"{path}.bn_relu_2")
    return g.add((g.conv(y, f"{path}.conv1x1.conv", width), x), f"{path}.residual")


def downsample(g: GraphBuilder, x: str, path: str, width: int) -> str:
    """3x3 convolution of stride 2, beside max pooling where that adds channels; BN, PReLU."""
    grows = g.channels(x) < width
    y = g.conv(x, f"{path}.conv3x3.conv", width - g.channels(x) * grows, kernel=3, stride=2)
    if grows:
        y = g.concat((y, g.max_pool(x, f"{path}.max_pool", kernel=2, stride=2)), f"{path}.cat")
    return bn_prelu(g, y, f"{path}.bn_prelu")


def inject(g: GraphBuilder, t: Tensors, tensors: tuple[str, ...], level: int) -> str:
    """Tensors beside the image at their size, BN, PReLU."""
    before = t[f"image{level - 1}"] if level > 1 else t["image"]
    t[f"image{level}"] = g.avg_pool(before, f"down_{level}.pool", kernel=3, stride=2, padding=1)
    x = g.concat((*(t[name] for name in tensors), t[f"image{level}"]), f"bn_prelu_{level}.cat")
    return bn_prelu(g, x, f"bn_prelu_{level}")


def initial(g: GraphBuilder, s: Any, t: Tensors) -> None:
    """Three 3x3 convolutions, the first of stride 2."""
    x = t["image"]
    for i, stride in enumerate((2, 1, 1)):
        x = conv_bn_prelu(g, x, f"init_conv.{i}", s.widths[0], kernel=3, stride=stride)
    t["x"] = x


def down2(g: GraphBuilder, s: Any, t: Tensors) -> None:
    """To 1/4 of the size."""
    t["x"] = t["first"] = downsample(g, inject(g, t, ("x",), 1), "downsample_1", s.widths[1])


def down3(g: GraphBuilder, s: Any, t: Tensors) -> None:
    """To 1/8 of the size, from the last and the first features at 1/4."""
    t["x"] = t["first"] = downsample(g, inject(g, t, ("x", "first"), 2), "downsample_2", s.widths[2])


def classifier(g: GraphBuilder, s: Any, t: Tensors) -> None:
    """The classes, from the last and the first features at 1/8, at the image's size."""
    x = g.conv(inject(g, t, ("x", "first"), 3), "classifier.0.conv", s.classes)
    t["logits"] = g.resize(x, "resize", like=t["image"])


def block2(g: GraphBuilder, s: DABNetSpec, t: Tensors, index: int) -> None:
    """One module of DAB block 1, at 1/4."""
    t["x"] = dab_module(g, t["x"], f"DAB_Block_1.DAB_Module_1_{index}", s.dilation)


def block3(dilation_index: int) -> Stage:
    """The modules of DAB block 2, at 1/8, that have the dilation number `dilation_index`."""

    def unit(g: GraphBuilder, s: DABNetSpec, t: Tensors, index: int) -> None:
        number = dilation_index * s.depth3 + index
        t["x"] = dab_module(g, t["x"], f"DAB_Block_2.DAB_Module_2_{number}", s.dilations[dilation_index])

    return Stage(unit, repeat="depth3")


def size_fits(s: Any, height: int, width: int) -> str | None:
    """Say what keeps max poolings from standing beside strided convolutions, or None; for CFPNet too."""
    if 2 * s.widths[1] + 3 < s.widths[2]:
        return off_grid("downsample_2.cat", 8, height, width)
    return off_grid("downsample_1.cat", 4, height, width) if s.widths[0] + 3 < s.widths[1] else None


FAMILY = Family(
    spec=DABNetSpec,
    stages=(
        Stage(initial),
        Stage(down2),
        Stage(block2, repeat="depth2"),
        Stage(down3),
        *(block3(which) for which in range(3)),
        Stage(classifier),
    ),
    bn_eps=1e-3,
    check_size=size_fits,
)
