"""Lowering of a whole search space at once."""
