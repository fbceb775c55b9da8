"""A mixture of Gaussians in the plane: wrong weights in 5000 rows, right ones in 100."""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import mnar_ebm
from experiments import markdown, settings
from experiments.benchmark.debiasing import baselines
from experiments.benchmark.debiasing.jobs import Job, Options, Record, mean_and_error
from mnar_ebm import data, debiasing, models
from mnar_ebm import inference as sampling
from mnar_ebm.data.datasets.toys import GaussianMixture, gaussian_mixture
from mnar_ebm.likelihoods import masked_log_prob
from mnar_ebm.tilted import FittedModel

WRONG_WEIGHTS = np.array([0.15, 0.25, 0.6])
NUM_SELECTED, NUM_UNBIASED, NUM_TEST = 5000, 100, 1000
NUM_DRAWS, NUM_PROPOSALS = 10_000, 100_000
SPACES = ("latent", "data", "joint")
COLUMNS = ("x0", "x1")
LEAST_DENSITY = 1e-3
HALF_WIDTH, NUM_NODES = 5.0, 201


def make_jobs(options: Options) -> list[Job]:
    """Return a job for each seed; the first draws the figure."""
    figures = [options.figures] + [None] * (options.num_seeds - 1)
    return [
        Job(f"mixture-{seed}", functools.partial(run, seed, figure))
        for seed, figure in enumerate(figures)
    ]


def run(seed: int, figures: pathlib.Path | None) -> Record:
    """Fit the base to the many rows, tilt it to the few, and compare with the truth."""
    truth = gaussian_mixture()
    many, few, test = draw_rows(seed)
    selected, unbiased = (data.make_table("mixture", COLUMNS, x) for x in (many, few))
    config = settings.config_from_flagfile("debias/mixture.cfg").replace(seed=seed)
    fitted, report = mnar_ebm.train(config, selected)
    plain = config.replace(tilt="none")
    fits: dict[str, tuple[FittedModel, Any]] = {
        "base": (fitted.base(), None),
        "fine-tuned": (baselines.fine_tune(fitted, unbiased), None),
        "few rows alone": (baselines.few_only(plain, unbiased), None),
        "reweighted (LFIW)": (
            mnar_ebm.train(plain, baselines.reweight(selected, unbiased, selected.x, seed))[0],
            None,
        ),
        "first tilt": (fitted, None),
    }
    for space in SPACES:
        start = fitted if space == "latent" else fitted.in_space(space)
        fits[f"{space} tilt"] = debiasing.debias(start, unbiased)
    results = {name: _judge(model, truth, test, seed) for name, (model, _) in fits.items()}
    for name, (model, found) in fits.items():
        if found is None:
            continue
        results[name] |= {
            "scale": found.tilt_scale,
            "ess_fraction": found.ess_fraction,
            "log_z": found.log_z,
            "log_z_standard_error": found.log_z_standard_error,
            "log_z_quadrature": _log_z_by_quadrature(model),
        }
    if figures is not None:
        _draw(fits["latent tilt"][0], selected.x, unbiased.x, figures / "debiasing-mixture.png")
    return {"seed": seed, "gain_of_first": report.bound_tilted - report.bound_base, **results}


