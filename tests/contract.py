"""Small specs of every family, and its contract (`zoo.testing.FamilyContract`)."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

import pytest

from zoo.models.alexnet import AlexNetSpec
from zoo.models.cfpnet import CFPNetSpec
from zoo.models.cgnet import CGNetSpec
from zoo.models.dabnet import DABNetSpec
from zoo.models.ddrnet import DDRNetSpec
from zoo.models.deeplab import DeepLabSpec
from zoo.models.densenet import DenseNetSpec
from zoo.models.edanet import EDANetSpec
from zoo.models.enet import ENetSpec
from zoo.models.erfnet import ERFNetSpec
from zoo.models.espnet import ESPNetSpec
from zoo.models.espnetv2 import ESPNetv2Spec
from zoo.models.espnetv2_classifier import ESPNetv2ClassifierSpec
from zoo.models.espnetv2_ssd import ESPNetv2SSDSpec
from zoo.models.fast_scnn import FastSCNNSpec
from zoo.models.fcn import FCNSpec
from zoo.models.fddwnet import FDDWNetSpec
from zoo.models.fpenet import FPENetSpec
from zoo.models.googlenet import GoogLeNetSpec
from zoo.models.lednet import LEDNetSpec
from zoo.models.mixnet import MixNetSpec
from zoo.models.mobilenetv2 import MobileNetV2Spec
from zoo.models.mobilenetv3 import MobileNetV3Spec
from zoo.models.pidnet import PIDNetSpec
from zoo.models.pspnet import PSPNetSpec
from zoo.models.resnet import ResNetSpec
from zoo.models.segnet import SegNetSpec
from zoo.models.shufflenetv2 import ShuffleNetV2Spec
from zoo.models.sqnet import SQNetSpec
from zoo.models.squeezenet import SqueezeNetSpec
from zoo.models.vgg import VGGSpec
from zoo.models.yolox import YOLOXSpec
from zoo.specs import Spec
from zoo.testing.family import FamilyContract, label, outputs

__all__ = ["EXAMPLES", "FAST", "FamilyContract", "label", "outputs", "slow_but"]

Block = Literal["mobilenet", "shufflenet", "inception", "resnext", "resnet", "asp"]

NARROW = (4, 6, 8, 10, 12)
"""Widths of a VGG that a test can afford."""

BLOCKS: tuple[tuple[Block, int], ...] = (
    ("mobilenet", 5),
    ("shufflenet", 4),
    ("inception", 4),
    ("resnext", 4),
    ("resnet", 5),
    ("asp", 4),
)
"""What can stand in the ESP unit's place, with a k that it takes."""

