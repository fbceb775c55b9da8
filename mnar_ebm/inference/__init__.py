"""Inference in a fitted density: imputation, sampling, and log-densities for any sampler."""

from mnar_ebm.inference import targets
from mnar_ebm.inference.chains import METHODS, SPACES, ChainSamples, run_chain, sample_by_chains
from mnar_ebm.inference.imputation import Imputation, impute, impute_by_chains, impute_row
from mnar_ebm.inference.sampling import Samples, sample
from mnar_ebm.inference.weights import WeightedSamples, sample_by_weights

__all__ = [
    "METHODS",
    "SPACES",
    "ChainSamples",
    "Imputation",
    "Samples",
    "WeightedSamples",
    "impute",
    "impute_by_chains",
    "impute_row",
    "run_chain",
    "sample",
    "sample_by_chains",
    "sample_by_weights",
    "targets",
]
