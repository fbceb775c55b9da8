"""Rows that are images: their shape, their units, and networks that read them."""

from typing import NamedTuple

import numpy as np

from mnar_ebm.data.table import Standardiser
from mnar_ebm.models.ebm import Network, image_network
from mnar_ebm.nets.convolution import image_shape


class ImageSettings(NamedTuple):
    """How a convolutional network is made.

    Attributes:
        num_channels: of the first convolution; the others have twice as many.
        num_halvings: convolutions, or blocks, each of which halves the image.
        is_normalised: whether kernels have spectral norm at most 1.
    """

    num_channels: int
    num_halvings: int
    is_normalised: bool

    def network(self, kind: str, num_columns: int, num_outputs: int = 1) -> Network:
        """Return the network of rows of so many pixels, always the same for equal arguments."""
        channels = (self.num_channels, *[2 * self.num_channels] * (self.num_halvings - 1))
        return image_network(
            kind, image_shape(num_columns), channels, num_outputs, self.is_normalised
        )


def standardiser(x: np.ndarray) -> Standardiser:
    """Return the map to mean 0 and sd 1 of all pixels together: an edge stays darker. [N, D]."""
    num_columns = x.shape[1]
    scale = float(x.std()) or 1.0
    return Standardiser(np.full(num_columns, x.mean()), np.full(num_columns, scale))
