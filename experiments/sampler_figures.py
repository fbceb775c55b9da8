"""Draw the figures of docs/samplers.md, and fill in the numbers of its table.

python -m experiments.sampler_figures --output=docs/figures --page=docs/samplers.md
"""

import pathlib
from typing import Any

import jax
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from absl import flags  # noqa: E402

from experiments import cli, markdown, sampler_demos, sampler_targets  # noqa: E402
from experiments.sampler_demos import Outcome  # noqa: E402
from experiments.sampler_targets import Target  # noqa: E402
from mnar_ebm import samplers  # noqa: E402

OUTPUT = flags.DEFINE_string("output", "docs/figures", "Folder for the figures.")
PAGE = flags.DEFINE_string("page", None, "Page whose lines between the markers are replaced.")
NUM_DRAWS = flags.DEFINE_integer("num_draws", 1000, "Draws in a panel, of all chains; 40 or more.")
NUM_REPEATS = flags.DEFINE_integer("num_repeats", 20, "Estimates of log Z at each point.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of everything.")

BEGIN = "<!-- figures: python -m experiments.sampler_figures --page=docs/samplers.md -->"
END = "<!-- end of figures -->"

TITLES = {
    "ula": "ULA",
    "mala": "MALA",
    "hmc": "HMC",
    "elliptical_slice": "elliptical slice",
    "gibbs": "block Gibbs",
    "parallel_tempering": "parallel tempering",
    "replay": "replay buffer",
    "snis": "SNIS, resampled",
    "ais": "AIS, weighted",
    "smc": "SMC",
}
_FACTS = {
    "accepted": "accepted {:.2f}",
    "swapped": "least swapped {:.2f}",
    "age": "mean age {:.0f} steps",
    "temperatures": "{:.0f} temperatures",
    "ess": "min ESS {:.0f}",
    "rhat": "R-hat {:.2f}",
    "share": "ESS/N {:.2f}",
    "k": "Pareto k {:.2f}",
    "log_z": "log Z {:.2f}",
    "error": "± {:.2f}",
    "tv": "mode weights off by {:.2f}",
}
_COLUMNS = {  # and their digits
    "evaluations": 0,
    "accepted": 2,
    "ess": 0,
    "rhat": 2,
    "share": 2,
    "log_z": 2,
    "error": 2,
    "tv": 2,
    "variance": 2,
}
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#aa3377")
_NUM_TEMPERATURES = (1, 4, 16, 64)
_NUM_PATHS = 100


def main() -> None:
    """Draw every figure, and write the table."""
    if NUM_DRAWS.value < 40:
        raise ValueError(f"--num_draws: expected at least 40, got {NUM_DRAWS.value}")
    if NUM_REPEATS.value < 1:
        raise ValueError(f"--num_repeats: expected at least 1, got {NUM_REPEATS.value}")
    cli.check_seed(SEED.value)
    folder = pathlib.Path(OUTPUT.value)
    cli.check_writable(folder)
    key = jax.random.key(SEED.value)
    targets = (sampler_targets.banana(), sampler_targets.eight_gaussians())
    rows = []
    for name, run in sampler_demos.SAMPLERS.items():
        outcomes = [run(key, target, NUM_DRAWS.value) for target in targets]
        outcomes[1].facts.update(sampler_demos.mode_facts(outcomes[1]))
        draw_sampler(TITLES[name], targets, outcomes, folder / f"samplers-{name}.png")
        rows += [row(TITLES[name], *pair) for pair in zip(targets, outcomes, strict=True)]
    draw_log_z(key, targets, folder / "samplers-log_z.png")
    table = markdown.table(("sampler", "target", *_COLUMNS), rows)
    print(table)
    if PAGE.value is not None:
        markdown.replace_between(pathlib.Path(PAGE.value), BEGIN, END, table)


def draw_sampler(
    title: str, targets: tuple[Target, ...], outcomes: list[Outcome], path: pathlib.Path
) -> None:
    """Draw what a sampler drew over regions of the truth, with what it tells of itself."""
    with plt.rc_context({"font.size": 8}):
        figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.5), layout="constrained")
        figure.suptitle(title, weight="bold")
        for axis, target, outcome in zip(axes, targets, outcomes, strict=True):
            draw_regions(axis, target)
            size = outcome.draws.shape[1]
            areas = np.full(outcome.draws.shape[:2], 3.0)
            if outcome.weights is not None:
                areas = np.minimum(3.0 * size * outcome.weights, 60.0)
            for draws, area, colour in zip(outcome.draws, areas, _COLOURS, strict=False):
                axis.scatter(*draws.T, area, colour, alpha=0.6, linewidths=0)
            axis.set_title(f"{target.name}\n{in_words(outcome.facts)}", fontsize=8)
        figure.savefig(path, dpi=100)
        plt.close(figure)


