"""Models as tuples of pure functions: the base VAE, the tilt, and the density they make."""

from mnar_ebm.models.model import (
    Model,
    Params,
    energy,
    init_params,
    joint_log_prob,
    log_prior,
    make_model,
    make_second_tilt,
    tilt_linearly,
    without_tilt,
)
from mnar_ebm.models.posterior import Encoded, Point, posterior
from mnar_ebm.models.tilt import Tilt, compose, linear_tilt, make_tilt, no_tilt
from mnar_ebm.models.vae import VAE, make_vae, sample_base

__all__ = [
    "VAE",
    "Encoded",
    "Model",
    "Params",
    "Point",
    "Tilt",
    "compose",
    "energy",
    "init_params",
    "joint_log_prob",
    "linear_tilt",
    "log_prior",
    "make_model",
    "make_second_tilt",
    "make_tilt",
    "make_vae",
    "no_tilt",
    "posterior",
    "sample_base",
    "tilt_linearly",
    "without_tilt",
]
