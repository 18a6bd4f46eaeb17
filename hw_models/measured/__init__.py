"""The cost model of a device that `zoo measure` timed block by block."""
