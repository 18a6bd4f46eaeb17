"""CFPNet: channel-wise feature pyramid for real-time semantic segmentation.

Lou, Loew, ICIP 2021, arXiv:2103.12212. Layer names are the keys of the authors' code, whose frame is DABNet's.
No convolution has a bias; BN is BatchNorm with eps 1e-3, and a PReLU has one slope a channel.

The dilations of a module's branches are 1, r/4, r/2 and r, rounded up, as a public re-implementation reads the
paper; the authors' code adds one to the last three. As in their code a module's projection is 3x3, and the
convolutions of its branches are grouped: only so is the published count met.

Parameters: 551,331 with the 19 classes of Cityscapes, where the paper has 0.55 M.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Interval

from zoo.graph import GraphBuilder
from zoo.lowering import Family, Stage, Tensors
from zoo.models.dabnet import bn_prelu, classifier, conv_bn_prelu, down2, down3, initial, size_fits
from zoo.specs import Count, Rule, Spec

Depth = Annotated[int, Interval(ge=1, le=16)]


def _branches_divide(s: "CFPNetSpec") -> str | None:
    step = 4 * s.branches
    if not any(width % step for width in s.widths[1:]):
        return None
    return (
        f"a CFP module divides its channels by its branches and by 4, so the last two widths must be multiples of "
        f"{step}, but they are {s.widths[1]} and {s.widths[2]}; change widths or branches"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CFPNetSpec(Spec):
    """One CFPNet.

    widths: channels at 1/2, 1/4 and 1/8 of the image's size. branches: FP channels of a CFP module, the paper's
    K. depth2: modules at 1/4, whose largest dilation r is `dilation`. depth3: modules at 1/8 of each of
    `dilations`, one after the other.
    """

    family: ClassVar[str] = "cfpnet"
    rules: ClassVar[tuple[Rule, ...]] = (_branches_divide,)

    widths: tuple[Count, Count, Count] = (32, 64, 128)
    branches: Annotated[int, Interval(ge=1, le=8)] = 4
    depth2: Depth = 2
    depth3: Depth = 2
    dilation: Count = 2
    dilations: tuple[Count, Count, Count] = (4, 8, 16)
    classes: Count = 19


def branch_dilations(largest: int, branches: int) -> tuple[int, ...]:
    """Dilations of the branches: halved from branch to branch, rounded up, and 1 in the first.

    >>> branch_dilations(16, 4), branch_dilations(2, 4)
    ((1, 4, 8, 16), (1, 1, 1, 2))
    """
    halved = tuple(-(-largest // 2 ** (branches - 1 - i)) for i in range(1, branches))
    return (1, *halved)


def fp_channel(g: GraphBuilder, x: str, path: str, number: int, dilation: int) -> str:
    """Feature pyramid channel: three asymmetric convolutions in a row, whose outputs are concatenated.

    They have a quarter, a quarter and half of the channels, and so stand for kernels of 3x3, 5x5 and 7x7.
    """
    quarter = g.channels(x) // 4
    steps = []
    for step, (groups, width) in enumerate(((quarter, quarter), (quarter, quarter), (quarter, 2 * quarter)), start=1):
        name = f"{number}_{step}"
        rows, columns = f"{path}.dconv3x1_{name}", f"{path}.dconv1x3_{name}"
        x = conv_bn_prelu(g, x, rows, width, kernel=(3, 1), dilation=(dilation, 1), groups=groups)
        x = conv_bn_prelu(g, x, columns, width, kernel=(1, 3), dilation=(1, dilation), groups=width)
        steps.append(x)
    return g.concat(tuple(steps), f"{path}.cat_{number}")


def cfp_module(g: GraphBuilder, x: str, path: str, branches: int, dilation: int) -> str:
    """CFP module: project to 1/K, K feature pyramid channels, fused as in ESP, 1x1, and the residual."""
    width = g.channels(x)
    y = conv_bn_prelu(g, bn_prelu(g, x, f"{path}.bn_relu_1"), f"{path}.conv1x1_1", width // branches, kernel=3)
    fused: list[str] = []
    for number, rate in enumerate(branch_dilations(dilation, branches), start=1):
        channel = fp_channel(g, y, path, number, rate)
        fused.append(g.add((fused[-1], channel), f"{path}.hff_{number}") if fused else channel)
    y = bn_prelu(g, g.concat(tuple(fused), f"{path}.cat"), f"{path}.bn_relu_2")
    return g.add((g.conv(y, f"{path}.conv1x1.conv", width), x), f"{path}.residual")


def cluster2(g: GraphBuilder, s: CFPNetSpec, t: Tensors, index: int) -> None:
    """One module of cluster CFP-1, at 1/4."""
    t["x"] = cfp_module(g, t["x"], f"CFP_Block_1.CFP_Module_1_{index}", s.branches, s.dilation)


def cluster3(dilation_index: int) -> Stage:
    """The modules of cluster CFP-2, at 1/8, that have the dilation number `dilation_index`."""

    def unit(g: GraphBuilder, s: CFPNetSpec, t: Tensors, index: int) -> None:
        number = dilation_index * s.depth3 + index
        t["x"] = cfp_module(g, t["x"], f"CFP_Block_2.CFP_Module_2_{number}", s.branches, s.dilations[dilation_index])

    return Stage(unit, repeat="depth3")


FAMILY = Family(
    spec=CFPNetSpec,
    stages=(
        Stage(initial),
        Stage(down2),
        Stage(cluster2, repeat="depth2"),
        Stage(down3),
        *(cluster3(which) for which in range(3)),
        Stage(classifier),
    ),
    bn_eps=1e-3,
    check_size=size_fits,
)
