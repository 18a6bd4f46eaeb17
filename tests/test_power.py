"""What the published powers on a TX2 can tell at best."""

import numpy as np
import pytest
from scipy.optimize import linprog

from hw_models import load_device
from hw_models.analytic.features import BYTES, DISPATCHES, MACS
from hw_models.points import known_graph
from hw_models.predictors import predictor


def readings() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Watts beyond idle, shares of the whole reading, and rates of MACs, bytes, time and kernels, one row a reading."""
    device = load_device("tx2")
    seconds = {(p.network, p.clock_mhz): p.value for p in device.points if p.metric == "latency_s"}
    watts, rates, clocks = [], [], []
    for p in device.points:
        if p.metric == "power_w":
            terms = predictor(device, p.clock_mhz).terms(known_graph(p).layers)
            time = seconds[p.network, p.clock_mhz]
            watts.append(p.value)
            rates.append([terms[MACS] / time / 1e9, terms[BYTES] / time / 1e9, 1.0, terms[DISPATCHES] / time / 1e3])
            clocks.append(p.clock_mhz / device.clocks.default_mhz)
    return np.array(watts), np.array(rates), np.array(clocks)


def best_error(exponent: float) -> float:
    """Least mean relative error that energies of any size, none negative, have with all readings in view.

    A linear programme: the absolute errors are variables that bound the errors from both sides.
    """
    watts, rates, clocks = readings()
    idle, count = load_device("tx2").value("idle_power"), len(watts)
    scaled = rates * clocks[:, None] ** (exponent - np.array([1.0, 1.0, 0.0, 1.0])) / watts[:, None]
    missing = 1.0 - idle / watts
    bounds = np.block([[scaled, -np.eye(count)], [-scaled, -np.eye(count)]])
    cost = np.concatenate([np.zeros(rates.shape[1]), np.full(count, 1 / count)])
    return float(linprog(cost, bounds, np.concatenate([missing, -missing])).fun)


def test_no_sum_of_energies_explains_the_published_powers_of_the_tx2() -> None:
    # The aim on networks left out is 15 percent: not even networks that were seen reach it (docs/hardware.md).
    errors = [best_error(exponent) for exponent in np.arange(1.0, 5.0, 0.1)]
    assert 0.15 < min(errors) < 0.21


def test_with_every_networks_level_known_one_law_of_the_clock_leaves_six_percent() -> None:
    watts, _, _ = readings()
    growth = np.log(watts[3:] / watts[:3])
    assert np.exp(growth).round(1).tolist() == [2.2, 3.1, 2.3]
    # The median growth is the best for all; a level between a network's two readings halves what is left.
    assert np.abs(growth - np.median(growth)).mean() / 2 == pytest.approx(0.06, abs=0.01)
