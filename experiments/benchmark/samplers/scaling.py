"""What a step costs, over chains, steps and dimensions: it should grow in proportion.

Points are told with the seconds of a whole run; a slope of 1 between logarithms is proportion, and
one below 1 is a cost that small problems have whatever their size.
"""

import itertools
import math
import pathlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from experiments.benchmark.samplers import reference
from experiments.benchmark.samplers.targets import gaussian

__all__ = ["draw", "measure", "slopes"]

SAMPLERS = ("ula", "mala", "hmc")
AXES = {"chains": "chains, 100 dimensions", "large": "chains, 1,000 dimensions",
        "dim": "dimensions, 1,000 chains", "steps": "steps, 64 chains"}  # fmt: skip
"""The sweeps, each with what is swept and what is held."""

_NUM_REPEATS = 3
_NUMBERS_IN_A_RUN = 2e7  # positions times dimensions, so that a run takes some tenths of a second
_STEP_SIZES = {"ula": 0.005, "mala": 0.002, "hmc": 0.05}


def points(share: float) -> list[tuple[str, int, int, int]]:
    """List the sweeps' points: axis, chains, dimensions, steps."""

    def steps(num_chains: int, dim: int) -> int:
        return min(1000, max(4, int(share * _NUMBERS_IN_A_RUN / num_chains / dim)))

    most = max(100, int(10_000 * share))
    found = [("chains", c, 100, steps(c, 100)) for c in (10, 100, 1000, 10_000) if c <= most]
    found += [("large", c, 1000, steps(c, 1000)) for c in (100, 1000, 10_000) if c <= most]
    chains = min(1000, most)
    found += [("dim", chains, d, steps(chains, d)) for d in (10, 100, 1000)]
    return found + [("steps", 64, 100, t) for t in (10, 100, 1000, 10_000) if t <= most]


def measure(library: ModuleType, share: float, clock: Callable[[], float]) -> list[dict[str, Any]]:
    """Time each sampler at each point: the fastest of three runs after one that compiles."""
    told = []
    for sampler in SAMPLERS:
        for axis, num_chains, dim, num_steps in points(share):
            target = gaussian(dim)
            starts = reference.gaussian_draws(target, 0, num_chains, target.square)
            chains = library.chains(sampler, target, 10, _STEP_SIZES[sampler])
            run = chains.advance(starts.astype(np.float32), num_steps)
            run(0)
            told.append(
                {
                    "sampler": sampler,
                    "axis": axis,
                    "num_chains": num_chains,
                    "dim": dim,
                    "num_steps": num_steps,
                    "seconds": min(_time(run, seed, clock) for seed in range(_NUM_REPEATS)),
                }
            )
    return told


def _time(run: Callable[[int], Any], seed: int, clock: Callable[[], float]) -> float:
    started = clock()
    run(seed)
    return clock() - started


def sweep(told: list[dict[str, Any]], sampler: str, axis: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what is swept and the seconds: of a run over steps, of a step over all else."""
    field = {"large": "num_chains", "chains": "num_chains", "steps": "num_steps"}.get(axis, "dim")
    found = [point for point in told if point["sampler"] == sampler and point["axis"] == axis]
    sizes = np.array([point[field] for point in found], float)
    seconds = [p["seconds"] / (1 if axis == "steps" else p["num_steps"]) for p in found]
    return sizes, np.array(seconds)


def slopes(told: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[float, float]]:
    """Fit d log(seconds) / d log(size) over a whole sweep, and over its last two points."""
    found = {}
    for sampler in SAMPLERS:
        for axis in AXES:
            sizes, seconds = (np.log(values) for values in sweep(told, sampler, axis))
            if len(sizes) > 1:
                whole = np.polyfit(sizes, seconds, 1)[0]
                last = (seconds[-1] - seconds[-2]) / (sizes[-1] - sizes[-2])
                found[sampler, axis] = (float(whole), float(last))
    return found


def draw(told: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Draw the sweeps, logarithms on both axes, each beside a line of slope 1."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colours = dict(zip(SAMPLERS, ("#4477aa", "#cc6677", "#228833"), strict=True))
    figure, panels = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
    curves = (
        ("chains", {"chains": ", D = 100", "large": ", D = 1,000"}),
        ("dimensions, 1,000 chains", {"dim": ""}),
        ("steps, 64 chains of 100 dimensions", {"steps": ""}),
    )
    for panel, (title, axes) in zip(panels, curves, strict=True):
        for sampler, (axis, width) in itertools.product(SAMPLERS, axes.items()):
            sizes, seconds = sweep(told, sampler, axis)
            line = "s--" if axis == "large" else "o-"
            label = sampler.upper() + width
            panel.loglog(sizes, seconds, line, ms=3, color=colours[sampler], label=label)
        low, high = np.array(panel.get_xlim()), panel.get_ylim()
        start = math.exp(np.log(high).mean()) / math.sqrt(low[1] / low[0])
        panel.plot(low, start * low / low[0], ":", color="#888888", label="slope 1")
        panel.set(xlabel=title, ylim=high, xlim=low)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("seconds a step")
    panels[2].set_ylabel("seconds a run")
    panels[0].legend(frameon=False, fontsize=6)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
