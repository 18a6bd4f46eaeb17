"""ESPNet: efficient spatial pyramid of dilated convolutions for semantic segmentation.

Mehta, Rastegari, Caspi, Shapiro, Hajishirzi, ECCV 2018, arXiv:1803.06815. Layer names are the keys of
the authors' released checkpoints. A convolution has no bias; BN is BatchNorm with eps 1e-3.

Four networks grow out of each other: A is strided ESP units and ESP units; B also passes each level's
strided output around its units; C also shows every level the image; ESPNet adds the decoder.
"""

from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal

from annotated_types import Interval

from zoo.graph import GraphBuilder
from zoo.lowering import Family, Stage, Tensors, off_grid
from zoo.models.blocks import UNITS, bn_act, conv_bn_act, esp_unit, groups_fit, pyramid
from zoo.specs import Count, Rule, Spec

Depth = Annotated[int, Interval(ge=0, le=64)]
BranchCount = Annotated[int, Interval(ge=1, le=8)]


def _branches_fit(s: "ESPNetSpec") -> str | None:
    narrowest = min(s.widths[1], s.widths[2])
    if s.k <= narrowest:
        return None
    return f"k must be at most the width it divides, but k is {s.k} and a width is {narrowest}; lower k or widen"


def _decoder_branches_fit(s: "ESPNetSpec") -> str | None:
    width, name = (s.decoder_width, "decoder_width") if s.decoder_width else (s.classes, "classes")
    if s.variant != "ESPNet" or s.decoder_k <= width:
        return None
    return f"decoder_k must be at most {name}, but decoder_k is {s.decoder_k} and {name} is {width}; lower decoder_k"


def _decoder_width_fits(s: "ESPNetSpec") -> str | None:
    if not s.decoder_width or s.variant == "ESPNet":
        return None
    return f"decoder_width needs variant=ESPNet, but variant is {s.variant}; set decoder_width=0"


def _image_path_fits(s: "ESPNetSpec") -> str | None:
    if s.variant in ("A", "B") and s.image_path != "none":
        return (
            f"variant {s.variant} has no image path, but image_path is {s.image_path}; set image_path=none or variant=C"
        )
    if s.variant == "C" and s.image_path == "none":
        return "variant C without an image path is variant B; set variant=B"
    return None


def _decoder_image_fits(s: "ESPNetSpec") -> str | None:
    if not s.decoder_sees_image or (s.variant == "ESPNet" and s.image_path != "none"):
        return None
    return "decoder_sees_image needs variant=ESPNet and an image path; set decoder_sees_image=false"


def _unread(s: "ESPNetSpec") -> list[str]:
    """Fields that another block than ESP leaves without a reader."""
    decodes, strided = s.variant == "ESPNet", s.downsample == "esp"
    unread = {
        "residual": True,
        "reduce": not decodes,
        "hff": not (decodes or strided),
        "pyramid": not (decodes or strided),
        "k": not strided and s.block in ("mobilenet", "resnet"),
    }
    return [name for name, holds in unread.items() if holds]


