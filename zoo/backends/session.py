"""A network in a backend: (N, 3, H, W) float32 -> logits (N, classes, h, w), compiled for each size it meets."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.backends.choice import candidates, threads_of
from zoo.backends.compiled import Run, onnxruntime_run, openvino_run, torch_run
from zoo.backends.timed import conditions, keep, kept, timed
from zoo.errors import ZooError
from zoo.inference.preprocess import Preprocessing, network_input, resized_pixels
from zoo.network import Network
from zoo.passes import optimize
from zoo.passes.rewrite import at_size
from zoo.registry import lower

Size = tuple[int, int]
"""Height and width in pixels."""

KEPT_SIZES = 4
"""Sizes of which the compiled network is kept: tiles and borders need few, and each holds its activations."""


IN_GRAPH = ("openvino",)
"""Backends that preprocess in their graph."""


class Engine:
    """A network, in evaluation mode, in one backend.

    Takes images (N, 3, H, W), float32, preprocessed, on the CPU; gives the first output (N, classes, h, w),
    which belongs to the engine: the calling thread's next call may overwrite it. Images of a batch run one
    after the other, in the memory of one.

    Args:
        network: in evaluation mode.
        backend: a name of `zoo segment --backend`; `auto` takes the fastest of those that are installed and take the
            network. They are timed for a second at the first size, and the answer is kept in the user's cache.
        threads: for each stream; by default the cores, shared out.
        streams: threads that run it at once; others wait for their turn.
        say: is told which backend `auto` took and how fast it is.
        preprocessing: where given, a backend that can do so (OpenVINO) has all of it but resizing in its graph; images
            are then what `input_of` makes.

    Raises:
        ZooError: the backend is not installed or refuses the network, or the network is in training mode.
        SpecError: a size does not suit the network; raised when it is run.

    >>> import torch
    >>> from zoo import build
    >>> run = Engine(build("espnet-c").eval(), "torch", threads=1)
    >>> run(torch.zeros(1, 3, 64, 96)).shape
    torch.Size([1, 20, 8, 12])
    """

    def __init__(
        self,
        network: Network,
        backend: str = "auto",
        threads: int | None = None,
        *,
        streams: int = 1,
        say: Callable[[str], None] = lambda message: None,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        if network.training:
            raise ZooError("the network is in training mode; call module.eval() first")
        self.threads = threads or threads_of(None, streams)
        self.streams = streams
        self._network = network
        self._names = list(candidates(backend))
        self._say = say
        self._ready: dict[tuple[str, Size], Run] = {}
        self._optimized: Network | None = None
        self._kept: OrderedDict[Size, Run] = OrderedDict()
        self._preprocessing = preprocessing
        self._lock = threading.Lock()
        self._turns = threading.Semaphore(streams)

    @property
    def backend(self) -> str:
        """The backend that runs the network; of several that `auto` has not timed yet, the first."""
        return self._names[0]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        height, width = images.shape[1:3] if self._takes_pixels(self.backend) else images.shape[2:4]
        run = self.at((height, width))
        with self._turns:
            if len(images) == 1:
                return run(images)
            return torch.cat([run(image[None]).clone() for image in images])

    def input_of(self, pixels: NDArray[np.uint8], preprocessing: Preprocessing, size: Size) -> Tensor:
        """What the engine takes of an image (H, W, 3) in RGB, at `size`.

        Raises ValueError for a preprocessing other than that in the graph.
        """
        self.at(size)  # which settles what runs it
        if not self._takes_pixels(self.backend):
            return network_input(pixels, preprocessing, size)
        if self._preprocessing != replace(preprocessing, size=getattr(self._preprocessing, "size", None)):
            raise ValueError(f"the engine's graph has another preprocessing: {self._preprocessing}")
        return resized_pixels(pixels, preprocessing, size)

    def _takes_pixels(self, backend: str) -> bool:
        return self._preprocessing is not None and backend in IN_GRAPH

    def at(self, size: Size) -> Run:
        """The function that runs one image (1, 3, H, W) of a size, compiled now unless it was before."""
        with self._lock:
            if size not in self._kept:
                self._kept[size] = self._compiled(size)
                if len(self._kept) > KEPT_SIZES:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(size)
            return self._kept[size]

    def _compiled(self, size: Size) -> Run:
        if self._network.spec is not None:
            lower(self._network.spec, size)  # whose errors say which sizes suit the network
        if len(self._names) > 1:
            self._choose(size)
        return self._ready.pop((self.backend, size), None) or self._in(self.backend, size)

    def _choose(self, size: Size) -> None:
        """Settle on the fastest backend that takes the network, as measured at this size now or before."""
        key = conditions(at_size(self._network.graph, size), self._names, self.threads, self.streams)
        timings = kept(key, self._names)
        if timings is None or not self._compiles(timings.order[0], size):
            taking = [name for name in self._names if self._compiles(name, size)]
            timings = timed({name: partial(self._ready[name, size], self._example(name, size)) for name in taking})
            keep(key, timings)
        self._names = [timings.order[0]]
        self._ready = {(name, at): run for (name, at), run in self._ready.items() if name == self.backend}
        self._say(f"{self.backend} runs the network: {timings}")

    def _example(self, backend: str, size: Size) -> Tensor:
        image = torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(0))
        return (255 * image).permute(0, 2, 3, 1).contiguous() if self._takes_pixels(backend) else image

    def _compiles(self, backend: str, size: Size) -> bool:
        """Whether a backend takes the network, which is then ready in it; torch, which is the last, raises."""
        try:
            self._ready[backend, size] = self._ready.get((backend, size)) or self._in(backend, size)
        except ZooError as error:
            if backend == self._names[-1]:
                raise
            self._say(str(error))
            return False
        return True

    def _in(self, backend: str, size: Size) -> Run:
        if backend == "torch":
            return next(iter(self._kept.values()), None) or torch_run(self._network, self.threads)
        if self._optimized is None:
            self._optimized = optimize(self._network).cpu()
        graph = at_size(self._optimized.graph, size)
        if backend == "onnxruntime":
            return onnxruntime_run(self._optimized, graph, self.threads, self.streams)
        return openvino_run(self._optimized, graph, self.threads, self.streams, self._preprocessing)


def runner(
    network: Network, size: Size, backend: str = "auto", threads: int | None = None, *, streams: int = 1
) -> Callable[[Tensor], Tensor]:
    """An `Engine` that is compiled already for images of `size` = (height, width)."""
    engine = Engine(network, backend, threads, streams=streams)
    engine.at(size)
    return engine
