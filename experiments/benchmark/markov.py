"""Markov random fields: the Ising model on a torus, couplings learned, and sweeps a second.

python -m experiments.benchmark.markov --workdir=FOLDER

*Torus*: chains of Gibbs by colours on 32 x 32 spins at the critical coupling, from uniform states;
the mean energy beside Kaufman's exact one, the mean magnetisation beside 0. The mean of its square
has no closed form at that size: it is held on 4 x 4 spins, by enumeration. Chains are independent,
so the standard error of a mean is that of the chains' means.

*Couplings*: an Ising model of 4 x 5 spins, couplings and fields learned from 10,000 exact draws by
the exact gradient, by persistent chains and by pseudo-likelihood. Distances are in standard errors:
Fisher's between the first two, the sandwich of the pseudo-likelihood where that has a part.

*Sweeps*: a second of CPU time, the fastest of five, with chains side by side, beside thrml (``pip
install thrml``; without it that is told and passed over). Both are held to the law of 4 x 4 spins
first.
"""

import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import cli, markdown
from experiments.benchmark import markov_tables, markov_thrml, runner
from mnar_ebm import diagnostics, markov, samplers
from mnar_ebm.markov import torus
from mnar_ebm.training import Loop, Pace, pad_rows, run_stages
from mnar_ebm.types import Array, Key, PyTree

NUM_SEEDS = flags.DEFINE_integer("num_seeds", 1, "Seeds, from 0.", lower_bound=1)
SIZE = flags.DEFINE_integer("size", 32, "Rows and columns of the torus.", lower_bound=3)
NUM_CHAINS = flags.DEFINE_integer("num_chains", 64, "Chains on the torus.", lower_bound=2)
NUM_DRAWS = flags.DEFINE_integer("num_draws", 1000, "Draws of each chain.", lower_bound=4)
THIN = flags.DEFINE_integer("thin", 20, "Sweeps from one draw to the next.", lower_bound=1)
NUM_ROWS = flags.DEFINE_integer("num_rows", 10_000, "Exact draws to learn from.", lower_bound=100)
NUM_STEPS = flags.DEFINE_integer("num_steps", 1500, "Steps of learning.", lower_bound=1)
WORKDIR = flags.DEFINE_string("workdir", "runs/markov", "Folder of the records.")
README = flags.DEFINE_string("readme", None, "Markdown file to put the tables into.")

BEGIN = "<!-- markov: python -m experiments.benchmark.markov -->"
END = "<!-- end of markov -->"

SETTINGS = (SIZE, NUM_CHAINS, NUM_DRAWS, THIN, NUM_ROWS, NUM_STEPS)
SHAPE = (4, 5)
"""Rows and columns of the lattice whose couplings are learned."""

CROWDS = (1, 64, 1000)
"""Chains side by side, of which the sweeps are timed."""

Draw = Callable[[Key, Array, int], Array]
"""``(key, states [C, N], number of sweeps) -> states``."""


def main() -> None:
    """Measure what is not yet done, then make the tables."""
    workdir = pathlib.Path(WORKDIR.value)
    cli.check_writable(workdir)
    path = workdir / "markov.jsonl"
    kinds = {"torus": on_torus, "couplings": learn}
    jobs = [
        runner.Job(f"{name} seed {seed}", functools.partial(measure, seed))
        for name, measure in kinds.items()
        for seed in range(NUM_SEEDS.value)
    ]
    jobs += [runner.Job(f"sweeps of {name}", functools.partial(race, name)) for name in METHODS]
    runner.check_settings(runner.done(path), described())
    failed = runner.run_all(jobs, path, catch=(ImportError,))
    done = runner.done(path)
    text = markov_tables.make_text([done[job.name] for job in jobs if job.name in done], failed)
    markdown.tell(text, README.value, BEGIN, END)


def described() -> dict[str, Any]:
    """Return the settings that a record depends on."""
    return {flag.name: flag.value for flag in SETTINGS}


def make_torus(size: int) -> markov.FactorGraph:
    """Return the Ising model on a torus at its critical coupling."""
    edges = markov.lattice_edges(size, size)
    return markov.ising(size**2, edges, torus.CRITICAL_COUPLING)


