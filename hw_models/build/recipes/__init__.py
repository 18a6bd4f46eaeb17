"""Recipes of the shipped devices: numbers, tables, published points and priors of each.

A prior says what was known before the published whole-network points were seen, and how sure that was:
the tables were measured under other software stacks, and nearly no row has fewer than 32 channels.
"""

from collections.abc import Mapping

from hw_models.build.recipes.boards import recipe
from hw_models.build.recipes.common import Recipe
from hw_models.build.recipes.gtx960m import GTX960M
from hw_models.build.recipes.jetsons import JETSON_BOARDS
from hw_models.build.recipes.pis import PIS
from hw_models.build.recipes.titanx import TITANX
from hw_models.build.recipes.tx2 import TX2

RECIPES: Mapping[str, Recipe] = {
    made.name: made for made in (TX2, GTX960M, TITANX, *(recipe(board) for board in (*JETSON_BOARDS, *PIS)))
}
"""The shipped devices."""

__all__ = ["RECIPES", "Recipe"]
