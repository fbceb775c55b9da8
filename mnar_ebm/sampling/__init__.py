"""Samples of the tilted model: by weights, by chains, or by whichever can be relied on."""

from mnar_ebm.sampling.chains import METHODS, SPACES, ChainSamples, run_chain, sample_by_chains
from mnar_ebm.sampling.choice import Samples, sample
from mnar_ebm.sampling.weights import WeightedSamples, sample_by_weights

__all__ = [
    "METHODS",
    "SPACES",
    "ChainSamples",
    "Samples",
    "WeightedSamples",
    "run_chain",
    "sample",
    "sample_by_chains",
    "sample_by_weights",
]
