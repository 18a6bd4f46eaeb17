"""Memory that PyTorch's caching allocator takes from the device while a network runs in eager mode.

Freed blocks stay with the allocator and serve the next tensor that fits (best fit), so what it has taken is more than
the live tensors. Sizes are rounded to 512 bytes. Up to 1 MiB are cut from blocks of 2 MiB, up to 10 MiB from blocks of
20 MiB, and larger ones are rounded to 2 MiB; a large block is split where more than 1 MiB is left
(pytorch/pytorch, c10/cuda/CUDACachingAllocator.cpp; test/test_cuda.py states the same constants).

A max pooling whose positions are read later keeps them as 64-bit integers. Nothing is computed in place; the parameters
are on the device first. cuDNN's workspace and the CUDA context come on top.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hw_models.kernels import INDEX_BYTES
from zoo.graph import BYTES_PER_VALUE, Graph, Input, Layer, MaxPool, MaxUnpool

LEAST, SMALL, SMALL_BUFFER = 512, 2**20, 2 * 2**20
LARGE_BUFFER, LEAST_LARGE, ROUND_LARGE = 20 * 2**20, 10 * 2**20, 2 * 2**20
"""The allocator's constants, in bytes: smallest block, largest of the small, and how much is taken at once."""


@dataclass(eq=False)
class _Block:
    """A part of what was taken from the device at once; its neighbours there are merged with it when free."""

    size: int
    small: bool
    free: bool = False
    before: "_Block | None" = None
    after: "_Block | None" = None


@dataclass
class CachingAllocator:
    """PyTorch's caching allocator of one device and stream. reserved: bytes taken so far."""

    reserved: int = 0
    _free: list[_Block] = field(default_factory=list)

    def take(self, size: int) -> _Block:
        """A block for a tensor of `size` bytes."""
        size, small = _up(max(size, LEAST), LEAST), size <= SMALL
        fitting = [block for block in self._free if block.small == small and block.size >= size]
        block = min(fitting, key=lambda b: b.size) if fitting else self._new(size, small)
        if fitting:
            self._free.remove(block)
            block.free = False
        surplus = block.size - size
        if surplus >= LEAST if small else surplus > SMALL:
            self._split(block, size)
        return block

    def give(self, block: _Block) -> None:
        """Free a block, and merge it with free neighbours."""
        block.free = True
        if block.after is not None and block.after.free:
            self._free.remove(block.after)
            _merge(block, block.after)
        if block.before is not None and block.before.free:
            first = block.before
            self._free.remove(first)
            _merge(first, block)
            block = first
        self._free.append(block)

    def _new(self, size: int, small: bool) -> _Block:
        buffer = SMALL_BUFFER if small else LARGE_BUFFER if size < LEAST_LARGE else _up(size, ROUND_LARGE)
        self.reserved += buffer
        return _Block(buffer, small)

    def _split(self, block: _Block, size: int) -> None:
        tail = _Block(block.size - size, block.small, True, block, block.after)
        if block.after is not None:
            block.after.before = tail
        block.size, block.after = size, tail
        self._free.append(tail)


def _merge(first: _Block, second: _Block) -> None:
    first.size += second.size
    first.after = second.after
    if second.after is not None:
        second.after.before = first


def _up(size: int, step: int) -> int:
    return -(-size // step) * step


def reserved_bytes(graph: Graph, batch: int = 1, value_bytes: int = BYTES_PER_VALUE) -> int:
    """Bytes that the allocator has taken after one run of the network, parameters included."""
    allocator = CachingAllocator()
    scale = value_bytes / BYTES_PER_VALUE
    for layer in graph.layers:
        if layer.params:
            allocator.take(round(layer.params * value_bytes))
    last = _last_use(graph)
    live: dict[str, list[_Block]] = {}
    for step, layer in enumerate(graph.layers):
        live[layer.name] = [allocator.take(round(size * scale)) for size in _sizes(layer, batch)]
        if isinstance(layer.op, MaxPool):
            live[_positions(layer.name)] = [allocator.take(batch * INDEX_BYTES * layer.out_shape.elements)]
        for name in [name for name, end in last.items() if end == step and name in live]:
            for block in live.pop(name):
                allocator.give(block)
    return allocator.reserved


def _sizes(layer: Layer, batch: int) -> Iterator[int]:
    yield batch * layer.out_shape.bytes


def _positions(pooling: str) -> str:
    return f"{pooling} positions"


def _last_use(graph: Graph) -> Mapping[str, int]:
    """The step after which a tensor is freed; of an unpooling's inputs only its values and the positions are read."""
    last: dict[str, int] = {}
    for step, layer in enumerate(graph.layers):
        unpooling = isinstance(layer.op, MaxUnpool)
        if not isinstance(layer.op, Input):
            last[layer.name] = step
        if isinstance(layer.op, MaxPool):
            last[_positions(layer.name)] = step
        for name in layer.inputs[:1] if unpooling else layer.inputs:
            last[name] = step
        if unpooling:
            last[_positions(layer.inputs[1])] = step
    return {name: step for name, step in last.items() if name not in graph.outputs}