def draw_regions(axis: Any, target: Target) -> None:
    """Shade the regions of highest density that hold 50, 90 and 99 % of the target."""
    exact = jax.vmap(target.sample_fn)(jax.random.split(jax.random.key(0), 20_000))
    levels = np.quantile(jax.vmap(target.logdensity_fn)(exact), (0.01, 0.1, 0.5))
    x, y = (np.linspace(*limits, 201) for limits in target.limits)
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    density = jax.vmap(jax.vmap(target.logdensity_fn))(jax.numpy.asarray(grid))
    axis.contourf(x, y, density, [*levels, np.inf], colors=["#eeeeee", "#d8d8d8", "#bbbbbb"])
    axis.set(xlim=target.limits[0], ylim=target.limits[1])


def draw_log_z(key: jax.Array, targets: tuple[Target, ...], path: pathlib.Path) -> None:
    """Draw the bracket of AIS and reverse AIS, and the bridge between, over the temperatures."""
    with plt.rc_context({"font.size": 8}):
        figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.2), layout="constrained")
        figure.suptitle(f"log Z from {_NUM_PATHS} paths each way", weight="bold")
        for axis, target in zip(axes, targets, strict=True):
            bracket = log_z_bracket(key, target, NUM_REPEATS.value)
            axis.axhline(target.log_z, color="#222222", linewidth=1, linestyle="--", label="exact")
            for (name, estimates), colour in zip(bracket.items(), _COLOURS, strict=False):
                mean, deviation = estimates.mean(axis=1), estimates.std(axis=1)
                axis.plot(_NUM_TEMPERATURES, mean, "o-", color=colour, markersize=3, label=name)
                axis.fill_between(
                    _NUM_TEMPERATURES, mean - deviation, mean + deviation, color=colour, alpha=0.15
                )
            axis.set(xscale="log", xlabel="temperatures", ylabel="log Z", title=target.name)
        axes[1].legend(frameon=False, loc="upper right")
        figure.savefig(path, dpi=100)
        plt.close(figure)


def log_z_bracket(key: jax.Array, target: Target, num_repeats: int) -> dict[str, np.ndarray]:
    """Estimate log Z upwards, downwards and by the bridge between, again and again.

    Returns:
        The estimates of each. [number of temperatures, R]
    """
    arguments = (target.base_logdensity_fn, target.log_weight_fn, target.kernel)

    def estimate(key: jax.Array, betas: jax.Array) -> tuple[jax.Array, ...]:
        key_up, key_exact, key_down = jax.random.split(key, 3)
        exact = jax.vmap(target.sample_fn)(jax.random.split(key_exact, _NUM_PATHS))
        up = samplers.ais(key_up, target.base_sample_fn, *arguments, betas, _NUM_PATHS)
        down = samplers.reverse_ais(key_down, exact, *arguments, betas)
        return up.log_z, down.log_z, samplers.bridge(up.log_w, down.log_w).log_z

    run = jax.jit(jax.vmap(estimate, (0, None)))
    keys = jax.random.split(key, num_repeats)
    columns = [run(keys, sampler_demos.ladder(number)) for number in _NUM_TEMPERATURES]
    names = ("AIS, up", "reverse AIS, down", "bridge of both")
    return dict(zip(names, np.swapaxes(columns, 0, 1), strict=True))


def in_words(facts: dict[str, float]) -> str:
    """Return the measured numbers as two lines of a title."""
    words = [form.format(facts[name]) for name, form in _FACTS.items() if name in facts]
    words = ", ".join(words).replace(", ±", " ±").split(", ")
    half = -(-len(words) // 2)
    return ", ".join(words[:half]) + "\n" + ", ".join(words[half:])


def row(title: str, target: Target, outcome: Outcome) -> list[str]:
    """Return the cells of a line of the table."""
    facts = outcome.facts
    cells = [f"{facts[name]:.{_COLUMNS[name]}f}" if name in facts else "-" for name in _COLUMNS]
    return [title, target.name, *cells]


if __name__ == "__main__":
    cli.main(main)
