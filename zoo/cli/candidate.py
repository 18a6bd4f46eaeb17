"""`RUN#RANK` as a network with the weights that a study trained."""

from typing import TYPE_CHECKING, Any

from zoo.cli.trained import module_of

if TYPE_CHECKING:
    from search.runs.weights import TrainedWeights


def candidate_of(text: str) -> "tuple[Any, TrainedWeights] | None":
    """The candidate's network and where its weights are from; None where its search trained none.

    Raises ConfigError where the weights are missing or others than those that were trained.
    """
    from search.runs.weights import trained_weights

    weights = trained_weights(text)
    if weights is None:
        return None
    module, labels, _ = module_of(str(weights.path))
    module.labels = labels.name
    return module, weights
