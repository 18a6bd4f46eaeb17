"""PIDNet: a real-time semantic segmentation network inspired by PID controllers.

Xu, Xiong, Bhattacharyya, CVPR 2023, arXiv:2206.02066. Layer names are the keys of the authors' released
checkpoints, whose blocks are DDRNet's. The first two convolutions and the last one have a bias.

Parameters: 7,625,715 of PIDNet-S with the 19 classes of Cityscapes, where the paper has 7.6 M. The heads
of the auxiliary losses serve training only and are left out.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Interval

from zoo.graph import Complement, GraphBuilder, ReduceChannels
from zoo.lowering import Family, Stage, Tensors
from zoo.models.ddrnet import basic, basics, bn_relu_conv, bottleneck, head, relu, scales, stem
from zoo.models.resnet import conv_bn
from zoo.specs import Count, Spec

Depth = Annotated[int, Interval(ge=1, le=16)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PIDNetSpec(Spec):
    """One PIDNet with the light modules of PIDNet-S and -M.

    width: channels of the first stages; 32 is PIDNet-S, 64 PIDNet-M. depth: blocks of the first stages and of the
    P branch, the paper's m. deep: blocks of the I branch, its n. pyramid: channels of a scale in the PAPPM. head:
    channels of the segmentation head.
    """

    family: ClassVar[str] = "pidnet"

    width: Count = 32
    depth: Depth = 2
    deep: Depth = 3
    pyramid: Count = 96
    head: Count = 128
    classes: Count = 19


def gate(g: GraphBuilder, x: str, path: str) -> tuple[str, str]:
    """A weight from 0 to 1, and what it leaves of 1."""
    weight = g.act(x, f"{path}.sigmoid", "sigmoid")
    return weight, g.append(Complement(), (weight,), f"{path}.rest")


def pag(g: GraphBuilder, p: str, i: str, path: str) -> str:
    """Pixel-attention-guided fusion: the more alike p and i are at a pixel, the more of i goes into p."""
    width = g.channels(p) // 2
    key = conv_bn(g, p, f"{path}.f_x.0", f"{path}.f_x.1", width, kernel=1)
    query = conv_bn(g, i, f"{path}.f_y.0", f"{path}.f_y.1", width, kernel=1)
    similarity = g.multiply(key, g.resize(query, f"{path}.f_y.resize", like=p), f"{path}.product")
    similarity = g.append(ReduceChannels("sum"), (similarity,), f"{path}.similarity")
    weight, complement = gate(g, similarity, path)
    i = g.multiply(g.resize(i, f"{path}.resize", like=p), weight, f"{path}.i")
    return g.add((g.multiply(p, complement, f"{path}.p"), i), f"{path}.sum")


def pappm(g: GraphBuilder, x: str, path: str, width: int, out: int) -> str:
    """Parallel aggregation pyramid pooling module: DDRNet's, with one grouped 3x3 convolution."""
    own, coarse = scales(g, x, path, width)
    summed = tuple(g.add((scale, own), f"{path}.sum{number}") for number, scale in enumerate(coarse, start=1))
    y = g.concat(summed, f"{path}.scale_cat")
    y = bn_relu_conv(g, y, f"{path}.scale_process", g.channels(y), kernel=3, groups=len(summed))
    y = bn_relu_conv(g, g.concat((own, y), f"{path}.cat"), f"{path}.compression", out)
    return g.add((y, bn_relu_conv(g, x, f"{path}.shortcut", out)), f"{path}.sum")


def light_bag(g: GraphBuilder, p: str, i: str, d: str, path: str) -> str:
    """Boundary-attention-guided fusion, light: detail where there are boundaries, context elsewhere."""
    width = g.channels(p)
    edge, complement = gate(g, d, path)
    inner = g.add((g.multiply(i, complement, f"{path}.i_inner"), p), f"{path}.p_sum")
    outer = g.add((i, g.multiply(p, edge, f"{path}.p_edge")), f"{path}.i_sum")
    p_add = conv_bn(g, inner, f"{path}.conv_p.0", f"{path}.conv_p.1", width, kernel=1)
    i_add = conv_bn(g, outer, f"{path}.conv_i.0", f"{path}.conv_i.1", width, kernel=1)
    return g.add((p_add, i_add), f"{path}.sum")


def difference(g: GraphBuilder, d: str, i: str, path: str) -> str:
    """The D branch plus a 3x3 convolution of the I branch, interpolated."""
    y = conv_bn(g, i, f"{path}.0", f"{path}.1", g.channels(d), kernel=3)
    return g.add((d, g.resize(y, f"{path}.resize", like=d)), f"{path}.sum")


def trunk(g: GraphBuilder, s: PIDNetSpec, t: Tensors) -> None:
    """The stem and two stages, to 1/8 of the image's size."""
    x = relu(g, basics(g, stem(g, t["image"], s.width), "layer1", s.width, s.depth), "layer1.relu")
    t["x"] = relu(g, basics(g, x, "layer2", 2 * s.width, s.depth, stride=2), "layer2.relu")


def stage3(g: GraphBuilder, s: PIDNetSpec, t: Tensors) -> None:
    """The three branches: P (detail) and D (boundaries) stay at 1/8, I (context) goes to 1/16."""
    p = basics(g, t["x"], "layer3_", 2 * s.width, s.depth)
    d = basic(g, t["x"], "layer3_d", s.width)
    i = t["i"] = relu(g, basics(g, t["x"], "layer3", 4 * s.width, s.deep, stride=2), "layer3.relu")
    compressed = conv_bn(g, i, "compression3.0", "compression3.1", 2 * s.width, kernel=1)
    t["p"] = relu(g, pag(g, p, compressed, "pag3"), "pag3.relu")
    t["d"] = relu(g, difference(g, d, i, "diff3"), "diff3.relu")


def stage4(g: GraphBuilder, s: PIDNetSpec, t: Tensors) -> None:
    """The branches again; I goes to 1/32."""
    p = basics(g, t["p"], "layer4_", 2 * s.width, s.depth)
    d = bottleneck(g, t["d"], "layer4_d.0", s.width)
    i = t["i"] = relu(g, basics(g, t["i"], "layer4", 8 * s.width, s.deep, stride=2), "layer4.relu")
    compressed = conv_bn(g, i, "compression4.0", "compression4.1", 2 * s.width, kernel=1)
    t["p"] = relu(g, pag(g, p, compressed, "pag4"), "pag4.relu")
    t["d"] = relu(g, difference(g, d, i, "diff4"), "diff4.relu")


def stage5(g: GraphBuilder, s: PIDNetSpec, t: Tensors) -> None:
    """Bottlenecks in each branch, the pyramid at 1/64, the fusion of all three, and the head."""
    p = bottleneck(g, t["p"], "layer5_.0", 2 * s.width)
    d = bottleneck(g, t["d"], "layer5_d.0", 2 * s.width)
    i = relu(g, bottleneck(g, t["i"], "layer5.0", 8 * s.width, stride=2), "layer5.0.relu")
    i = pappm(g, bottleneck(g, i, "layer5.1", 8 * s.width), "spp", s.pyramid, 4 * s.width)
    x = light_bag(g, p, g.resize(i, "spp.resize", like=p), d, "dfm")
    x = head(g, x, "final_layer", s.head, s.classes)
    t["logits"] = g.resize(x, "resize", like=t["image"])


FAMILY = Family(spec=PIDNetSpec, stages=(Stage(trunk), Stage(stage3), Stage(stage4), Stage(stage5)))