EXAMPLES: Mapping[str, tuple[Spec, ...]] = {
    "espnet": (
        ESPNetSpec(variant="A", image_path="none", alpha3=0, widths=(6, 9, 14), k=3),
        ESPNetSpec(variant="B", image_path="none", alpha3=1, widths=(6, 9, 14), activation="relu"),
        ESPNetSpec(variant="C", alpha3=1, image_path="fusion", hff=False, pyramid="standard", reduce="3x3"),
        ESPNetSpec(variant="ESPNet", alpha2=1, alpha3=1, classes=5, decoder_sees_image=True, downsample="conv"),
        *(
            ESPNetSpec(block=block, k=k, alpha2=1, alpha3=1, widths=(4, 16, 32), classes=3, downsample="conv")
            for block, k in BLOCKS
        ),
    ),
    "espnetv2": (
        ESPNetv2Spec(scale=0.5, classes=6, depth3=0, depth4=1),
        ESPNetv2Spec(widths=(16, 32, 64, 96), depth3=1, depth4=1),
    ),
    "espnetv2-classifier": (ESPNetv2ClassifierSpec(scale=0.5, classes=5, depth4=1, depth5=1),),
    "espnetv2-ssd": (ESPNetv2SSDSpec(scale=0.5, classes=3, depth3=1, depth4=1, depth5=1),),
    "enet": (ENetSpec(depth=1, sections=1, classes=3), ENetSpec(widths=(8, 12, 16), depth=0, sections=0)),
    "erfnet": (ERFNetSpec(depth=1, rounds=1, classes=3), ERFNetSpec(widths=(5, 8, 12), depth=0, rounds=0)),
    "segnet": (SegNetSpec(widths=NARROW, classes=3),),
    "sqnet": (SQNetSpec(widths=(6, 8, 16, 24), classes=3),),
    "fcn": tuple(FCNSpec(stride=stride, widths=NARROW, hidden=12, classes=3) for stride in (8, 16, 32)),
    "deeplab": (DeepLabSpec(depth=50, width=4, dilations=(1, 2, 3, 4), classes=3),),
    "pspnet": (PSPNetSpec(depth=50, width=4, classes=3), PSPNetSpec(depth=50, width=4, auxiliary=True)),
    "vgg": (VGGSpec(widths=NARROW, hidden=12, classes=3), VGGSpec(depth=11, bn=True, widths=NARROW, hidden=12)),
    "resnet": (ResNetSpec(depth=18, width=4, classes=3), ResNetSpec(depth=50, width=4, stride_in="1x1")),
    "fpenet": (
        FPENetSpec(widths=(8, 8, 16), depth2=2, depth3=1, expansion=2, classes=3),
        FPENetSpec(widths=(4, 8, 8), depth2=1, depth3=3, scales=2, growth=3, expansion=1),
    ),
    "cgnet": (
        CGNetSpec(widths=(5, 32, 66), depth2=2, depth3=3, classes=3),
        CGNetSpec(widths=(4, 34, 64), depth2=3, depth3=2, dilations=(1, 3)),
    ),
    "cfpnet": (
        CFPNetSpec(widths=(4, 16, 16), depth2=1, depth3=1, classes=3),
        CFPNetSpec(widths=(4, 16, 48), branches=2, depth2=2, depth3=1, dilation=3),
    ),
    "dabnet": (
        DABNetSpec(widths=(4, 8, 10), depth2=1, depth3=1, classes=3),
        DABNetSpec(widths=(4, 8, 24), depth2=2, depth3=1, dilations=(1, 2, 3)),
    ),
    "edanet": (EDANetSpec(widths=(5, 8, 12), growth=3, classes=3), EDANetSpec(widths=(5, 8, 40), growth=4)),
    "fddwnet": (
        FDDWNetSpec(widths=(5, 8, 12), depth=1, rounds=1, classes=3),
        FDDWNetSpec(widths=(4, 6, 8), depth=0, rounds=0),
    ),
    "fast-scnn": (
        FastSCNNSpec(widths=(4, 6, 8), bottlenecks=(8, 12, 16), depth=2, expansion=2, head=8, classes=3),
        FastSCNNSpec(widths=(3, 5, 8), bottlenecks=(8, 8, 8), depth=1, head=12),
    ),
    "lednet": (
        LEDNetSpec(widths=(6, 8, 12), depth1=1, depth2=1, classes=3),
        LEDNetSpec(widths=(4, 8, 10), depth1=0, depth2=0),
    ),
    "ddrnet": (DDRNetSpec(width=4, pyramid=6, head=5, classes=3),),
    "pidnet": (
        PIDNetSpec(width=4, depth=1, deep=2, pyramid=6, head=5, classes=3),
        PIDNetSpec(width=6, depth=2, deep=1, pyramid=4, head=4),
    ),
    "alexnet": (AlexNetSpec(widths=NARROW, hidden=12, classes=3),),
    "densenet": (DenseNetSpec(width=6, growth=4, units=(1, 2, 2, 1), classes=3),),
    "googlenet": (GoogLeNetSpec(classes=3),),
    "mixnet": (MixNetSpec(classes=3),),
    "mobilenetv2": (MobileNetV2Spec(scale=0.25), MobileNetV2Spec(stages="mnasnet", scale=0.5, classes=3)),
    "mobilenetv3": (MobileNetV3Spec(classes=3),),
    "shufflenetv2": (ShuffleNetV2Spec(scale="0.5", classes=3),),
    "squeezenet": (SqueezeNetSpec(classes=3), SqueezeNetSpec(version="1.0", classes=30)),
    "yolox": (YOLOXSpec(classes=3),),
}
"""Small specs of each family that between them use all its parts."""

FAST: Collection[Spec] = frozenset(
    {
        EXAMPLES["espnet"][2],  # fusion of the image, sums of neighbours left out
        EXAMPLES["espnet"][3],  # a decoder
        EXAMPLES["espnetv2"][0],  # depthwise units
        EXAMPLES["enet"][0],  # pooling by indices, undone
        EXAMPLES["pspnet"][1],  # bins of a pyramid, two outputs
        EXAMPLES["fast-scnn"][1],  # inverted bottlenecks
    }
)
"""Examples of which each differs in kind from the others: the fast run tries laws of all networks on them alone."""


def slow_but(specs: Iterable[Spec], fast: Collection[Spec] = FAST) -> list[Any]:
    """Parameters of a test of every spec, of which all are marked slow but a few."""
    return [pytest.param(spec, marks=() if spec in fast else pytest.mark.slow, id=label(spec)) for spec in specs]
