"""ESPNetv2's encoder: EESP units, depth-wise dilated and grouped, which all ESPNetv2 networks share.

Mehta, Rastegari, Shapiro, Hajishirzi, CVPR 2019, arXiv:1811.11431. Layer names are the keys of the
authors' released checkpoints. BN has the eps 1e-5. A strided unit's `eesp.module_act.weight` is in the
released files but never executed, so it has no layer here.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Interval

from zoo.graph import GraphBuilder
from zoo.lowering import Stage, Tensors
from zoo.specs import Count, Rule, Spec

Scale = Annotated[float, Interval(ge=0.125, le=4)]
Depth = Annotated[int, Interval(ge=0, le=64)]
SomeDepth = Annotated[int, Interval(ge=1, le=64)]
BranchCount = Annotated[int, Interval(ge=1, le=8)]
Kernel = Annotated[int, Interval(ge=3, le=17)]

NAMED = ("conv", "bn", "act")


def _scale_fits(s: "Encoder") -> str | None:
    if s.scale * 8 == round(s.scale * 8):
        return None
    return f"scale must be a multiple of 0.125, but is {s.scale}; use {max(1, round(s.scale * 8)) / 8}"


def _widths_are_news(s: "Encoder") -> str | None:
    if s.widths is None:
        return None
    if s.scale != 1.0:
        return f"scale and widths exclude each other, but scale is {s.scale} and widths are given; leave one out"
    own_widths, scale = tuple(s.widths), s.widths[1] / 64
    if scale <= 4 and scale * 8 == round(scale * 8) and own_widths == scaled_widths(scale)[: len(own_widths)]:
        return f"widths {own_widths} are those of scale={scale}; give that instead"
    return None


def _widths_fit(s: "Encoder") -> str | None:
    channels = tuple(widths(s))
    if any(width % s.k**2 for width in channels):
        # A level adds k branches to the pooled input, and a branch has a multiple of k channels.
        return f"widths must be multiples of k * k = {s.k**2}, but are {channels}; change scale, widths or k"
    if list(channels) != sorted(set(channels)):
        return f"widths must increase from level to level, but are {channels}; widen the later ones"
    return None


def _limits_bind(s: "Encoder") -> str | None:
    largest = 2 * s.k + 1
    if all(limit % 2 and limit <= largest for limit in s.r_lim):
        return None
    return (
        f"r_lim must be odd numbers up to {largest}, the largest kernel of {s.k} branches, "
        f"but are {tuple(s.r_lim)}; write {largest} for no limit"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder(Spec):
    """What every ESPNetv2 says of its encoder.

    scale: the width multiplier s, in eighths. widths: channels at levels 1, 2, … instead of those of a
    scale. k: branches of an EESP unit, and groups of its 1x1 convolutions. depth3, depth4: EESP units at
    levels 3 and 4 after the strided one. r_lim: the largest effective kernel of a unit that reads level
    1, 2, …; a branch beyond it falls back to 3x3. (The paper's 13 and 11 for levels 1 and 2 are beyond
    the kernel 9 of its fourth and last branch.)
    """

    rules: ClassVar[tuple[Rule, ...]] = (_scale_fits, _widths_are_news, _widths_fit, _limits_bind)

    scale: Scale = 1.0
    widths: tuple[Count, ...] | None = None
    k: BranchCount = 4
    depth3: Depth = 3
    depth4: SomeDepth = 7
    r_lim: tuple[Kernel, ...]

    @property
    def root(self) -> str:
        """Path under which the encoder's layers live."""
        return ""


def scaled_widths(scale: float) -> tuple[int, ...]:
    """Channels at levels 1 to 5 for a width multiplier.

    >>> scaled_widths(0.5), scaled_widths(1.5)
    ((16, 32, 64, 128, 256), (32, 96, 192, 384, 768))
    """
    base = round(32 * scale)
    return (min(base, 32), 2 * base, 4 * base, 8 * base, 16 * base)


def widths(s: Encoder) -> tuple[int, ...]:
    """Channels at level 1, 2, … ."""
    return scaled_widths(s.scale) if s.widths is None else s.widths


def kernels(k: int, r_lim: int) -> list[int]:
    """Effective kernels of k branches, ascending: those beyond r_lim fall back to 3.

    >>> kernels(4, 9), kernels(4, 7)
    ([3, 5, 7, 9], [3, 3, 5, 7])
    """
    return sorted(kernel if kernel <= r_lim else 3 for kernel in range(3, 3 + 2 * k, 2))


def bn_act(g: GraphBuilder, x: str, path: str, names: tuple[str, str] = ("bn", "act")) -> str:
    """BN and PReLU."""
    return g.act(g.bn(x, f"{path}.{names[0]}"), f"{path}.{names[1]}")


