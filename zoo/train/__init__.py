"""Training: recipes, losses, transfer of weights, checkpoints, and the loop."""
