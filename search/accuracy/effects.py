"""Effects of spec fields on mIOU: one table a family, each effect with its prior and the source of it.

A value is 0 at the reference network, negative where a spec lacks something that helps, positive where
it has more. So wherever a coefficient is above 0, more is never worse: the paper's trends are laws of
the model, not accidents of a fit. A field that touches no layer of a network has no effect on it.
"""

from collections.abc import Callable, Mapping
from math import log2
from typing import Any

from search.accuracy.linear import Effect
from zoo.models.espnetv2_encoder import scaled_widths
from zoo.models.espnetv2_encoder import widths as widths_v2

UNVARIED = "assumption: no published Cityscapes figure varies it"
TREND = "published ablation"

DRIFT = 1.0
"""Points by which a curve may be off for each doubling away from the nearest published value."""


def units(s: Any) -> bool:
    """Whether the encoder has units that are not strided."""
    return bool(s.alpha2 > 0 or s.alpha3 > 0)


def esp_units(s: Any) -> bool:
    """Whether these units are ESP units."""
    return bool(s.block == "esp" and units(s))


def bare(s: Any) -> bool:
    """Whether the encoder is strided convolutions alone, as poor as it can be."""
    return bool(s.downsample == "conv" and not units(s))


def branches(s: Any) -> int:
    """Most branches of any ESP unit; 0 in a network without one."""
    encoder = s.k if s.downsample == "esp" or esp_units(s) else 0
    return max(encoder, s.decoder_k) if s.variant == "ESPNet" else encoder


def effective_k(s: Any) -> int:
    """K of the encoder: 8 for a bare one, 5 (the reference) where its block has no branches."""
    if bare(s):
        return 8
    return s.k if s.downsample == "esp" or s.block not in ("mobilenet", "resnet") else 5


def fewer_branches(step: int) -> Callable[[Any], float]:
    """Whether K is at most `step`, against K = 5."""
    return lambda s: float(effective_k(s) <= step) - float(step >= 5)


def hff(s: Any) -> float:
    """Fusion begins with the third branch."""
    if branches(s) == 0:
        return -float(bare(s))
    return float(s.hff or branches(s) <= 2) - 1


def dilated(s: Any) -> float:
    """A single branch is not dilated either way."""
    if branches(s) == 0:
        return -float(bare(s))
    return float(s.pyramid == "dilated" or branches(s) == 1) - 1


def wide_reduction(s: Any) -> float:
    """Strided units reduce with a 3x3 convolution in any case."""
    return float(s.reduce == "3x3" and esp_units(s))


def is_block(name: str) -> Callable[[Any], float]:
    """Whether the encoder's units are of this kind."""
    return lambda s: float(s.block == name)


