"""A variational autoencoder of images: that of a table, with settings that suit pixels.

Training, gaps, tilts, draws and bounds are those of ``mnar_ebm.train``; an image is a row of pixels
from 0 to 1, and a missing pixel a missing cell.
"""

from typing import Any

from mnar_ebm.config import Config

DEFAULTS: dict[str, Any] = {
    "tilt": "none",
    "mechanism": "none",
    "likelihood": "bernoulli",
    "decoder": "mlp",
    "column_gain": False,
    "show_mask": False,
    "activation": "relu",
    "latent_dim": 8,
    "num_importance_samples": 1,
    "learning_rate": 1e-3,
    "standardise": "none",
}
"""Settings of images, where they are not those of a table."""


def config(**settings: Any) -> Config:
    """Return settings of a VAE of images, the defaults but for those that are told.

    Raises:
        TypeError: a setting is unknown, or of another type.
        ValueError: a setting may not be as it is.

    Examples:
        >>> lecture = config(hidden_dims=(256, 64), latent_dim=8)
        >>> lecture.model.widths, lecture.model.likelihood, lecture.model.tilt
        ((256, 64), 'bernoulli', 'none')
    """
    return Config(**DEFAULTS | settings)
