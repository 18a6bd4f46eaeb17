"""The contract of a cost predictor: additive terms, nested intervals, energy = power x time."""

from dataclasses import replace

import numpy as np

from hw_models.predictors import Predictor
from zoo.graph import Graph, Layer
from zoo.models.espnet import ESPNetSpec
from zoo.registry import lower


def renamed(layer: Layer, prefix: str) -> Layer:
    """A layer of a part of its own."""
    return replace(layer, name=f"{prefix}.{layer.name}", inputs=tuple(f"{prefix}.{name}" for name in layer.inputs))


class PredictorContract:
    """What holds for every predictor. `make` returns one at its default clock.

    clocks_mhz: clocks, ascending, at which it can be made; one where the device has no other. size: of the images of
    its test networks. metrics: those that the device predicts.

    >>> from hw_models.predictors import predictor
    >>> class TestTX2(PredictorContract):
    ...     def make(self, clock_mhz=None, batch=1):
    ...         return predictor("tx2", clock_mhz, batch)
    >>> TestTX2().test_terms_add_up()  # pytest runs all of them
    """

    clocks_mhz: tuple[float, ...] = ()
    size = (256, 512)
    metrics = ("latency_s", "power_w", "energy_j")

    def make(self, clock_mhz: float | None = None, batch: int = 1) -> Predictor:
        """A predictor."""
        raise NotImplementedError

    def graphs(self) -> tuple[Graph, ...]:
        """Networks that the device can price."""
        specs = (ESPNetSpec(variant="C", alpha3=3), ESPNetSpec(variant="C", alpha3=5), ESPNetSpec(variant="C", k=4))
        return tuple(lower(spec, self.size) for spec in specs)

    def test_terms_add_up(self) -> None:
        prices = self.make()
        first, second, _ = (graph.layers for graph in self.graphs())
        second = tuple(renamed(layer, "second") for layer in second)  # a stack that fuses tells layers by their names
        total = prices.terms(first) + prices.terms(second)
        np.testing.assert_allclose(prices.terms((*first, *second)), total, rtol=1e-9)

    def test_many_networks_are_priced_as_each_is(self) -> None:
        prices = self.make()
        terms = np.stack([prices.terms(graph.layers) for graph in self.graphs()])
        together = prices.finish(terms)
        for i, row in enumerate(terms):
            for metric in self.metrics:
                whole = getattr(together, f"{metric}_mean")
                np.testing.assert_allclose(whole[i], getattr(prices.finish(row), f"{metric}_mean"), rtol=1e-9)

    def test_no_networks_are_priced_as_well(self) -> None:
        prices = self.make()
        none = np.empty((0, prices.terms(self.graphs()[0].layers).shape[-1]))
        for metric in self.metrics:
            assert getattr(prices.finish(none), f"{metric}_mean").shape == (0,)
            assert prices.quantile(none, metric, np.empty(0)).shape == (0,)
            assert prices.exceeding(none, metric, 1.0).shape == (0,)
            assert all(len(part) == 0 for part in prices.errors(none, metric))

    def test_intervals_nest(self) -> None:
        prices = self.make()
        terms = np.stack([prices.terms(graph.layers) for graph in self.graphs()])
        narrow, wide = prices.finish(terms, 0.5), prices.finish(terms, 0.95)
        for metric in self.metrics:
            low, high = (getattr(wide, f"{metric}_{part}") for part in ("low", "high"))
            mean = getattr(wide, f"{metric}_mean")
            assert (low > 0).all() and (low <= mean).all() and (mean <= high).all()
            assert (low <= getattr(narrow, f"{metric}_low")).all()
            assert (high >= getattr(narrow, f"{metric}_high")).all()

    def test_energy_is_power_times_latency(self) -> None:
        prices = self.make()
        cost = prices.finish(prices.terms(self.graphs()[0].layers))
        np.testing.assert_allclose(cost.energy_j_mean, cost.power_w_mean * cost.latency_s_mean, rtol=1e-9)

    def test_quantiles_grow_with_the_probability(self) -> None:
        prices = self.make()
        terms = prices.terms(self.graphs()[0].layers)
        for metric in self.metrics:
            quantiles = [float(prices.quantile(terms, metric, p)) for p in (0.1, 0.5, 0.9)]
            assert quantiles == sorted(quantiles) and quantiles[0] < quantiles[2]

    def test_kernels_and_provenance_are_shares_of_the_whole(self) -> None:
        prices, graph = self.make(), self.graphs()[0]
        kernels = prices.kernel_costs(graph.layers)
        np.testing.assert_allclose(sum(kernel.share for kernel in kernels), 1, rtol=1e-9)
        np.testing.assert_allclose(sum(prices.provenance(prices.terms(graph.layers)).values()), 1, rtol=1e-9)
        assert sum(kernel.macs for kernel in kernels) >= graph.macs  # convolutions, and what else multiplies

    def test_a_faster_clock_is_no_slower(self) -> None:
        layers = self.graphs()[0].layers
        predictors = [self.make(clock) for clock in self.clocks_mhz]
        times = [float(prices.finish(prices.terms(layers)).latency_s_mean) for prices in predictors]
        assert times == sorted(times, reverse=True)