def cbr(
    g: GraphBuilder,
    x: str,
    path: str,
    out_channels: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    names: tuple[str, str, str] = NAMED,
) -> str:
    """Convolution, BN, PReLU."""
    y = g.conv(x, f"{path}.{names[0]}", out_channels, kernel=kernel, stride=stride, groups=groups)
    return bn_act(g, y, path, names[1:])


def eesp(g: GraphBuilder, x: str, path: str, out_channels: int, *, k: int, r_lim: int, stride: int = 1) -> str:
    """EESP unit: grouped reduction, depth-wise dilated branches fused on the way, grouped expansion (section 3.2).

    The strided one ends with its expansion; `down` finishes it.
    """
    width = out_channels // k
    reduced = cbr(g, x, f"{path}.proj_1x1", width, groups=k)
    branches: list[str] = []
    for i, kernel in enumerate(kernels(k, r_lim)):
        dilation = (kernel - 1) // 2
        branch = g.conv(
            reduced, f"{path}.spp_dw.{i}.conv", width, kernel=3, stride=stride, dilation=dilation, groups=width
        )
        # Hierarchical feature fusion; unlike ESPNet's, it includes the first branch.
        branches.append(g.add((branch, branches[-1]), f"{path}.hff{i}") if branches else branch)
    y = bn_act(g, g.concat(tuple(branches), f"{path}.cat"), f"{path}.br_after_cat")
    y = g.bn(g.conv(y, f"{path}.conv_1x1_exp.conv", out_channels, groups=k), f"{path}.conv_1x1_exp.bn")
    if stride > 1:
        return y
    return g.act(g.add((y, x), f"{path}.residual"), f"{path}.module_act")


def down(g: GraphBuilder, x: str, path: str, out_channels: int, *, k: int, r_lim: int, image: str | None = None) -> str:
    """Strided EESP: pooled input beside a strided EESP unit, plus the image at that size (section 3.3, figure 2)."""
    pooled = g.avg_pool(x, f"{path}.avg", kernel=3, stride=2, padding=1)
    unit = eesp(g, x, f"{path}.eesp", out_channels - g.channels(x), k=k, r_lim=r_lim, stride=2)
    y = g.concat((pooled, unit), f"{path}.cat")
    if image is not None:
        image_features = cbr(g, image, f"{path}.inp_reinf.0", g.channels(image), kernel=3)
        image_features = g.bn(
            g.conv(image_features, f"{path}.inp_reinf.1.conv", out_channels), f"{path}.inp_reinf.1.bn"
        )
        y = g.add((y, image_features), f"{path}.sum")
    return g.act(y, f"{path}.act")


def pool_image(g: GraphBuilder, s: Encoder, image: str, level: int) -> str:
    """The image at a level's size, from the image at the level before."""
    return g.avg_pool(image, f"{s.root}image{level}", kernel=3, stride=2, padding=1)


def level1(g: GraphBuilder, s: Encoder, t: Tensors) -> None:
    """3x3 convolution with stride 2."""
    t["level1"] = cbr(g, t["image"], f"{s.root}level1", widths(s)[0], kernel=3, stride=2)


def level2(g: GraphBuilder, s: Encoder, t: Tensors) -> None:
    """Strided EESP."""
    t["image2"] = pool_image(g, s, pool_image(g, s, t["image"], 1), 2)
    t["level2"] = down(g, t["level1"], f"{s.root}level2_0", widths(s)[1], k=s.k, r_lim=s.r_lim[0], image=t["image2"])


def level3_down(g: GraphBuilder, s: Encoder, t: Tensors) -> None:
    """Strided EESP to level 3."""
    t["image3"] = pool_image(g, s, t["image2"], 3)
    t["level3"] = down(g, t["level2"], f"{s.root}level3_0", widths(s)[2], k=s.k, r_lim=s.r_lim[1], image=t["image3"])


def level3_unit(g: GraphBuilder, s: Encoder, t: Tensors, index: int) -> None:
    """One of depth3 EESP units."""
    t["level3"] = eesp(g, t["level3"], f"{s.root}level3.{index}", widths(s)[2], k=s.k, r_lim=s.r_lim[2])


def level4_down(g: GraphBuilder, s: Encoder, t: Tensors) -> None:
    """Strided EESP to level 4."""
    image4 = pool_image(g, s, t["image3"], 4)
    t["level4"] = down(g, t["level3"], f"{s.root}level4_0", widths(s)[3], k=s.k, r_lim=s.r_lim[2], image=image4)


def level4_unit(g: GraphBuilder, s: Encoder, t: Tensors, index: int) -> None:
    """One of depth4 EESP units."""
    t["level4"] = eesp(g, t["level4"], f"{s.root}level4.{index}", widths(s)[3], k=s.k, r_lim=s.r_lim[3])


ENCODER = (
    Stage(level1),
    Stage(level2),
    Stage(level3_down),
    Stage(level3_unit, repeat="depth3"),
    Stage(level4_down),
    Stage(level4_unit, repeat="depth4"),
)
"""Levels 1 to 4, which all ESPNetv2 networks share."""
