"""Benchmarks: the library against its peers and against the machine's limits, as ratios taken in one run."""