def _block_reads(s: "ESPNetSpec") -> str | None:
    if s.block == "esp":
        return None
    if s.alpha2 == s.alpha3 == 0:
        return f"block is {s.block!r}, but alpha2 and alpha3 are 0, so there is no block; set block=esp"
    defaults = {field.name: field.default for field in fields(ESPNetSpec)}
    for name in _unread(s):
        value, default = getattr(s, name), defaults[name]
        if value != default:
            return f"{name} has no effect with block={s.block}, but is {value!r}; leave it at {default!r}"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ESPNetSpec(Spec):
    """One ESPNet.

    k: branches of an ESP unit, the width divider K. alpha2, alpha3: ESP units at levels 2 and 3; with 0
    a level is its strided unit alone, and there is nothing to concatenate. widths: channels at levels
    1, 2, 3. residual, hff: the unit's skip connection and its hierarchical feature fusion. reduce: the
    unit's reduction. pyramid: `standard` has dilation 1 in all branches. downsample: `conv` replaces the
    strided ESP unit by a strided 3x3 convolution, BN, activation. block: what stands in the ESP units'
    place, see `zoo.models.blocks`; fields that it has no use for keep their defaults. image_path: how the
    levels see the image (section 3.2); `fusion` is input-aware fusion, see `see_image`.
    decoder_sees_image: the last step of the decoder reads level 1 together with the image, as in the
    released CamVid weights. decoder_k: branches of the decoder's ESP unit, 5 in all released weights.
    decoder_width: channels that the decoder works in; with 0, as published, as many as there are classes,
    of which few make it too narrow: of 11 its ESP unit leaves two to each branch.

    The paper's comparison of blocks (section 4.2) is variant C with alpha3 = 3 and downsample=conv. It
    prints 0.233 (mobilenet), 0.181 (shufflenet, k = 4), 0.328 (inception), 0.424 (resnext) and 1.200
    million parameters (resnet); here they are 234,274 (+0.5 %), 179,746 (-0.7 %), 328,175 (+0.1 %), 417,570
    (-1.5 %) and 1,204,514 (+0.4 %). Where its blocks have BN is not published. That of resnext is met
    with k = 4; with the comparison's k = 5 it has 392,190 (-7.5 %), so its width is not published either.
    """

    family: ClassVar[str] = "espnet"
    rules: ClassVar[tuple[Rule, ...]] = (
        _branches_fit,
        _decoder_branches_fit,
        _decoder_width_fits,
        _image_path_fits,
        _decoder_image_fits,
        _block_reads,
        groups_fit,
    )

    variant: Literal["A", "B", "C", "ESPNet"] = "C"
    k: BranchCount = 5
    alpha2: Depth = 2
    alpha3: Depth = 8
    widths: tuple[Count, Count, Count] = (16, 64, 128)
    classes: Count = 20
    activation: Literal["prelu", "relu"] = "prelu"
    block: Literal["esp", "mobilenet", "shufflenet", "inception", "resnext", "resnet", "asp"] = "esp"
    residual: bool = True
    hff: bool = True
    reduce: Literal["pointwise", "3x3"] = "pointwise"
    pyramid: Literal["dilated", "standard"] = "dilated"
    downsample: Literal["esp", "conv"] = "esp"
    image_path: Literal["none", "reinforcement", "fusion"] = "reinforcement"
    decoder_sees_image: bool = False
    decoder_k: BranchCount = 5
    decoder_width: Annotated[int, Interval(ge=0, le=4096)] = 0


def down(g: GraphBuilder, x: str, path: str, out_channels: int, s: ESPNetSpec) -> str:
    """Strided ESP unit, which reduces with a 3x3 convolution of stride 2; or just a strided convolution."""
    if s.downsample == "conv":
        return conv_bn_act(g, x, path, out_channels, s, kernel=3, stride=2)
    y = pyramid(g, x, path, out_channels, s, k=s.k, reduce=3, stride=2)
    return bn_act(g, y, path, s)


def see_image(g: GraphBuilder, features: tuple[str, ...], image: str, path: str, s: ESPNetSpec) -> str:
    """Concatenate the features with the pooled image, BN, activation: input reinforcement.

    Input-aware fusion instead projects the pooled image to the features' channels (3x3 convolution, BN,
    activation), adds the two, and mixes them with a 1x1 convolution. The paper publishes only that it
    costs 10 % more parameters; this form costs 11 % at alpha3 = 3.
    """
    if s.image_path == "reinforcement":
        return bn_act(g, g.concat((*features, image), f"{path}.cat"), path, s)
    x = features[0] if len(features) == 1 else g.concat(features, f"{path}.cat")
    image_features = conv_bn_act(g, image, f"{path}.image", g.channels(x), s, kernel=3)
    mixed = g.conv(g.add((x, image_features), f"{path}.sum"), f"{path}.mix.conv", g.channels(x))
    return bn_act(g, mixed, path, s)


def prefix(s: ESPNetSpec) -> str:
    """Where the encoder's layers live: ESPNet keeps ESPNet-C under `encoder`."""
    return "encoder." if s.variant == "ESPNet" else ""


def unit_outputs(t: Tensors, x: str, strided: str) -> tuple[str, ...]:
    """The last unit's and the strided unit's output; they are one and the same where a level has no units."""
    return (t[strided],) if t[x] == t[strided] else (t[x], t[strided])


def level1(g: GraphBuilder, s: ESPNetSpec, t: Tensors) -> None:
    """3x3 convolution with stride 2."""
    root = prefix(s)
    t["x"] = t["level1"] = conv_bn_act(g, t["image"], f"{root}level1", s.widths[0], s, kernel=3, stride=2)
    if s.image_path != "none":
        t["image1"] = g.avg_pool(t["image"], f"{root}sample1", kernel=3, stride=2, padding=1)
        t["x"] = see_image(g, (t["level1"],), t["image1"], f"{root}b1", s)
    if s.decoder_sees_image:
        t["level1"] = t["x"]