def on_torus(seed: int) -> dict[str, Any]:
    """Return energy and magnetisation on the torus, and the square of the latter on 4 x 4 spins."""
    key_large, key_small = jax.random.split(jax.random.key(seed))
    size = SIZE.value
    started = time.process_time()
    large = traces(key_large, make_torus(size), THIN.value)
    seconds = time.process_time() - started
    small = traces(key_small, make_torus(4), 1)
    exact, _ = torus.torus_energy(size, size, torus.CRITICAL_COUPLING)
    return {
        "seed": seed,
        "torus_seconds": seconds,
        "energy": compared(large["energy"], float(exact) / size**2),
        "magnetisation": compared(large["magnetisation"], 0.0),
        "square": compared(large["square"], None),
        "small_energy": compared(small["energy"], small_exact()["energy"]),
        "small_square": compared(small["square"], small_exact()["square"]),
        "settings": described(),
    }


def traces(key: Key, graph: markov.FactorGraph, thin: int) -> dict[str, np.ndarray]:
    """Return energy a spin, magnetisation and its square along chains, after a fifth. [C, T]."""
    key_start, key_sweeps = jax.random.split(key)
    position = markov.start(key_start, graph, NUM_CHAINS.value)
    num_draws = NUM_DRAWS.value

    @jax.jit
    def run(key: Key, graph: markov.FactorGraph) -> dict[str, Array]:
        keep = functools.partial(seen, graph)
        return samplers.sample(
            key,
            markov.gibbs(graph),
            position,
            num_draws,
            burn_in=num_draws * thin // 5,
            thin=thin,
            transform=lambda state, info: keep(state.position),
        )[1]

    return {name: np.asarray(value, float).T for name, value in run(key_sweeps, graph).items()}


def seen(graph: markov.FactorGraph, x: Array) -> dict[str, Array]:
    """Return energy a spin, magnetisation and its square. [..., N] -> [...]."""
    mean = 2.0 * x.mean(axis=-1) - 1.0
    energy = markov.energy(graph, x) / x.shape[-1]
    return {"energy": energy, "magnetisation": mean, "square": mean**2}


@functools.cache
def small_exact() -> dict[str, float]:
    """Return the means of ``seen`` on 4 x 4 spins, by enumeration."""
    graph = make_torus(4)
    x = markov.enumerate_states(graph)
    p = jnp.exp(-markov.energy(graph, x) - markov.log_z(graph))
    return {name: float(p @ value) for name, value in seen(graph, x).items()}


def compared(draws: np.ndarray, exact: float | None) -> dict[str, Any]:
    """Return mean, standard error of it, effective draws and R-hat of traces. [C, T]."""
    error = draws.mean(axis=1).std(ddof=1) / np.sqrt(len(draws))
    diagnosis = diagnostics.diagnose(draws)
    return {
        "mean": float(draws.mean()),
        "error": float(error),
        "exact": exact,
        "ess": float(diagnosis.ess_bulk),
        "rhat": float(diagnosis.rhat),
    }


def make_lattice(params: PyTree) -> markov.FactorGraph:
    """Return the Ising model that is learned."""
    edges = markov.lattice_edges(*SHAPE, wraps=False)
    return markov.ising(SHAPE[0] * SHAPE[1], edges, params["couplings"], params["fields"])


