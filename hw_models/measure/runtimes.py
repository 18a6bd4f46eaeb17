"""Runs blocks and networks in a runtime of this machine, on inputs with the spectrum of photographs.

The time of an activation can depend on its data: onnxruntime's PReLU takes a branch a value, and white
noise defeats the branch prediction that features of an image allow. Inputs are therefore fields whose
amplitude falls with the frequency, as that of photographs does, and the BatchNorms of untrained networks
get the statistics of that input, as training would have given them.

A branch predictor also learns the signs of one input by heart where there are few of them, so that inputs
take turns: a small block that saw one input only would look up to 43 % faster than it is in a network.

Subnormal numbers are flushed: they slow a CPU several times and change no result.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hw_models.measure.onnx_graph import model_of
from hw_models.measured.blocks import Block, chained
from zoo.backends.choice import available_cores
from zoo.backends.compiled import onnxruntime_session, openvino_model
from zoo.errors import ZooError
from zoo.graph import Graph, Input, PReLU, Shape
from zoo.network import Network, flush_subnormals_, module_from_graph

Backend = Literal["onnxruntime", "torch", "torch-cuda", "openvino"]
BACKENDS: tuple[str, ...] = get_args(Backend)

Sample = Callable[[], float]
"""Runs once and returns the seconds that it took."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run: the backend, its threads, images at once."""

    backend: Backend = "onnxruntime"
    threads: int = 1
    batch: int = 1

    def __post_init__(self) -> None:
        cores = available_cores()
        if not 1 <= self.threads <= cores:
            raise ZooError(f"threads must be from 1 to the {cores} cores of this machine, but is {self.threads}")
        if self.backend == "torch-cuda" and not torch.cuda.is_available():
            raise ZooError("backend torch-cuda needs an NVIDIA GPU, and torch sees none; use torch or onnxruntime")


def field(shape: Shape, batch: int = 1, seed: int = 0) -> NDArray[np.float32]:
    """(batch, channels, height, width): zero mean, unit variance, amplitudes that fall as f**-FALL in each channel."""
    rng = np.random.default_rng(seed)
    height, width = shape.height, shape.width
    noise = np.fft.rfft2(rng.standard_normal((height, width), dtype=np.float32))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    base = np.fft.irfft2(noise / frequency**FALL, s=(height, width)).astype(np.float32)
    base /= max(float(base.std()), 1e-6)
    out = np.empty((batch, shape.channels, height, width), dtype=np.float32)
    for plane in out.reshape(-1, height, width):
        # Shifted and mirrored copies are as good as new fields, and much cheaper.
        shift = (int(rng.integers(height)), int(rng.integers(width)))
        plane[...] = np.roll(base, shift, (0, 1)) * rng.choice((-1.0, 1.0))
    return out


def entries_of(graph: Graph, batch: int, *, seed: int = 0) -> list[Tensor]:
    """An input for each of the graph's: images as they are, features as an activation leaves them."""
    tensors = []
    for i, layer in enumerate(layer for layer in graph.layers if isinstance(layer.op, Input)):
        x = field(layer.out_shape, batch, seed + i)
        image = layer.out_shape.channels == 3
        tensors.append(torch.from_numpy(x if image else np.where(x > 0, x, 0.25 * x)))
    return tensors


TURNS, TURN_VALUES = 16, 1 << 21
"""Inputs that take turns at most, and the values of all of them together from which more teach nothing new."""


