"""Latency, power and energy of a network on a device, each with an interval and with what it rests on.

Per kernel, `hw_models.analytic.roofline` gives the device time; `hw_models.analytic.features` makes latency and power
of a network of the sums over its kernels; energy is power times latency.

Everything that a network's cost needs is a sum over its kernels (`Predictor.terms`), so that a search
prices each distinct piece once and then only adds. `hw_models.predict` is the same sum with the kernels
listed.

The predictive distributions are log-normal. `mean` is their median, the central estimate; low and high
are equally likely to be passed. Three errors are added: the parameters' (their covariance, shared by
all kernels), each kernel's own, and the error that whole networks show when a fit has not seen them. A network
that was read is looked up, and one that is like it inherits its error (`hw_models.analytic.readings`).
"""

from collections.abc import Iterator, Sequence

import numpy as np

from hw_models.analytic.features import (
    BUSY,
    BUSY_SLOPE,
    BYTES,
    DEVICE,
    DISPATCHES,
    GRADIENT,
    MACS,
    RESTS,
    TERMS,
    VARIANCE,
    busy,
    latency_gradient,
    power_gradient,
)
from hw_models.analytic.published import readings_of
from hw_models.analytic.readings import Error, Known, Readings, same_network
from hw_models.analytic.residuals import Evidence, chip_of, row_model
from hw_models.analytic.roofline import INDEX, Timing, kernel_time
from hw_models.cost import METRICS, Array, CostArrays, KernelCost
from hw_models.device import POWER_PARAMETERS, Device
from hw_models.fusion import FUSING, Fused, fused
from hw_models.kernels import Work
from hw_models.normal import check_confidence, root_of, score, upper_tail
from hw_models.tables import PROVENANCES
from zoo.errors import ZooError
from zoo.graph import Layer
from zoo.statistics import t_quantile

RAMP = list(POWER_PARAMETERS).index("ramp")

PRIOR_WEIGHT = 2
"""Networks that the spread assumed before any was left out counts for (`hw_models.validate.left_out_sd`)."""

SIDE = 0.95
"""Probability of each bound of a 90 % interval."""


def networks_behind(device: Device, metric: str) -> int:
    """Families of networks whose published values calibrate a metric."""
    return len({p.group for p in device.points if p.metric == metric and p.use == "calibration"})


