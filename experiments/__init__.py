"""Commands: train, impute, sample, evaluate, and the benchmarks."""