class Turns:
    """Feeds of one network: shifted copies of its entries, written by turns into the same arrays.

    Written there, as the layer before would have written them, they are in the cache as they are in a network.
    """

    def __init__(self, entries: Mapping[str, NDArray[np.float32]]) -> None:
        self.feed = {name: x.copy() for name, x in entries.items()}
        count = min(TURNS, -(-TURN_VALUES // max(1, sum(x.size for x in entries.values()))))
        rng = np.random.default_rng(0)
        shifts = [(int(rng.integers(1 << 20)), int(rng.integers(1 << 20))) for _ in range(count)]
        self._copies = [
            {name: np.roll(x, shift, (-2, -1)) if x.ndim == 4 else x for name, x in entries.items()} for shift in shifts
        ]
        self._at = 0

    def __len__(self) -> int:
        return len(self._copies)

    def next(self) -> Mapping[str, NDArray[np.float32]]:
        """The next input."""
        self._at = (self._at + 1) % len(self._copies)
        for name, x in self._copies[self._at].items():
            np.copyto(self.feed[name], x)
        return self.feed


def settled(network: Network, entries: Sequence[Tensor]) -> Network:
    """The network in evaluation mode, with what training would have given it as far as times depend on it.

    Its BatchNorms get the statistics of these inputs, and those before a PReLU shifts by which the sign of
    the PReLU's input changes between neighbours as often as in trained networks (`SIGN_CHANGES`).
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    feeding = {layer.name: layer.inputs[0] for layer in network.graph.layers if isinstance(layer.op, PReLU)}
    hooks = []
    for name, source in feeding.items():
        norm = dict(network.named_modules()).get(source)
        if isinstance(norm, nn.BatchNorm2d):
            hooks.append(network.get_submodule(name).register_forward_pre_hook(_shifting(norm)))
    for norm in norms:
        norm.momentum = 1.0
    network.train()
    for module in network.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.eval()
    with torch.no_grad():
        network(*[x[:1] for x in entries])
    for hook in hooks:
        hook.remove()
    for norm in norms:
        norm.momentum = 0.1
    network.eval()
    flush_subnormals_(network)
    return network


SIGN_CHANGES = 0.15
"""Share of horizontal neighbours whose sign differs, at the inputs of PReLUs, that untrained networks are given.

In the released ESPNet-C on photographs it is 9 to 11 %, from 2 to 15 % by layer, and 13 to 14 % in ESPNet; without
shifts, untrained weights have 25 to 37 % and take 1.3 to 1.5 times as long in onnxruntime. Signs that shifts make
are easier to foresee: at 15 % untrained networks take as long as the released ones do on photographs.
"""

FALL = 1.25
"""Exponent by which the amplitude falls with the frequency (Field, JOSA A 4(12), 1987, found about 1 in nature).

Under 1.25 the released ESPNets take as long as on photographs; under 1 they take 5 % longer.
"""


def _shifting(norm: nn.BatchNorm2d) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    """Shifts channels up or down, and remembers that in the BatchNorm, until neighbours agree often enough."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (x,) = inputs
        rows = x[:, :, :: max(1, x.shape[2] // 16)]
        # Three channels in five go down: 38 % of the values are positive in trained networks.
        way = torch.where(torch.arange(x.shape[1]) % 5 < 3, -1.0, 1.0)[:, None, None]
        shift = next((s for s in SHIFTS if _sign_changes(rows + s * way) <= SIGN_CHANGES), SHIFTS[-1])
        norm.bias.add_(shift * way[:, 0, 0])
        return (x + shift * way,)

    return hook


SHIFTS = tuple(0.2 * i for i in range(16))
"""Shifts that are tried, in standard deviations."""


def _sign_changes(x: Tensor) -> float:
    positive = x > 0
    return float((positive[..., 1:] != positive[..., :-1]).float().mean()) if x.shape[-1] > 1 else 0.0


def block_sample(block: Block, settings: Settings) -> Sample:
    """Ready to time a block: seconds of one copy of those that are chained."""
    whole = chained(block)
    graph = Graph(whole.layers, whole.outputs)
    entries = entries_of(graph, settings.batch)
    run = network_sample(settled(module_from_graph(graph), entries), entries, settings)
    return run if block.copies == 1 else lambda: run() / block.copies


def network_sample(
    network: Network, entries: Sequence[Tensor], settings: Settings, model: bytes | None = None
) -> Sample:
    """Ready to time a network; `model` is its ONNX file where that is written already."""
    torch.set_flush_denormal(True)
    if settings.backend == "onnxruntime":
        return _onnxruntime(model or model_of(network), entries, settings)
    if settings.backend == "openvino":
        return _openvino(model or model_of(network), entries, settings)
    if settings.backend == "torch-cuda":
        return _cuda(network, entries)
    return _torch(network, entries, settings)


def _onnxruntime(model: bytes, entries: Sequence[Tensor], settings: Settings) -> Sample:
    session = onnxruntime_session(model, settings.threads)
    turns = Turns({entry.name: x.numpy() for entry, x in zip(session.get_inputs(), entries, strict=True)})

    def sample() -> float:
        feed = turns.next()
        start = time.perf_counter()
        session.run(None, feed)
        return time.perf_counter() - start

    return sample


def _openvino(model: bytes, entries: Sequence[Tensor], settings: Settings) -> Sample:
    compiled = openvino_model(model, settings.threads, shapes=[tuple(x.shape) for x in entries])
    turns = Turns({entry.any_name: x.numpy() for entry, x in zip(compiled.inputs, entries, strict=True)})
    request = compiled.create_infer_request()

    def sample() -> float:
        feed = turns.next()
        start = time.perf_counter()
        request.infer(feed, share_inputs=True, share_outputs=True)
        return time.perf_counter() - start

    return sample


def _torch(network: Network, entries: Sequence[Tensor], settings: Settings) -> Sample:
    torch.set_num_threads(settings.threads)

    def sample() -> float:
        with torch.inference_mode():
            start = time.perf_counter()
            network(*entries)
            return time.perf_counter() - start

    return sample


def _cuda(network: Network, entries: Sequence[Tensor]) -> Sample:
    device = torch.device("cuda")
    network.to(device)
    inputs = [x.to(device) for x in entries]

    def sample() -> float:
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        with torch.inference_mode():
            torch.cuda.synchronize()
            first.record()
            network(*inputs)
            last.record()
            torch.cuda.synchronize()
        return float(first.elapsed_time(last)) / 1e3

    return sample
