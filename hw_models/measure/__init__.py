"""Timing blocks and networks on the present machine, and reading what other tools measured."""