def level2_down(g: GraphBuilder, s: ESPNetSpec, t: Tensors) -> None:
    """Strided ESP unit to level 2."""
    t["x"] = t["down2"] = down(g, t["x"], f"{prefix(s)}level2_0", s.widths[1], s)


def level2_unit(g: GraphBuilder, s: ESPNetSpec, t: Tensors, index: int) -> None:
    """One of alpha2 units."""
    t["x"] = UNITS[s.block](g, t["x"], f"{prefix(s)}level2.{index}", s.widths[1], s)


def level2_merge(g: GraphBuilder, s: ESPNetSpec, t: Tensors) -> None:
    """From B on: concatenate the units' output with the strided unit's and with the image pooled twice."""
    if s.variant == "A":
        return
    root = prefix(s)
    features = unit_outputs(t, "x", "down2")
    if s.image_path != "none":
        image2 = g.avg_pool(t["image1"], f"{root}sample2", kernel=3, stride=2, padding=1)
        t["x"] = see_image(g, features, image2, f"{root}b2", s)
    elif len(features) > 1:
        t["x"] = bn_act(g, g.concat(features, f"{root}b2.cat"), f"{root}b2", s)
    t["level2"] = t["x"]


def level3_down(g: GraphBuilder, s: ESPNetSpec, t: Tensors) -> None:
    """Strided ESP unit to level 3."""
    t["x"] = t["down3"] = down(g, t["x"], f"{prefix(s)}level3_0", s.widths[2], s)


def level3_unit(g: GraphBuilder, s: ESPNetSpec, t: Tensors, index: int) -> None:
    """One of alpha3 units."""
    t["x"] = UNITS[s.block](g, t["x"], f"{prefix(s)}level3.{index}", s.widths[2], s)


def level3_merge(g: GraphBuilder, s: ESPNetSpec, t: Tensors) -> None:
    """From B on: concatenate the strided unit's output with the units'."""
    if s.variant == "A":
        return
    features = unit_outputs(t, "x", "down3")
    if len(features) > 1:
        root = prefix(s)
        t["x"] = bn_act(g, g.concat(features[::-1], f"{root}b3.cat"), f"{root}b3", s)


def head(g: GraphBuilder, s: ESPNetSpec, t: Tensors) -> None:
    """1x1 convolution to the classes, at 1/8 of the image's size; decoder, l = 3: BN and upsample (section 3.2).

    One stage, because engines fold the BN into the convolution.
    """
    t["logits"] = g.conv(t["x"], f"{prefix(s)}classifier.conv", s.decoder_width or s.classes)
    if s.variant == "ESPNet":
        t["up"] = g.deconv(g.bn(t["logits"], "br"), "up_l3.0", s.decoder_width or s.classes)


def decoder_level2(g: GraphBuilder, s: ESPNetSpec, t: Tensors) -> None:
    """Decoder, l = 2: reduce level 2 to the classes, merge, transform with an ESP unit, upsample."""
    if s.variant != "ESPNet":
        return
    width = s.decoder_width or s.classes
    reduced = g.conv(t["level2"], "level3_C.conv", width)
    merged = bn_act(g, g.concat((reduced, t["up"]), "combine_l2_l3.cat"), "combine_l2_l3.0", s)
    merged = esp_unit(g, merged, "combine_l2_l3.1", width, s, k=s.decoder_k, residual=False)
    t["up"] = bn_act(g, g.deconv(merged, "up_l2.0", width), "up_l2.1", s)


def decoder_level1(g: GraphBuilder, s: ESPNetSpec, t: Tensors) -> None:
    """Decoder, l = 1: merge with level 1, reduce to the classes, upsample to the image's size."""
    if s.variant != "ESPNet":
        return
    merged = g.concat((t["up"], t["level1"]), "conv.cat")
    reduced = conv_bn_act(g, merged, "conv", s.decoder_width or s.classes, s, kernel=3)
    t["logits"] = g.deconv(reduced, "classifier", s.classes)


def _size_fits(s: ESPNetSpec, height: int, width: int) -> str | None:
    return off_grid("combine_l2_l3.cat", 8, height, width) if s.variant == "ESPNet" else None


FAMILY = Family(
    spec=ESPNetSpec,
    stages=(
        Stage(level1),
        Stage(level2_down),
        Stage(level2_unit, repeat="alpha2"),
        Stage(level2_merge),
        Stage(level3_down),
        Stage(level3_unit, repeat="alpha3"),
        Stage(level3_merge),
        Stage(head),
        Stage(decoder_level2),
        Stage(decoder_level1),
    ),
    bn_eps=1e-3,
    check_size=_size_fits,
)
