"""Prices of many pieces of networks at several clocks of one device, each distinct kernel priced once a clock."""

from collections.abc import Sequence

import numpy as np

from hw_models.analytic.predictor import Predictor
from hw_models.calibrated_predictor import CalibratedPredictor
from hw_models.cost import Array
from hw_models.fusion import Fused
from zoo.graph import Layer

Piece = tuple[Layer, ...]


def prices_of(pieces: Sequence[Piece], predictors: Sequence[Predictor]) -> list[Array]:
    """`Predictor.terms` of every piece, (pieces, width), for predictors of one device at its clocks."""
    published = [p.published if isinstance(p, CalibratedPredictor) else p for p in predictors]
    if not published or type(published[0]) is not Predictor:
        return [np.array([p.terms(piece) for piece in pieces]).reshape(-1, p.width) for p in published]
    return _by_kernel(pieces, published)


def _by_kernel(pieces: Sequence[Piece], predictors: Sequence[Predictor]) -> list[Array]:
    """What is priced depends on the stack and not on the clock, so that it is found once for all clocks."""
    unit_index: dict[object, int] = {}
    units: list[Fused | Layer] = []
    owner: list[int] = []
    unit_of: list[int] = []
    for i, piece in enumerate(pieces):
        for key, unit in predictors[0].units(piece):
            if key not in unit_index:
                unit_index[key] = len(units)
                units.append(unit)
            owner.append(i)
            unit_of.append(unit_index[key])
    out, kernels = [], [predictors[0].kernel(unit) for unit in units]
    for predictor in predictors:
        unit_terms = np.array([predictor.price_kernel(kernel) for kernel in kernels]).reshape(-1, predictor.width)
        table = np.zeros((len(pieces), predictor.width))
        np.add.at(table, np.array(owner, dtype=np.int64), unit_terms[np.array(unit_of, dtype=np.int64)])
        out.append(table)
    return out
