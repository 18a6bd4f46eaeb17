"""Scores of networks on data sets."""