ESPNET = (
    Effect("ESPNet-C with alpha3 = 3", lambda s: 1.0, 50, 20, "published: mIOU of whole networks"),
    Effect(
        "alpha3, doubling of 1 + alpha3", lambda s: log2((1 + s.alpha3) / 4), 3, 3, "published: alpha3 = 3, 5, 8", DRIFT
    ),
    Effect("decoder", lambda s: float(s.variant == "ESPNet"), 6, 3, "published: ESPNet against ESPNet-C"),
    Effect("image shown to the encoder", lambda s: -float(s.image_path == "none"), 2, 1.5, TREND),
    Effect("fusion instead of reinforcement", lambda s: float(s.image_path == "fusion"), 0, 1, TREND),
    Effect("strided output past level 2", lambda s: float(s.variant != "A" and s.alpha2 > 0) - 1, 0.5, 0.5, TREND),
    Effect("strided output past level 3", lambda s: float(s.variant != "A" and s.alpha3 > 0) - 1, 0.5, 0.5, TREND),
    Effect("PReLU instead of ReLU", lambda s: -float(s.activation == "relu"), 2, 1.5, TREND),
    Effect("residual connection", lambda s: float(s.residual and units(s)) - 1, 2, 1.5, TREND),
    Effect("strided ESP instead of convolution", lambda s: -float(s.downsample == "conv"), 1, 1, TREND),
    Effect("3x3 instead of point-wise reduction", wide_reduction, 1.8, 1.5, TREND),
    Effect("dilated instead of standard convolutions", dilated, 1.6, 1.5, TREND),
    Effect("K = 1 instead of 2", fewer_branches(1), 0, 2, UNVARIED),
    *(
        # Published is the whole way from 2 to 8, 11 points; how it is shared out among the steps is not.
        Effect(
            f"K = {k} instead of {k + 1}", fewer_branches(k), 11 / 6, 1, "published: K from 2 to 8; equal steps assumed"
        )
        for k in range(2, 8)
    ),
    *(
        Effect(f"{block} instead of ESP", is_block(block), 0, 12, "published: blocks in ESPNet-C")
        for block in ("mobilenet", "shufflenet", "inception", "resnext", "resnet")
    ),
    Effect("asp instead of ESP", is_block("asp"), 0, 4, UNVARIED),
    Effect("hierarchical feature fusion", hff, 1, 1, f"{UNVARIED}; it removes gridding"),
    Effect("alpha2, doubling of 1 + alpha2", lambda s: log2((1 + s.alpha2) / 3), 2, 1.5, UNVARIED),
    Effect("width of level 1, doubling", lambda s: log2(s.widths[0] / 16), 1, 1, UNVARIED),
    Effect("width of level 2, doubling", lambda s: log2(s.widths[1] / 64), 2, 1.5, UNVARIED),
    Effect(
        "width of level 3, doubling",
        lambda s: log2(s.widths[2] / 128),
        3,
        2,
        f"{UNVARIED}; all three sum to ESPNetv2's 6",
    ),
    Effect("decoder sees the image", lambda s: float(s.decoder_sees_image), 0, 1, UNVARIED),
    Effect(
        "branch of the decoder's unit less", lambda s: (5 - s.decoder_k) * (s.variant == "ESPNet"), 0.2, 0.3, UNVARIED
    ),
)


def scale(s: Any) -> float:
    """Doublings of the width at levels 2 to 4, on average, against s = 1."""
    return (
        sum(
            log2(width / published) for width, published in zip(widths_v2(s)[1:4], scaled_widths(1.0)[1:4], strict=True)
        )
        / 3
    )


def own_level1(s: Any) -> float:
    """Doublings of level 1 against what the width of level 2 goes with."""
    first, second = widths_v2(s)[0], widths_v2(s)[1]
    return log2(first / min(32, second / 2))


def limits(s: Any) -> float:
    """Doublings of the largest kernels, on average, against the published."""
    return sum(log2(limit / published) for limit, published in zip(s.r_lim, (9, 9, 9, 7), strict=True)) / 4


ESPNETV2 = (
    Effect("ESPNetv2 with s = 1", lambda s: 1.0, 60, 20, "published: mIOU of whole networks"),
    Effect("scale, doubling", scale, 5, 5, "published: s = 0.5, 1, 1.5, 2", DRIFT),
    Effect("width of level 1, doubling", own_level1, 0.5, 1, UNVARIED),
    Effect("depth at level 3, doubling of 1 + depth3", lambda s: log2((1 + s.depth3) / 4), 1, 1.5, UNVARIED),
    Effect("depth at level 4, doubling of 1 + depth4", lambda s: log2((1 + s.depth4) / 8), 2, 1.5, UNVARIED),
    Effect("branches and groups, halving", lambda s: log2(4 / s.k), 1, 2, UNVARIED),
    Effect("kernel limits, doubling", limits, 1, 2, UNVARIED),
    Effect("width of the decoder, doubling", lambda s: log2(s.decoder_width / 16), 1, 1, UNVARIED),
)

EFFECTS: Mapping[str, tuple[Effect, ...]] = {"espnet": ESPNET, "espnetv2": ESPNETV2}
"""Family -> its effects."""
