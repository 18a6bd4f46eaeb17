"""Times whole networks on this machine, end to end, beside their predictions (`zoo bench`)."""

import ctypes
import gc
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hw_models.cost import Interval
from hw_models.device import Device
from hw_models.measure.environment import AS_PUBLISHED, conditions, cpu_time, others_load
from hw_models.measure.power_meters import Counter, Reading, Sensor, measured
from hw_models.measure.runtimes import Settings, entries_of, network_sample, settled
from hw_models.measure.timing import Effort, Sample, Timing, refuse_noise, time_of
from hw_models.predictors import predict
from zoo.export import export_onnx
from zoo.graph import Graph
from zoo.network import Network, build
from zoo.passes import PASSES, optimize
from zoo.specs import Spec, as_dict

Size = tuple[int, int]
OPSET = 13
ENERGY_S = 1.0
"""Seconds of runs over which energy is read, at least."""


@dataclass(frozen=True)
class Bench:
    """One network's times, in seconds a batch; throughput in images a second.

    memory_bytes: what running it added to the process at its peak, None where the system does not tell.
    power_w, energy_j (of a batch): None without a reading. predicted: of the latency, None without a device.
    """

    model: str
    spec: Spec
    size: Size
    timing: Timing
    throughput: float
    memory_bytes: int | None
    power_w: float | None
    energy_j: float | None
    predicted: Interval | None
    protocol: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """Plain values, as `zoo bench --json` prints them and `zoo device calibrate` reads them."""
        t, p = self.timing, self.predicted
        return {
            "model": self.model,
            "spec": as_dict(self.spec),
            "size": f"{self.size[1]}x{self.size[0]}",
            "latency_s": {"median": t.median_s, "low": t.low_s, "high": t.high_s},
            "throughput": self.throughput,
            "memory_bytes": self.memory_bytes,
            "power_w": self.power_w,
            "energy_j": self.energy_j,
            "predicted": None if p is None else {"mean": p.mean, "low": p.low, "high": p.high},
            "protocol": dict(self.protocol),
        }


@dataclass(frozen=True)
class _Prepared:
    """A network that is ready to be timed, its inputs, the file for a runtime that takes one, its graph as it was."""

    network: Network
    entries: list[torch.Tensor]
    model_file: bytes | None
    graph: Graph


@dataclass(frozen=True)
class _Measured:
    """What was timed, and its times; memory_bytes as of `Bench`; others_load: cores that other programs took."""

    sample: Sample
    timing: Timing
    memory_bytes: int | None
    others_load: float | None


def bench(
    model: str,
    spec: Spec,
    size: Size,
    settings: Settings,
    *,
    weights: Network | None = None,
    device: Device | None = None,
    clock_mhz: float | None = None,
    effort: Effort = Effort(limit_s=20.0, least=5),  # noqa: B008  # frozen
    meter: Counter | Sensor | None = None,
    max_spread: float = 0.25,
    optimized: bool = False,
) -> Bench:
    """Time a network on this machine: prepare it, run it until its quietest runs agree, read its power.

    Args:
        model: its name in the result.
        spec: the network.
        size: (height, width) of the input.
        settings: backend, threads and batch.
        weights: a module whose parameters it takes; by default they are random, and its normalisations those of the
            input.
        device: predicts the latency, for comparison.
        clock_mhz: of `device`; by default its own.
        effort: when timing ends.
        meter: reads power or energy; without one both are None.
        max_spread: largest relative difference of the quietest runs that is accepted.
        optimized: time it as `zoo.passes` rewrite it. What is predicted is of the network as it is.

    Raises:
        NegativeAnswer: runs of the same network lie farther apart than `max_spread`.
    """
    prepared = _prepare(spec, size, settings, weights, optimized=optimized)
    run = _measure(prepared, settings, effort)
    refuse_noise(model, run.timing.spread, max_spread)
    reading = _energy(run.sample, run.timing, meter) if meter else None
    watts = reading.watts if reading else None
    cost = predict(prepared.graph, device, clock_mhz, batch=settings.batch) if device else None
    return Bench(
        model=model,
        spec=spec,
        size=size,
        timing=run.timing,
        throughput=settings.batch / run.timing.median_s,
        memory_bytes=run.memory_bytes,
        power_w=watts,
        energy_j=None if watts is None else watts * run.timing.median_s,
        predicted=cost.latency_s if cost else None,
        protocol=_protocol(settings, run, reading, trained=weights is not None, optimized=optimized),
    )


def _prepare(spec: Spec, size: Size, settings: Settings, weights: Network | None, *, optimized: bool) -> _Prepared:
    """Build the network, give it weights, rewrite it, and write the file for a runtime that takes one."""
    network = build(spec, size)
    if weights is not None:
        network.load_state_dict(weights.state_dict())
        network.eval()
    entries = entries_of(network.graph, settings.batch)
    if weights is None:
        network = settled(network, entries)
    graph = network.graph
    if optimized:
        network = optimize(network)
    takes_file = settings.backend in ("onnxruntime", "openvino")
    return _Prepared(network, entries, _onnx(network, size, settings.batch) if takes_file else None, graph)


def _measure(prepared: _Prepared, settings: Settings, effort: Effort) -> _Measured:
    """Load the network into its runtime and time it, with the memory that both add."""
    before = _reset_peak(settings.backend)
    sample = network_sample(prepared.network, prepared.entries, settings, prepared.model_file)
    started = cpu_time()
    timing = time_of(sample, effort)
    load = others_load(started, cpu_time())
    return _Measured(sample, timing, _peak(settings.backend, before), load)


def _protocol(
    settings: Settings, run: _Measured, reading: Reading | None, *, trained: bool, optimized: bool
) -> dict[str, Any]:
    """How it was measured, as plain values."""
    now = conditions(settings.backend, settings.threads, settings.batch)
    return now.document() | {
        "precision": "fp32",
        "network": f"rewritten by {', '.join(PASSES)}" if optimized else AS_PUBLISHED,
        "weights": "trained" if trained else "untrained, normalised by the input",
        "input": "noise with the spectrum of photographs",
        "subnormals": "flushed",
        "statistic": "median of the quietest burst of runs, with its 90 % interval",
        "runs": run.timing.n,
        "spread": run.timing.spread,
        "others_load": None if run.others_load is None else round(run.others_load, 2),
        "power_covers": reading.covers if reading else None,
    }


def _onnx(network: Network, size: Size, batch: int) -> bytes:
    """The file that `zoo export` writes; with a free batch only where it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export_onnx(network, path, size=size, opset=OPSET, dynamic=batch > 1)
        return path.read_bytes()


def _energy(sample: Sample, timing: Timing, meter: Counter | Sensor) -> Reading:
    with measured(meter) as reading:
        for _ in range(max(3, round(ENERGY_S / timing.median_s))):
            sample()
    return reading


def _reset_peak(backend: str) -> int | None:
    """Forget the peak of memory so far; the memory in use now, or None where that is not told."""
    gc.collect()
    if backend == "torch-cuda":
        torch.cuda.reset_peak_memory_stats()
        return 0
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # memory that is free but still held would hide what is added
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return None
    return _status("VmRSS")


def _peak(backend: str, before: int | None) -> int | None:
    if backend == "torch-cuda":
        return int(torch.cuda.max_memory_allocated())
    peak = _status("VmHWM")
    return None if before is None or peak is None else max(0, peak - before)


def _status(name: str) -> int | None:
    """A size of this process in bytes."""
    try:
        text = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    sizes = [line.split()[1] for line in text.splitlines() if line.startswith(f"{name}:")]
    return 1024 * int(sizes[0]) if sizes else None
