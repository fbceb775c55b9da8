"""torchebm: its samplers on an energy of its own base class, on one thread."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchebm
from torchebm.core import BaseModel
from torchebm.losses import ContrastiveDivergence as TheirLoss
from torchebm.samplers import HamiltonianMonteCarlo, LangevinDynamics

from experiments.benchmark.samplers import effective_size
from experiments.benchmark.samplers.interface import (
    AdaptiveRun,
    Chains,
    ContrastiveDivergence,
    Draws,
)
from experiments.benchmark.samplers.targets import Target

VERSION = torchebm.__version__

torch.set_num_threads(1)
_DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class _Energy(BaseModel):
    """The energy -log p, with the target's constants as parameters."""

    def __init__(self, target: Target, trained: bool = False) -> None:
        super().__init__(device=_DEVICE)
        self.constants = torch.nn.ParameterDict(
            {
                name: torch.nn.Parameter(torch.tensor(value, device=_DEVICE), trained)
                for name, value in target.constants.items()
            }
        )
        self.logdensity = target.logdensity

    def forward(self, x: Any) -> Any:
        return -self.logdensity(self.constants, x, torch)


def _tensor(x: np.ndarray) -> Any:
    return torch.tensor(x, dtype=torch.float32, device=_DEVICE)


def _finish() -> None:
    if _DEVICE.type == "cuda":
        torch.cuda.synchronize()


def chains(
    sampler: str, target: Target, num_integration_steps: int, step_size: float
) -> Chains | None:
    """Run Langevin dynamics or HMC; torchebm has no MALA."""
    energy = _Energy(target)
    if sampler == "ula":
        algorithm = LangevinDynamics(energy, step_size=step_size, device=_DEVICE)
    elif sampler == "hmc":
        algorithm = _hmc(energy, step_size, num_integration_steps)
    else:
        return None

    def advance(starts: np.ndarray, num_steps: int) -> Callable[[int], Any]:
        x = _tensor(starts)

        def run(seed: int) -> Any:
            torch.manual_seed(seed)
            ends = algorithm.sample(x=x, n_steps=num_steps)
            _finish()
            return ends.cpu().numpy()

        return run

    def draw(seed: int, starts: np.ndarray, num_draws: int, thin: int) -> Draws:
        return _draws(algorithm, seed, starts, num_draws, thin, num_integration_steps)

    return Chains(advance, draw)


def _hmc(energy: Any, step_size: float, num_integration_steps: int) -> Any:
    return HamiltonianMonteCarlo(
        energy, step_size=step_size, n_leapfrog_steps=num_integration_steps, device=_DEVICE
    )


def _draws(
    algorithm: Any, seed: int, starts: np.ndarray, num_draws: int, thin: int, num_leaps: int
) -> Draws:
    torch.manual_seed(seed)
    is_hmc = isinstance(algorithm, HamiltonianMonteCarlo)
    positions, told = algorithm.sample(
        x=_tensor(starts),
        n_steps=num_draws * thin,
        thin=thin,
        return_trajectory=True,
        return_diagnostics=True,
    )
    rate = float(told["acceptance_rate"].mean()) if is_hmc else float("nan")
    num_gradients = num_leaps + 1 if is_hmc else 1  # its leapfrog keeps no gradient
    return Draws(positions.cpu().numpy(), rate, num_gradients=num_gradients)


def contrastive_divergence(
    target: Target, num_steps: int, step_size: float
) -> ContrastiveDivergence:
    """Differentiate their loss, without its penalty on large energies."""
    energy = _Energy(target, trained=True)
    sampler = LangevinDynamics(energy, step_size=step_size, device=_DEVICE)
    loss_fn = TheirLoss(energy, sampler, k_steps=num_steps, energy_reg_weight=0.0, device=_DEVICE)

    def gradient(data: np.ndarray) -> Callable[[int], Any]:
        x = _tensor(data)

        def run(seed: int) -> Any:
            torch.manual_seed(seed)
            energy.zero_grad()
            loss, negatives = loss_fn(x)
            loss.backward()
            _finish()
            gradient = {name: p.grad.cpu().numpy() for name, p in energy.constants.items()}
            return loss.item(), negatives.detach().cpu().numpy(), gradient

        return run

    return ContrastiveDivergence(gradient)


_STEP_SIZES = (0.02, 0.05, 0.1, 0.2, 0.5)


def adaptive(target: Target, num_warmup: int, num_draws: int) -> dict[str, AdaptiveRun]:
    """Offer HMC-10 with the best step size of a grid, for nothing adapts; the search is free."""
    energy = _Energy(target)
    rng = np.random.default_rng(0)
    starts = (0.1 * rng.normal(size=(4, target.dim))).astype(np.float32)

    def size(step_size: float) -> float:
        positions = _draws(_hmc(energy, step_size, 10), 0, starts, 200, 1, 10).positions
        return effective_size.smallest(positions[:, 50:])

    best = max(_STEP_SIZES, key=size)
    algorithm = _hmc(energy, best, 10)

    def run(seed: int, starts: np.ndarray) -> Draws:
        draws = _draws(algorithm, seed, starts, num_warmup + num_draws, 1, 10)
        return draws._replace(positions=draws.positions[:, num_warmup:])

    return {f"HMC-10, grid step {best}": run}
