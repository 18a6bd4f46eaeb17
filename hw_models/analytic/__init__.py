"""The cost model of shipped devices: rooflines, fitted to tables of kernels and calibrated on whole networks."""