def learn(seed: int) -> dict[str, Any]:
    """Return how far three estimates are from each other and from the truth."""
    key_truth, key_rows, key_steps = jax.random.split(jax.random.key(seed), 3)
    num_nodes, num_edges = SHAPE[0] * SHAPE[1], len(markov.lattice_edges(*SHAPE, wraps=False))
    normal = jax.random.normal(key_truth, (num_edges + num_nodes,))
    truth = {"couplings": 0.4 * normal[:num_edges], "fields": 0.3 * normal[num_edges:]}
    rows = markov.sample(key_rows, make_lattice(truth), NUM_ROWS.value)
    found, seconds = {}, {}
    for phase in ("exact", "pcd", "pseudo"):
        started = time.process_time()
        found[phase] = fit(key_steps, phase, rows, jax.tree.map(jnp.zeros_like, truth))
        seconds[phase] = time.process_time() - started

    def likelihood(params: PyTree, x: Array) -> Array:
        return markov.likelihood_loss(make_lattice(params), x)

    def pseudo(params: PyTree, x: Array) -> Array:
        return -markov.pseudo_log_likelihood(make_lattice(params), x)

    errors = {
        "exact": markov.standard_errors(likelihood, found["exact"], rows),
        "pseudo": markov.standard_errors(pseudo, found["pseudo"], rows),
    }

    def far(one: PyTree, other: PyTree, by: str) -> list[float]:
        leaves = (one, other, errors[by])
        scaled = jax.tree.map(lambda a, b, error: (a - b) / error, *leaves)
        flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(scaled)])
        return [float(np.abs(flat).max()), float(np.sqrt((flat**2).mean()))]

    return {
        "seed": seed,
        "num_parameters": num_edges + num_nodes,
        "phase_seconds": seconds,
        "mean_error": {
            name: float(np.mean(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(each)])))
            for name, each in errors.items()
        },
        "exact and pcd": far(found["exact"], found["pcd"], "exact"),
        "exact and pseudo": far(found["exact"], found["pseudo"], "pseudo"),
        "pcd and pseudo": far(found["pcd"], found["pseudo"], "pseudo"),
        "of truth": {
            phase: far(found[phase], truth, "pseudo" if phase == "pseudo" else "exact")
            for phase in found
        },
        "settings": described(),
    }


def fit(key: Key, phase: str, rows: Array, start: PyTree) -> PyTree:
    """Return the parameters that a phase learns from all rows at once."""
    num_steps = NUM_STEPS.value if phase == "pcd" else max(1, NUM_STEPS.value // 5)
    pace = Pace(num_steps, 0.02 if phase == "pcd" else 0.05, "cosine")
    stage = markov.make_stage(markov.PhaseSettings(phase), pace, start, make_lattice)
    nothing = pad_rows(rows[:0])
    keys = [tuple(jax.random.split(key))]
    *_, end = run_stages(Loop(len(rows)), [stage], start, pad_rows(rows), nothing, keys)
    return end.params


def our_draw(size: int) -> Draw:
    """Return our sweeps on a torus."""
    graph = make_torus(size)
    return lambda key, x, num_sweeps: markov.draw(key, graph, x, num_sweeps)


def their_draw(size: int) -> Draw:
    """Return thrml's sweeps on a torus."""
    graph = make_torus(size)
    edges = markov.lattice_edges(size, size)
    return markov_thrml.make_draw(
        size**2, edges, torus.CRITICAL_COUPLING, markov.colour(graph.structure)
    )


METHODS = {"mnar_ebm": our_draw, "thrml": their_draw}


def race(name: str) -> dict[str, Any]:
    """Return sweeps a second of CPU time, of a method that was held to the law of 4 x 4 spins."""
    law = hold_to_law(METHODS[name](4))
    draw, size = METHODS[name](SIZE.value), SIZE.value
    rates = {}
    for count in CROWDS:
        num_sweeps = max(20, 4000 // count)
        x = markov.start(jax.random.key(0), make_torus(size), count)
        spent = []
        for number in range(6):  # the first compiles
            started = time.process_time()
            jax.block_until_ready(draw(jax.random.key(number), x, num_sweeps))
            spent.append(time.process_time() - started)
        rates[str(count)] = count * num_sweeps / min(spent[1:])
    version = markov_thrml.version() if name == "thrml" else ""
    return {"name": name, "version": version, "law": law, "rates": rates, "settings": described()}


def hold_to_law(draw: Draw, num_chains: int = 4000) -> dict[str, float]:
    """Return standard errors between chains after 200 sweeps and the exact law of 4 x 4 spins.

    Raises:
        ValueError: a mean is more than 5 of them off.
    """
    graph = make_torus(4)
    key_start, key_draw = jax.random.split(jax.random.key(1))
    x = draw(key_draw, markov.start(key_start, graph, num_chains), 200)
    far = {}
    for name, values in seen(graph, x).items():
        error = float(values.std()) / np.sqrt(num_chains)
        far[name] = (float(values.mean()) - small_exact()[name]) / error
        if abs(far[name]) > 5:
            raise ValueError(f"{name}: expected the exact mean, got it {far[name]:.1f} errors off")
    return far


if __name__ == "__main__":
    cli.main(main)
