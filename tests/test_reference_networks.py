"""The networks that devices are calibrated on: the counts that torchvision, timm and the authors publish."""

from typing import Any

import pytest

from zoo.config import load_config
from zoo.registry import FAMILIES, lower, spec_from_dict

PUBLISHED: list[tuple[dict[str, Any], int]] = [
    ({"family": "alexnet"}, 61_100_840),
    ({"family": "squeezenet", "version": "1.0"}, 1_248_424),
    ({"family": "squeezenet", "version": "1.1"}, 1_235_496),
    ({"family": "vgg", "depth": 11}, 132_863_336),
    ({"family": "vgg", "depth": 13}, 133_047_848),
    ({"family": "vgg", "depth": 11, "bn": True}, 132_868_840),
    ({"family": "vgg", "depth": 19, "bn": True}, 143_678_248),
    ({"family": "densenet"}, 7_978_856),
    ({"family": "densenet", "units": (6, 12, 36, 24), "width": 96, "growth": 48}, 28_681_000),
    ({"family": "densenet", "units": (6, 12, 32, 32)}, 14_149_480),
    ({"family": "densenet", "units": (6, 12, 48, 32)}, 20_013_928),
    ({"family": "googlenet"}, 6_998_552),
    ({"family": "mobilenetv2"}, 3_504_872),
    ({"family": "mobilenetv2", "stages": "mnasnet", "scale": 0.5}, 2_218_512),
    ({"family": "mobilenetv2", "stages": "mnasnet", "scale": 0.75}, 3_170_208),
    ({"family": "mobilenetv2", "stages": "mnasnet", "scale": 1.0}, 4_383_312),
    ({"family": "mobilenetv2", "stages": "mnasnet", "scale": 1.3}, 6_282_256),
    ({"family": "mobilenetv3", "variant": "small"}, 2_542_856),
    ({"family": "mobilenetv3", "variant": "large"}, 5_483_032),
    ({"family": "shufflenetv2", "scale": "0.5"}, 1_366_792),
    ({"family": "shufflenetv2", "scale": "1.0"}, 2_278_604),
    ({"family": "shufflenetv2", "scale": "1.5"}, 3_503_624),
    ({"family": "shufflenetv2", "scale": "2.0"}, 7_393_996),
    ({"family": "mixnet", "variant": "small"}, 4_134_606),
    ({"family": "mixnet", "variant": "medium"}, 5_014_382),
    ({"family": "mixnet", "variant": "large"}, 7_329_252),
]


@pytest.mark.parametrize(("spec", "params"), PUBLISHED, ids=str)
def test_parameters_are_the_published_count(spec: dict[str, Any], params: int) -> None:
    assert lower(spec_from_dict(spec), (224, 224)).params == params


@pytest.mark.parametrize(
    ("spec", "gmacs"),
    [
        ({"family": "mobilenetv2"}, 0.300),  # MobileNetV2, table 4
        ({"family": "mobilenetv3", "variant": "large"}, 0.219),  # MobileNetV3, table 3
        ({"family": "mobilenetv3", "variant": "small"}, 0.056),
        ({"family": "shufflenetv2", "scale": "1.0"}, 0.146),  # ShuffleNetV2, table 5
        ({"family": "mixnet", "variant": "medium"}, 0.360),  # MixNet, table 2, which counts squeeze and excitation too
    ],
    ids=str,
)
def test_macs_are_the_papers(spec: dict[str, Any], gmacs: float) -> None:
    assert lower(spec_from_dict(spec), (224, 224)).macs == pytest.approx(gmacs * 1e9, rel=0.06)


@pytest.mark.parametrize(("variant", "millions", "gflops"), [("s", 9.0, 26.8), ("m", 25.3, 73.8), ("l", 54.2, 155.6)])
def test_yolox_has_the_authors_counts(variant: str, millions: float, gflops: float) -> None:
    """Parameters and GFLOPs at 640x640 of the authors' table; they count BN and activations as well."""
    graph = lower(spec_from_dict({"family": "yolox", "variant": variant}), (640, 640))
    assert round(graph.params / 1e6, 1) == millions
    assert 2e-9 * graph.macs == pytest.approx(gflops, rel=0.01)


def test_no_reference_network_is_a_model_that_zoo_list_prints() -> None:
    listed = {model.spec.family for model in load_config(None).models.values() if model.spec}
    references = {str(spec["family"]) for spec, _ in PUBLISHED} | {"yolox", "resnet"}
    assert references <= set(FAMILIES)
    assert not references & listed