def draw_rows(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the selected rows, the unbiased ones, and others of the truth. [N, 2] each."""
    rng = np.random.default_rng(seed)
    truth = gaussian_mixture()
    wrong = truth._replace(weights=WRONG_WEIGHTS)
    laws = ((wrong, NUM_SELECTED), (truth, NUM_UNBIASED), (truth, NUM_TEST))
    many, few, test = (law.sample(rng, count) for law, count in laws)
    return many, few, test


def _judge(fitted: FittedModel, truth: GaussianMixture, test: np.ndarray, seed: int) -> Record:
    """Return the error of the weights, by weights and by chains, and of the log-density."""
    key = jax.random.key(seed)
    model, params = fitted.model, fitted.params
    by_weights = sampling.sample_by_weights(key, model, params, NUM_DRAWS, NUM_PROPOSALS).x
    result = {"weights": _component_shares(fitted, truth, by_weights)}
    if model.tilt.reads_x or model.tilt.reads_z:
        space = "noise" if model.tilt.reads_x else "latent"
        by_chains = _draw_by_chains(key, model, params, space)
        result["weights_mala"] = _component_shares(fitted, truth, by_chains)
    result["kl"] = float(np.mean(truth.log_prob(test) - _log_density(fitted, test, seed)))
    grid = _grid()
    grid = grid[truth.log_prob(grid) > np.log(LEAST_DENSITY)]
    error = np.abs(truth.log_prob(grid) - _log_density(fitted, grid, seed))
    result["log_density_error"] = float(np.mean(error))
    return result


def _draw_by_chains(
    key: jax.Array, model: models.Model, params: models.Params, space: str
) -> jax.Array:
    """Return draws of chains of MALA in a space, one after the other. [C T, 2]."""
    chains = sampling.sample_by_chains(
        key, model, params, 100, 50, method="mala", space=space, num_steps=500, thin=10
    )
    return chains.x.reshape(-1, 2)


def _log_density(fitted: FittedModel, x: np.ndarray, seed: int) -> np.ndarray:
    """Return log p(x) of complete rows in original units, by importance sampling. [N]."""
    bound = fitted.impute(x, num_samples=1000, seed=seed).bound
    return bound + fitted.facts.standardiser.log_derivative(x).sum(axis=1)


def _component_shares(fitted: FittedModel, truth: GaussianMixture, x: jax.Array) -> list[float]:
    """Return the share of draws that each component is the likeliest to have made."""
    x = fitted.facts.standardiser.invert(np.asarray(x, np.float64))
    return _shares(truth, x).tolist()


def _shares(truth: GaussianMixture, x: np.ndarray) -> np.ndarray:
    one_each = np.eye(len(truth.weights))
    log_p = np.stack([truth._replace(weights=w + 1e-300).log_prob(x) for w in one_each])
    return np.bincount(log_p.argmax(axis=0), minlength=len(one_each)) / len(x)


def _grid() -> np.ndarray:
    """Return points of a grid over the plane. [G, 2]."""
    nodes = np.linspace(-HALF_WIDTH, HALF_WIDTH, 51)
    return np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)


def _log_z_by_quadrature(fitted: FittedModel) -> float | None:
    """Return log Z by the trapezoidal rule: over z, or over x of p(x) that is one over z."""
    model, params = fitted.model, fitted.params
    nodes = np.linspace(-HALF_WIDTH, HALF_WIDTH, NUM_NODES)
    z = jnp.asarray(np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2), jnp.float32)
    log_cell = 2 * np.log(nodes[1] - nodes[0])
    log_prior = models.log_prior(z) + log_cell
    if not model.tilt.reads_x:
        nothing = jnp.zeros((len(z), 2))
        return float(jax.nn.logsumexp(log_prior - models.energy(model, params, nothing, z)))
    if model.tilt.reads_z:
        return None  # an integral over four variables
    eta = model.vae.decode(params.base, z[::3])
    log_prior = log_prior[::3] - jax.nn.logsumexp(log_prior[::3])
    everything = jnp.ones(2, bool)

    @jax.jit
    def log_p(x: jax.Array) -> jax.Array:
        def one(x: jax.Array) -> jax.Array:
            log_likelihood = masked_log_prob(model.vae.likelihood, eta, x, everything)
            return jax.nn.logsumexp(log_prior + log_likelihood)

        return jax.lax.map(one, x, batch_size=16)

    energy = models.energy(model, params, z, jnp.zeros_like(z))
    return float(jax.nn.logsumexp(log_p(z) - energy + log_cell))


def make_text(records: Sequence[Record]) -> str:
    """Return a table of errors and one of log Z."""
    truth = gaussian_mixture()
    exact = _shares(truth, truth.sample(np.random.default_rng(0), 1_000_000))
    header = ("model", "error of weights", "by MALA", "log-density error", "KL", "ESS/N")
    names = [name for name in (records[0] if records else {}) if isinstance(records[0][name], dict)]
    few = [{"weights": _shares(truth, draw_rows(record["seed"])[1])} for record in records]
    rows = [("*the 100 rows themselves*", _error(few, "weights", exact), *["-"] * 4)]
    for name in names:
        own = [record[name] for record in records]
        rows.append(
            (
                name,
                *(_error(own, key, exact) for key in ("weights", "weights_mala")),
                *(mean_and_error([r[key] for r in own]) for key in ("log_density_error", "kl")),
                mean_and_error([r["ess_fraction"] for r in own if "ess_fraction" in r]),
            )
        )
    return "\n\n".join([markdown.table(header, rows), _log_z_table(records, names)])


def _error(results: Sequence[Record], key: str, exact: np.ndarray) -> str:
    """Return the largest error of a weight, over seeds."""
    return mean_and_error([np.abs(np.array(r[key]) - exact).max() for r in results if key in r], 3)


def _log_z_table(records: Sequence[Record], names: Sequence[str]) -> str:
    header = ("tilt", "seed", "log Z", "by quadrature", "standard errors apart")
    rows = []
    for name in names:
        for record in records:
            found = record[name]
            if found.get("log_z_quadrature") is None:
                continue
            gap = found["log_z"] - found["log_z_quadrature"]
            rows.append(
                (
                    name,
                    record["seed"],
                    f"{found['log_z']:.4f} ± {found['log_z_standard_error']:.4f}",
                    f"{found['log_z_quadrature']:.4f}",
                    f"{gap / found['log_z_standard_error']:+.1f}",
                )
            )
    return markdown.table(header, rows)


def _draw(fitted: FittedModel, selected: np.ndarray, few: np.ndarray, path: pathlib.Path) -> None:
    """Draw rows, samples before and after, and the energy over the latent."""
    key, model, params = jax.random.key(0), fitted.model, fitted.params
    invert = fitted.facts.standardiser.invert
    base, _ = models.sample_base(key, model.vae, params.base, 1000)
    tilted = sampling.sample_by_weights(key, model, params, 1000, NUM_PROPOSALS)
    panels = {
        "5000 selected rows": selected[:1000],
        "100 unbiased rows": few,
        "samples of the base": invert(np.asarray(base)),
        "samples of the tilted model": invert(np.asarray(tilted.x)),
    }
    figure, axes = plt.subplots(1, 5, figsize=(14, 3.1), layout="constrained")
    for axis, (title, x) in zip(axes, panels.items(), strict=False):
        axis.plot(x[:, 0], x[:, 1], ".", color="#222222", markersize=2)
        axis.set(title=title, xlim=(-5, 5), ylim=(-5, 5), aspect="equal")
    nodes = np.linspace(-3.5, 3.5, 101)
    z = jnp.stack(jnp.meshgrid(nodes, nodes), axis=-1)
    energy = models.energy(model, params, jnp.zeros_like(z), z)
    drawn = axes[-1].contourf(nodes, nodes, energy, levels=20, cmap="RdBu_r", alpha=0.7)
    axes[-1].plot(tilted.z[:, 0], tilted.z[:, 1], ".", color="#222222", markersize=2)
    axes[-1].set(title="energy, and latents after", xlim=(-3.5, 3.5), ylim=(-3.5, 3.5))
    axes[-1].set_aspect("equal")
    figure.colorbar(drawn, ax=axes[-1], label="nats")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
