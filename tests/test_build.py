"""The torch module of every network: its contract with the graph, and the released checkpoints."""

import copy
import dataclasses
import pickle
import weakref
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import torch
from contract import label, slow_but
from torch import nn

import zoo
from zoo.counters import TOOLS, count_with, extras
from zoo.errors import SpecError, ZooError
from zoo.graph import GraphBuilder, Input, Op, Shape
from zoo.models.espnet import ESPNetSpec
from zoo.network import Network, build, flush_subnormals_, module_from_graph
from zoo.registry import FAMILIES, lower
from zoo.specs import Spec, field_types

SHARED = Path(__file__).resolve().parents[2] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the released checkpoints are not beside this repository")

SIZE = (64, 128)
"""Height and width at which the contract is tried."""


def neighbours(spec: Spec) -> Iterator[Spec]:
    """The spec, and every valid spec that differs in one choice."""
    yield spec
    for name, hint in field_types(type(spec)).items():
        choices: tuple[Any, ...] = (False, True) if hint is bool else ()
        if get_origin(hint) is Literal:
            choices = get_args(hint)
        for choice in choices:
            try:
                yield dataclasses.replace(spec, **{name: choice})  # type: ignore[type-var]
            except SpecError:
                continue


def starts() -> list[Spec]:
    """Each family's default, and ESPNet's stages."""
    return [
        *(family.spec() for family in FAMILIES.values()),
        ESPNetSpec(variant="A", image_path="none", alpha2=0, alpha3=0),
        ESPNetSpec(variant="B", image_path="none", alpha3=1, k=8),
        ESPNetSpec(variant="ESPNet", alpha3=1, decoder_sees_image=True, widths=(8, 33, 65)),
    ]


def specs() -> list[Spec]:
    """The starts, each with its neighbours."""
    return list(dict.fromkeys(spec for start in starts() for spec in neighbours(start)))


FAST = (ESPNetSpec(), *starts()[-3:], FAMILIES["espnetv2"].spec(), FAMILIES["enet"].spec(), FAMILIES["yolox"].spec())
"""Networks of which each differs in kind from the others; the rest is slow."""

each_spec = pytest.mark.parametrize("spec", slow_but(specs(), FAST))

LARGE = 10e6
"""Parameters from which a network has shapes alone, which cost nothing; small ones are faster with numbers."""


def module_of(spec: Spec) -> Network:
    with torch.device("meta" if lower(spec, SIZE).params >= LARGE else "cpu"):
        return build(spec, SIZE).eval()


