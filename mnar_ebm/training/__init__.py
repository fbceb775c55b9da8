"""Training: the stages, the loop over their steps, checkpoints, and the choice of the tilt."""

from mnar_ebm.training.all_rows import train_on_all_rows, train_on_bootstrap
from mnar_ebm.training.fitted import FittedModel
from mnar_ebm.training.loop import NonFiniteLossError
from mnar_ebm.training.run import InterruptedTraining, check, load, train
from mnar_ebm.training.tilt_scale import TiltReport
from mnar_ebm.training.unbiased import UnbiasedReport, debias

__all__ = [
    "FittedModel",
    "InterruptedTraining",
    "NonFiniteLossError",
    "TiltReport",
    "UnbiasedReport",
    "check",
    "debias",
    "load",
    "train",
    "train_on_all_rows",
    "train_on_bootstrap",
]
