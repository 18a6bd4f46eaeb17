"""A network in a backend: (N, 3, H, W) float32 -> logits (N, classes, h, w), compiled for each size it meets."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from zoo.backends.choice import candidates, threads_of
from zoo.backends.compiled import Run, onnxruntime_run, openvino_run, torch_run
from zoo.backends.timed import conditions, keep, kept, timed
from zoo.errors import ZooError
from zoo.network import Network
from zoo.passes import optimize
from zoo.passes.rewrite import at_size
from zoo.registry import lower

Size = tuple[int, int]
"""Height and width in pixels."""

KEPT_SIZES = 4
"""Sizes of which the compiled network is kept: tiles and borders need few, and each holds its activations."""


class Engine:
    """A network, in evaluation mode, in one backend.

    Takes images (N, 3, H, W), float32, preprocessed, on the CPU; gives the first output (N, classes, h, w),
    which belongs to the engine: the calling thread's next call may overwrite it. Images of a batch run one
    after the other, in the memory of one. May be called from `streams` threads at once.

    backend: `auto` takes the fastest of those that are installed and take the network. They are timed for a second
    at the first size, and the answer is kept in the user's cache; `say` is told which it is and how fast.
    threads: for each stream. Raises ZooError for a backend that is not installed or refuses the network, and
    SpecError for a size that does not suit it.
    """

    def __init__(
        self,
        network: Network,
        backend: str = "auto",
        threads: int | None = None,
        *,
        streams: int = 1,
        say: Callable[[str], None] = lambda message: None,
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
        self._lock = threading.Lock()

    @property
    def backend(self) -> str:
        """The backend that runs the network; of several that `auto` has not timed yet, the first."""
        return self._names[0]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        run = self.at((images.shape[2], images.shape[3]))
        if len(images) == 1:
            return run(images)
        return torch.cat([run(image[None]).clone() for image in images])

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
            image = torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(0))
            taking = [name for name in self._names if self._compiles(name, size)]
            timings = timed({name: partial(self._ready[name, size], image) for name in taking})
            keep(key, timings)
        self._names = [timings.order[0]]
        self._ready = {(name, at): run for (name, at), run in self._ready.items() if name == self.backend}
        self._say(f"{self.backend} runs the network: {timings}")

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
        compiled: Any = {"onnxruntime": onnxruntime_run, "openvino": openvino_run}[backend]
        graph = at_size(self._optimized.graph, size)
        run: Run = compiled(self._optimized, graph, self.threads, self.streams)
        return run


def runner(
    network: Network, size: Size, backend: str = "auto", threads: int | None = None, *, streams: int = 1
) -> Callable[[Tensor], Tensor]:
    """An `Engine` that is compiled already for images of `size` = (height, width)."""
    engine = Engine(network, backend, threads, streams=streams)
    engine.at(size)
    return engine
