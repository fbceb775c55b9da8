"""The tilted variational autoencoder of a table: its stages, its fit, and what is chosen."""

from mnar_ebm.tilted.all_rows import train_on, train_on_all_rows, train_on_bootstrap
from mnar_ebm.tilted.facts import TableFacts, table_facts
from mnar_ebm.tilted.fitted import FittedModel, make_batch, make_fitted, restore
from mnar_ebm.tilted.stages import make_stages
from mnar_ebm.tilted.tilt_scale import TiltReport, choose_tilt_scale

__all__ = [
    "FittedModel",
    "TableFacts",
    "TiltReport",
    "choose_tilt_scale",
    "make_batch",
    "make_fitted",
    "make_stages",
    "restore",
    "table_facts",
    "train_on",
    "train_on_all_rows",
    "train_on_bootstrap",
]