class Predictor:
    """Prices networks on one device at one clock and batch; made by `predictor`.

    `terms` is memoised by op and shapes, so that the pieces of a search space are cheap.

    >>> from hw_models.predictors import predictor
    >>> from zoo import lower
    >>> prices = predictor("tx2")
    >>> terms = prices.terms(lower("espnet-c", (512, 1024)).layers)  # they add up over parts of a network
    >>> cost = prices.finish(terms, confidence=0.9)
    >>> bool(cost.latency_s_low < cost.latency_s_mean < cost.latency_s_high)
    True
    >>> limit_s = float(prices.quantile(terms, "latency_s", 0.95))  # passed with probability 0.05
    >>> round(float(prices.exceeding(terms, "latency_s", limit_s)), 3)
    0.05
    """

    width = TERMS

    def __init__(self, device: Device, clock_mhz: float, batch: int) -> None:
        self.device = device
        self.clock_mhz = clock_mhz
        self.batch = batch
        self.theta = device.latency.theta.tolist()
        self._rows, self._chip = row_model(device), chip_of(device)
        self._freedom = {metric: PRIOR_WEIGHT + networks_behind(device, metric) for metric in ("latency_s", "power_w")}
        self._known: dict[tuple[object, ...], Array] = {}
        self._readings: dict[str, Readings] = {}

    def terms(self, layers: Sequence[Layer]) -> Array:
        """Additive statistics of consecutive layers, shape (width,); inputs cost nothing.

        Raises PriceError, naming layer and op, where an op has no price.
        """
        total = np.zeros(TERMS)
        for key, unit in self.units(layers):
            unit_terms = self._known.get(key)
            if unit_terms is None:
                unit_terms = self._known[key] = self.price(unit)
            total += unit_terms
        return total

    def units(self, layers: Sequence[Layer]) -> Iterator[tuple[tuple[object, ...], Fused | Layer]]:
        """What the terms of consecutive layers are a sum over, each with a key that tells its price at one clock.

        They are kernels where the stack fuses layers, and layers where it does not.
        """
        if self.device.stack in FUSING:
            for kernel in self._kernels(layers):
                yield (kernel.work, kernel.layers[0].op, kernel.layers[0].in_shapes), kernel
        else:
            yield from (((layer.op, layer.in_shapes), layer) for layer in layers)

    def price(self, unit: Fused | Layer) -> Array:
        """Terms of one unit, shape (width,); inputs cost nothing."""
        return self.price_kernel(self.kernel(unit))

    def kernel(self, unit: Fused | Layer) -> Fused | None:
        """The kernel of a unit, at any clock; inputs have none."""
        kernels = self._kernels((unit,)) if isinstance(unit, Layer) else [unit]
        return kernels[0] if kernels else None

    def price_kernel(self, kernel: Fused | None) -> Array:
        """Terms of a kernel, shape (width,)."""
        return np.zeros(TERMS) if kernel is None else self._price(kernel.work, kernel.layers)

    def _kernels(self, layers: Sequence[Layer]) -> list[Fused]:
        return fused(layers, self.device.stack, self.device.precision)

    def finish(self, terms: Array, confidence: float = 0.9) -> CostArrays:
        """Costs from terms of shape (..., width); arrays of shape (...)."""
        z = float(score(0.5 + check_confidence(confidence) / 2))
        parts = {name: (center, sd) for name, (center, sd) in self._distributions(terms).items()}
        bounds: dict[str, Array] = {}
        for name, (center, sd) in parts.items():
            bounds[f"{name}_mean"] = center
            bounds[f"{name}_low"], bounds[f"{name}_high"] = self._clip(
                name, center * np.exp(-z * sd), center * np.exp(z * sd)
            )
        return CostArrays(**bounds, fps=self.batch / bounds["latency_s_mean"])

    def quantile(self, terms: Array, metric: str, probability: float | Array) -> Array:
        """The value that `metric` stays below with this probability, one for all or (...) of them.

        Shape (...) for terms (..., width).
        """
        if isinstance(probability, float):
            check_confidence(probability)
        center, sd = self._distribution(terms, metric)
        value = center * np.exp(score(probability) * sd)
        return self._clip(metric, value, value)[0]

    def exceeding(self, terms: Array, metric: str, value: float | Array) -> Array:
        """Probability that `metric` is above a positive value in SI units; shape (...) for terms (..., width)."""
        center, sd = self._distribution(terms, metric)
        return self._cut_off(metric, value, upper_tail(np.log(value / center) / sd))

    def _cut_off(self, metric: str, value: float | Array, chance: Array) -> Array:
        """A probability of exceeding a value; power is never below idle nor above the limit."""
        if metric != "power_w":
            return chance
        idle, limit = self.device.idle_power(self.clock_mhz), self.device.value("power_limit")
        return np.where(np.asarray(value) < idle, 1.0, np.where(np.asarray(value) >= limit, 0.0, chance))

    @property
    def log_normal(self) -> bool:
        """Whether the logarithm of every metric is normal, with the variance that `errors` adds up to."""
        return True

    @property
    def metrics(self) -> tuple[str, ...]:
        """What can be predicted, with an interval, on this device."""
        return METRICS

    def errors(self, terms: Array, metric: str) -> tuple[Array, Array, Array]:
        """The error of the logarithm of `metric`, taken apart: median, loadings, and each network's own.

        Networks share the errors of the fitted parameters, so that their differences are better known than
        their levels: the logarithm of N networks is log(median) + loadings @ shared + own * independent, with
        standard normal `shared` (P,) of this device at any clock and `independent` (N,). Shapes (N,), (N, P), (N,).
        """
        center, sd = self._distribution(terms, metric)
        loadings = self._loadings(terms, metric)
        explained = (loadings**2).sum(axis=-1)
        # What is shared cannot exceed the whole, whatever else widens or narrows an interval.
        loadings = loadings * np.sqrt(np.minimum(1.0, sd**2 / np.maximum(explained, 1e-30)))[..., None]
        return center, loadings, np.sqrt(np.maximum(sd**2 - (loadings**2).sum(axis=-1), 0.0))

    def _loadings(self, terms: Array, metric: str) -> Array:
        """Loadings of the logarithm on the errors of the parameters of latency and, after them, of power."""
        by_latency = self._latency_error(terms, 1.0).slopes @ root_of(self.device.latency.covariance)
        by_power = self._power_error(terms, 1.0).slopes @ root_of(self.device.power.covariance)
        shares = {"latency_s": (1.0, 0.0), "power_w": (0.0, 1.0), "energy_j": (1.0, 1.0)}[metric]
        return np.concatenate([shares[0] * by_latency, shares[1] * by_power], axis=-1)

    def _distribution(self, terms: Array, metric: str) -> tuple[Array, Array]:
        if metric not in METRICS:
            raise ZooError(f"metric {metric!r} has no distribution; choose one of {', '.join(METRICS)}")
        if metric == "latency_s":
            return self._latency(terms, self._student("latency_s"))
        if metric == "power_w":
            return self._power(terms, self._student("power_w"))
        return self._distributions(terms)[metric]

    def kernel_costs(self, layers: Sequence[Layer]) -> tuple[KernelCost, ...]:
        """Every kernel in the order of execution, slower or faster than modelled by as much as its network."""
        terms = self.terms(layers)
        factor = float(self._latency(terms)[0] / self.modelled(terms))
        priced = [(kernel, self._timing(kernel.work, kernel.layers[0], factor)) for kernel in self._kernels(layers)]
        total = sum(timing.total_s for _, (timing, _) in priced)
        return tuple(self._kernel_cost(kernel, timing, evidence, total) for kernel, (timing, evidence) in priced)

    def host_bound(self, terms: Array) -> bool:
        """Whether the host's dispatch takes longer than the device."""
        return bool(self.host_seconds(terms) > terms[DEVICE])

    def provenance(self, terms: Array) -> dict[str, float]:
        """Shares of device time by what they rest on; a network that was read rests on that alone."""
        if self.read(terms, "latency_s"):
            return {"measured": 1.0}
        times = terms[RESTS]
        total = float(times.sum()) or 1.0
        return {name: float(t) / total for name, t in zip(PROVENANCES, times, strict=True) if t}

    def _clip(self, name: str, low: Array, high: Array) -> tuple[Array, Array]:
        if name != "power_w":
            return low, high
        idle, limit = self.device.idle_power(self.clock_mhz), self.device.value("power_limit")
        return np.clip(low, idle, limit), np.clip(high, idle, limit)

    def host_seconds(self, terms: Array) -> Array:
        """Time in which the host issues a frame's operations."""
        return np.asarray(terms[..., DISPATCHES] * np.exp(self.theta[INDEX["dispatch"]]))

    def _distributions(self, terms: Array) -> dict[str, tuple[Array, Array]]:
        """Median and standard deviation of the logarithm, by metric."""
        latency, latency_sd = self._latency(terms, self._student("latency_s"))
        power, power_sd = self._power(terms, self._student("power_w"))
        energy_sd = np.sqrt(latency_sd**2 + power_sd**2)
        return {
            "latency_s": (latency, latency_sd),
            "power_w": (power, power_sd),
            "energy_j": (power * latency, energy_sd),
        }

    def _student(self, metric: str) -> float:
        """Student's quantile over the normal one, which widens the error of a network that the fit has not seen.

        Its size is known from few networks. The ratio is that of a 90 % interval at every probability, so that the
        distributions stay log-normal, as the sliders of a report take them.
        """
        return t_quantile(SIDE, self._freedom[metric]) / float(score(SIDE))

    def _latency(self, terms: Array, wider: float = 1.0) -> tuple[Array, Array]:
        return self._latency_error(terms, wider).distribution(self.device.latency.covariance)

    def _power(self, terms: Array, wider: float = 1.0) -> tuple[Array, Array]:
        return self._power_error(terms, wider).distribution(self.device.power.covariance)

    def _latency_error(self, terms: Array, wider: float) -> "Error":
        gradient, time, variance = latency_gradient(terms, self.theta, self.device.value("frame_overhead"))
        kernels, network = variance / time**2, self.device.latency.network_sd
        bare = Error(time, gradient / time[..., None], kernels + (wider * network) ** 2)
        readings = self.readings("latency_s")
        return bare.inheriting(readings, terms, np.sqrt(kernels + network**2)).looked_up(readings, terms)

    def _power_error(self, terms: Array, wider: float) -> "Error":
        """The network's error and the readings' are of the dynamic power, the rest is certain."""
        dynamic, gradient = power_gradient(terms, self.modelled(terms), self.device, self.clock_mhz)
        network, idle = self.device.power.network_sd, self.device.idle_power(self.clock_mhz)
        bare = Error(dynamic, gradient / dynamic[..., None], np.full_like(dynamic, (wider * network) ** 2))
        inherited = bare.inheriting(self.readings("power_w"), terms, np.full_like(dynamic, network))
        power = np.minimum(idle + inherited.center, self.device.value("power_limit"))
        share = inherited.center / (idle + inherited.center)
        whole = Error(power, inherited.slopes * share[..., None], inherited.variance * share**2)
        return whole.looked_up(self.readings("power_w"), terms)

    def modelled(self, terms: Array) -> Array:
        """The model's own latency, no reading looked up: what the power of the model is energy over."""
        return latency_gradient(terms, self.theta, self.device.value("frame_overhead"))[1]

    def readings(self, metric: str) -> Readings:
        """Published readings of a metric, seen from this clock and batch."""
        if metric not in self._readings:
            self._readings[metric] = readings_of(self, metric)
        return self._readings[metric]

    def read(self, terms: Array, metric: str) -> Known | None:
        """What was read of one network itself at this clock and batch; None for energy, and where nothing was."""
        networks_read = self.readings(metric).known if metric != "energy_j" else ()
        return next((k for k in networks_read if same_network(terms, k.terms)), None)

    def unread(self, terms: Array, metric: str) -> float:
        """Part of the variance of one network's error that no reading of it, or of one like it, tells of."""
        if self.read(terms, metric):
            return 0.0
        inherited = self.readings(metric).inherited(terms) if metric != "energy_j" else None
        return 1.0 if inherited is None else float(inherited.left)

    def _timing(self, work: Work, layer: Layer, factor: float = 1.0) -> tuple[Timing, Evidence]:
        timing = kernel_time(work, self.theta, self._chip, self.clock_mhz * 1e6, self.batch)
        timing, evidence = self._rows.apply(timing, work, layer, self.clock_mhz, self.batch)
        return timing._replace(total_s=factor * timing.total_s), evidence

    def _price(self, work: Work, layers: tuple[Layer, ...]) -> Array:
        timing, evidence = self._timing(work, layers[0])
        out = np.zeros(TERMS)
        out[DEVICE] = timing.total_s
        out[DISPATCHES] = work.dispatches
        out[VARIANCE] = (timing.total_s * evidence.sd) ** 2
        out[MACS] = work.macs * self.batch
        out[BYTES] = timing.bytes_moved
        out[BUSY], out[BUSY_SLOPE] = busy(np.asarray(timing.total_s), float(np.exp(self.device.power.theta[RAMP])))
        out[GRADIENT] = timing.gradient
        out[RESTS.start + PROVENANCES.index(evidence.provenance)] = timing.total_s
        return out

    def _kernel_cost(self, kernel: Fused, timing: Timing, evidence: Evidence, total: float) -> KernelCost:
        peak = self.device.value("macs_per_cycle") * self.clock_mhz * 1e6
        bandwidth = self.device.value("memory_bandwidth")
        return KernelCost.of(
            kernel.layers[0].name,
            kernel.work.kind,
            macs=kernel.work.macs * self.batch,
            moved=timing.bytes_moved,
            seconds=timing.total_s,
            total_s=total,
            peaks=(peak, bandwidth),
            provenance=evidence.provenance,
        )