def computed_by(module: Network, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return tensors(module(images.to(next(module.parameters()).device)))


@cache
def image(height: int = SIZE[0], width: int = SIZE[1]) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def tensors(out: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (out,) if isinstance(out, torch.Tensor) else out


@each_spec
@torch.no_grad()
def test_module_keeps_the_graphs_promises(spec: Spec) -> None:
    module = module_of(spec)
    shapes: dict[str, torch.Size] = {}
    for layer in module.graph.layers:
        if not isinstance(layer.op, Input):
            hook = lambda m, i, out, name=layer.name: shapes.update({name: tensors(out)[0].shape})  # noqa: E731
            module.get_submodule(layer.name).register_forward_hook(hook)
    computed_by(module, image())
    computed = [layer for layer in module.graph.layers if not isinstance(layer.op, Input)]
    expected = {x.name: (2, x.out_shape.channels, x.out_shape.height, x.out_shape.width) for x in computed}
    assert {name: tuple(shape) for name, shape in shapes.items()} == expected
    with_parameters = {x.name: x.params for x in computed if x.params}
    counted = {name: sum(p.numel() for p in module.get_submodule(name).parameters()) for name in with_parameters}
    assert counted == with_parameters
    assert sum(p.numel() for p in module.parameters()) == module.graph.params
    assert module.spec == spec


@each_spec
@torch.no_grad()
def test_no_size_is_baked_in(spec: Spec) -> None:
    shapes = [tuple(x.shape[1:]) for x in computed_by(module_of(spec), image(96, 64))]
    assert shapes == [(x.channels, x.height, x.width) for x in lower(spec, (96, 64)).output_shapes]


def countings() -> Iterator[Any]:
    """The starts with torch's counter; with the two that have to run the network, the small ones."""
    small = [spec for spec in starts() if lower(spec, SIZE).params < LARGE]
    for tool in TOOLS:
        for spec in starts() if tool == "torch" else small:
            marks = () if spec == ESPNetSpec() else pytest.mark.slow
            yield pytest.param(spec, tool, marks=marks, id=f"{label(spec)}-{tool}")


@pytest.mark.parametrize(("spec", "tool"), list(countings()))
def test_other_counters_agree(spec: Spec, tool: str) -> None:
    graph = lower(spec, SIZE)
    opinion = count_with(tool, spec, SIZE)
    assert opinion.macs == graph.macs
    reported = graph.macs * (2 if tool == "torch" else 1) + sum(extras(tool, graph).values())
    assert opinion.total == reported


def everything() -> GraphBuilder:
    """A graph with the ops that ESPNet lacks."""
    g = GraphBuilder()
    x = g.input("image", Shape(3, 32, 40))
    a = g.act(g.bn(g.conv(x, "a.conv", 8, kernel=3, stride=2, bias=True), "a.bn"), "a.act", "elu")
    pooled = g.max_pool(a, "pool", kernel=2, stride=2)
    back = g.append(zoo.graph.MaxUnpool((2, 2), (2, 2)), (pooled, pooled, a), "unpool")
    sized = g.add((back, g.resize(pooled, "like", like=a), g.resize(pooled, "up", scale=2.0, mode="nearest")), "sum")
    up = g.deconv(g.act(g.act(sized, "relu", "relu"), "sigmoid", "sigmoid"), "up4", 4, bias=True, groups=2)
    pool: Op = zoo.graph.AdaptiveAvgPool((1, 1))
    gated = g.multiply(up, g.append(pool, (up,), "gap"), "gate")
    small = g.append(zoo.graph.AdaptiveAvgPool(scale=0.1, minimum=3), (gated,), "small")
    resized = g.resize(small, "resized", like=gated, align_corners=True)
    g.append(zoo.graph.AdaptiveAvgPool(), (resized, pooled), "pooled_like")
    g.append(zoo.graph.Linear(10), (g.append(pool, (small,), "top"),), "fc")
    return g


@pytest.mark.parametrize("tool", TOOLS)
def test_other_counters_agree_on_every_op(tool: str) -> None:
    graph = everything().graph("fc", "pooled_like")
    opinion = count_with(tool, graph)
    assert opinion.macs == graph.macs
    assert opinion.total == graph.macs * (2 if tool == "torch" else 1) + sum(extras(tool, graph).values())


def test_unknown_counter_suggests_the_nearest() -> None:
    with pytest.raises(ZooError, match="did you mean 'fvcore'"):
        count_with("fvcor", ESPNetSpec())


@torch.no_grad()
def test_several_outputs_are_a_tuple() -> None:
    first, second = module_from_graph(everything().graph("fc", "gate")).eval()(image(32, 40))
    assert (tuple(first.shape), tuple(second.shape)) == ((2, 10, 1, 1), (2, 4, 32, 40))


@pytest.mark.parametrize("variant", ["C", "ESPNet"])
@torch.no_grad()
def test_live_tensors_peak_where_the_graph_says(variant: Any) -> None:
    module = build(ESPNetSpec(variant=variant, alpha3=2), SIZE).eval()
    live = {"now": 0, "peak": 0}

    def count(m: nn.Module, inputs: Any, out: torch.Tensor) -> None:
        live["now"] += out.nbytes
        live["peak"] = max(live["peak"], live["now"])
        weakref.finalize(out, lambda size: live.update(now=live["now"] - size), out.nbytes)

    for layer in module.graph.layers:
        if not isinstance(layer.op, Input):
            module.get_submodule(layer.name).register_forward_hook(count)
    x = image()[:1]
    module(x)
    # The caller holds the image from beginning to end; the graph lets it go after its last use.
    assert module.graph.peak_activation_bytes <= live["peak"] + x.nbytes
    assert live["peak"] <= module.graph.peak_activation_bytes
    assert live["now"] == 0


@torch.no_grad()
def test_copies_are_independent_and_equal() -> None:
    module = build(ESPNetSpec(variant="ESPNet", alpha3=1), SIZE).eval()
    expected = module(image())
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(image()), expected)
        for parameter in twin.parameters():
            parameter.zero_()
        assert torch.equal(module(image()), expected)
        assert not torch.equal(twin(image()), expected)


def test_a_swapped_submodule_is_the_one_that_runs() -> None:
    module = build(ESPNetSpec(), SIZE).eval()
    module.get_submodule("classifier").conv = nn.Conv2d(256, 3, 1)  # type: ignore[assignment]
    assert module(image()).shape[1] == 3


def test_initial_weights_follow_the_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([p.detach().flatten() for p in build(ESPNetSpec(), SIZE).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_initial_weights_keep_the_signal() -> None:
    torch.manual_seed(0)
    module = build(ESPNetSpec(variant="ESPNet"), SIZE).train()
    out = module(image())
    assert module.training and 0.1 < out.std() < 10
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


@torch.no_grad()
def test_traced_module_takes_another_size() -> None:
    module = module_from_graph(everything().graph("gate", "resized", "pooled_like")).eval()
    traced = torch.jit.trace(module, image(32, 40), check_trace=False)
    torch.testing.assert_close(traced(image(64, 48)), module(image(64, 48)))


@torch.no_grad()
def test_compiler_takes_the_whole_network() -> None:
    module = build(ESPNetSpec(variant="ESPNet", alpha3=1), SIZE).eval()
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(image()), module(image()))


def test_op_without_a_module_is_an_error() -> None:
    class Mystery(Input):
        __slots__ = ()

    g = GraphBuilder()
    g.append(Mystery(Shape(3, 8, 8)), (), "odd")
    object.__setattr__(g.layers[0], "op", _Unbuilt())
    with pytest.raises(ZooError, match="odd: _Unbuilt has no torch module"):
        module_from_graph(g.graph("odd"))


class _Unbuilt:
    pass


def test_package_function_survives_the_import_of_its_module() -> None:
    assert isinstance(zoo.build("espnet-c", alpha3=3), Network)
    assert isinstance(zoo.build("espnet-c", alpha3=3), Network)


def test_subnormals_become_zero_and_nothing_else_changes() -> None:
    tiny = torch.finfo(torch.float32).tiny
    values = torch.tensor([tiny, -tiny, tiny / 2, -tiny / 4, 0.0, 1.0, float("inf")])
    state = {"weight": values.clone(), "steps": torch.tensor([1, 2])}
    assert flush_subnormals_(state) is state
    assert state["weight"].tolist() == [tiny, -tiny, 0, 0, 0, 1, float("inf")]
    module = nn.Linear(1, 1)
    nn.init.constant_(module.weight, tiny / 2)
    assert flush_subnormals_(module).weight.item() == 0


CHECKPOINTS = {
    **{
        f"espnet-c-{depth}.cityscapes": (f"encoder/espnet_p_2_q_{depth}.pth", ESPNetSpec(alpha3=depth))
        for depth in (3, 5, 8)
    },
    **{
        f"espnet-{depth}.cityscapes": (
            f"decoder/espnet_p_2_q_{depth}.pth",
            ESPNetSpec(variant="ESPNet", alpha3=depth),
        )
        for depth in (3, 5, 8)
    },
    "espnet-8.camvid-authors": (
        "decoder/espnet_p_2_q_8_camvid.pth",
        ESPNetSpec(variant="ESPNet", alpha3=8, classes=12, decoder_sees_image=True),
    ),
}
"""The released checkpoints and their specs (the authors' repository, folder `pretrained`)."""


@needs_shared
@pytest.mark.parametrize("name", CHECKPOINTS)
@torch.no_grad()
def test_released_checkpoint_gives_the_authors_logits(name: str) -> None:
    file, spec = CHECKPOINTS[name]
    module = build(spec, SIZE).eval()
    state = torch.load(SHARED / "weights" / file, weights_only=True, map_location="cpu")
    module.load_state_dict(flush_subnormals_(state), strict=True)
    with np.load(SHARED / "reference" / "espnet_logits.npz") as references:
        if name not in references:
            return
        expected = references[name]
    x = np.random.RandomState(7).randn(1, 3, 256, 512).astype(np.float32) / 255
    step = 8 if spec.variant == "ESPNet" else 2
    logits = module(torch.from_numpy(x))[0, :, ::step, ::step].numpy()
    assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()
