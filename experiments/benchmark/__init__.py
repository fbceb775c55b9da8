"""Benchmarks: each prints what it measures, side by side with its peers in one run."""
