"""Processor seconds of a step of torchebm's contrastive divergence, on the same net and batch.

Run by its path with the Python of an environment that has torchebm; it prints one line of JSON.
Its chains are unadjusted and persist; ours accept or reject as well.
"""

import json
import sys
import time

import torch
import torchebm
from torch import nn
from torchebm.core import BaseModel
from torchebm.losses import ContrastiveDivergence
from torchebm.samplers import LangevinDynamics


class Energy(BaseModel):
    """The plain net of images of 28 x 28 pixels, beside N(0, I)."""

    def __init__(self, channels: list[int]):
        """Make a convolution of stride 2 for each number of channels."""
        super().__init__()
        widths = zip([1, *channels], channels, strict=False)
        layers = [
            layer for one, two in widths for layer in (nn.Conv2d(one, two, 3, 2, 1), nn.SiLU())
        ]
        self.network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * 16, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return energies. [B, 784] -> [B]."""
        of_network = self.network(x.reshape(-1, 1, 28, 28)).squeeze(-1)
        return of_network + 0.5 * (x**2).sum(dim=1)


def main(batch_size: int, num_steps: int, step_size: float, times: int) -> None:
    """Take steps of training, and print what the fastest took."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    energy = Energy([16, 32, 32])
    sampler = LangevinDynamics(energy, step_size=step_size)
    loss_fn = ContrastiveDivergence(energy, sampler, k_steps=num_steps, persistent=True)
    optimiser = torch.optim.Adam(energy.parameters(), lr=2e-3)
    rows = torch.randn(batch_size, 784)
    spent = []
    for _ in range(times):
        started = time.process_time()
        optimiser.zero_grad()
        loss, _ = loss_fn(rows)
        loss.backward()
        optimiser.step()
        spent.append(time.process_time() - started)
    print(json.dumps({"version": torchebm.__version__, "step": min(spent[1:])}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), 0.01, int(sys.argv[3]))
