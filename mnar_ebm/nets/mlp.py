"""A multi-layer perceptron, the one building block of all networks here."""

from flax import linen as nn

from mnar_ebm.types import Array

ACTIVATIONS = {"tanh": nn.tanh, "silu": nn.silu, "relu": nn.relu}


class MLP(nn.Module):
    """Dense layers with an activation between them.

    Attributes:
        features: units of each layer, the output last.
        activation: one of ``ACTIVATIONS``.
        zero_last: whether the last layer starts at zero, so that the output does.
    """

    features: tuple[int, ...]
    activation: str
    zero_last: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map ``[..., inputs]`` to ``[..., features[-1]]``."""
        for width in self.features[:-1]:
            x = ACTIVATIONS[self.activation](nn.Dense(width)(x))
        if self.zero_last:
            return nn.Dense(self.features[-1], kernel_init=nn.initializers.zeros_init())(x)
        return nn.Dense(self.features[-1])(x)
