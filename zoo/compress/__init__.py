"""Smaller and narrower forms of a trained network: channels removed, numbers of fewer bits."""
