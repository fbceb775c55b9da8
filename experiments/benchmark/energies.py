"""Every objective on every density of the plane: KL(truth, model) by quadrature, and a figure.

python -m experiments.benchmark.energies --workdir=FOLDER --figure=FILE.png
python -m experiments.benchmark.energies --task=images --workdir=FOLDER --data_dir=FOLDER

One network of 2 x 128 units on the reference N(0, 2.5² I), energy within 50 nats of 0, is fitted to
50,000 rows by each objective with the same rate and batch, and a number of steps that takes about
as long. Both densities are normalised on a grid, so that no estimate of log Z enters the KL.
"""

import functools
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from absl import flags  # noqa: E402

from experiments import cli, markdown, settings  # noqa: E402
from experiments.benchmark import energies_images, runner  # noqa: E402
from mnar_ebm import _checks  # noqa: E402
from mnar_ebm.data.datasets import planar  # noqa: E402
from mnar_ebm.data.datasets.planar import PLANAR  # noqa: E402
from mnar_ebm.models import ebm as ebms  # noqa: E402
from mnar_ebm.models.ebm import EBM, EBMParams  # noqa: E402
from mnar_ebm.recipes import density  # noqa: E402
from mnar_ebm.recipes import ebm as recipe  # noqa: E402
from mnar_ebm.recipes.negatives import ChainSettings  # noqa: E402
from mnar_ebm.training import Loop, Pace, pad_rows  # noqa: E402

NUM_STEPS = {
    "nce": 4000,
    "pcd": 1000,
    "score_exact": 800,
    "score_denoising": 1500,
    "cd": 800,
    "energy_matching": 1200,
    "score_sliced": 800,
}
"""Of each objective, about as long each."""

TASK = flags.DEFINE_enum("task", "plane", ["plane", "images"], "Densities of the plane, or images.")
RUNS = flags.DEFINE_string("runs", "runs/energies", "Folder of the fits of images.")
PICTURES = flags.DEFINE_string("pictures", "docs/figures", "Folder of the figures of images.")
ONLY_TABLE = flags.DEFINE_bool("only_table", False, "Of images: the tables of what is done.")
NUM_SEEDS = flags.DEFINE_integer("num_seeds", 1, "Seeds, from 0.", lower_bound=1)
NUM_ROWS = flags.DEFINE_integer("num_rows", 50_000, "Rows to train on.", lower_bound=300)
HIDDEN = flags.DEFINE_integer("hidden_dim", 128, "Units of a hidden layer.", lower_bound=1)
OBJECTIVES = flags.DEFINE_list("objectives", list(NUM_STEPS), "Those that are fitted and shown.")
SHARE = flags.DEFINE_float("share", 1.0, "Of the steps of each objective.", lower_bound=0.0)
WORKDIR = flags.DEFINE_string("workdir", "runs/energies", "Folder of the records.")
SURFACES = flags.DEFINE_string("surfaces", "runs/energies", "Folder of what the figure shows.")
FIGURE = flags.DEFINE_string("figure", None, "File for the figure; none: it is not drawn.")
README = flags.DEFINE_string("readme", None, "Markdown file to put the table into.")
flags.declare_key_flag("data_dir")

BEGIN = "<!-- energies: python -m experiments.benchmark.energies -->"
END = "<!-- end of energies -->"

CHAINS = ChainSettings(num_chains=1024, num_steps=5, step_size=0.05)
SETTINGS = recipe.Settings(CHAINS, noise_ratio=4)
SCALE, BOUND, RATE, BATCH_SIZE, NUM_VALID, NUM_DRAWS = 2.5, 50.0, 1e-2, 256, 256, 1000
WANTED = 0.02
"""Largest KL divergence, in nats, that counts as a fit."""


def main() -> None:
    """Fit what is not yet fitted, then make the table and the figure."""
    if TASK.value == "images":
        return main_of_images()
    for objective in OBJECTIVES.value:
        _checks.check_choice("objectives", objective, NUM_STEPS)
    workdir = pathlib.Path(WORKDIR.value)
    cli.check_writable(workdir)
    path = workdir / "energies.jsonl"
    pathlib.Path(SURFACES.value).mkdir(parents=True, exist_ok=True)
    runner.check_settings(runner.done(path), described())
    jobs = [
        runner.Job(name_of(*one), functools.partial(measure, *one))
        for one in [
            (name, objective, seed)
            for seed in range(NUM_SEEDS.value)
            for objective in OBJECTIVES.value
            for name in PLANAR
        ]
    ]
    runner.run_all(jobs, path, lambda record: f"{record['job']}: {record['kl']:.4f} nats")
    done = runner.done(path)
    text = make_text([done[job.name] for job in jobs])
    print(text)
    if README.value is not None:
        markdown.replace_between(pathlib.Path(README.value), BEGIN, END, text)
    if FIGURE.value is not None:
        draw(pathlib.Path(FIGURE.value), done)


def main_of_images() -> None:
    """Do what is not yet done with images, then make the tables."""
    workdir = pathlib.Path(WORKDIR.value)
    cli.check_writable(workdir)
    folders = pathlib.Path(RUNS.value), pathlib.Path(PICTURES.value)
    bench = energies_images.Bench(settings.DATA_DIR.value, *folders)
    jobs = energies_images.make_jobs(bench, range(NUM_SEEDS.value))
    path = workdir / "energies_images.jsonl"
    if not ONLY_TABLE.value:
        runner.run_all(jobs, path)
    done = runner.done(path)
    text = energies_images.make_text([done[job.name] for job in jobs if job.name in done])
    print(text)
    if README.value is not None:
        ends = energies_images.BEGIN, energies_images.END
        markdown.replace_between(pathlib.Path(README.value), *ends, text)


def name_of(name: str, objective: str, seed: int) -> str:
    """Return the name of a job."""
    return f"{name} {objective} seed {seed}"


def described() -> dict[str, Any]:
    """Return the settings that a record depends on."""
    return {flag.name: flag.value for flag in (NUM_ROWS, HIDDEN, SHARE)}


def measure(name: str, objective: str, seed: int) -> dict[str, Any]:
    """Return the record of one model, and leave its surface for the figure."""
    key_pairs, key_init, key_fit, key_draws = jax.random.split(jax.random.key(seed), 4)
    reference = ebms.normal_reference((2,), SCALE)
    ebm = ebms.make_ebm(2, reference, HIDDEN.value, BOUND)
    truth, rng = PLANAR[name](), np.random.default_rng(seed)
    rows, held_out = (
        jnp.asarray(truth.sample(rng, num), jnp.float32) for num in (NUM_ROWS.value, NUM_VALID)
    )
    started = time.perf_counter(), time.process_time()
    if objective == "energy_matching":
        keys = jax.random.split(key_pairs)
        rows = recipe.pair_with_reference(keys[0], ebm, rows)
        held_out = recipe.pair_with_reference(keys[1], ebm, held_out)
    num_steps = max(round(SHARE.value * NUM_STEPS[objective]), 2)
    stages = recipe.make_stages(objective, ebm, SETTINGS, Pace(num_steps, RATE, "cosine"))
    start = ebms.init_params(key_init, ebm)
    loop = Loop(BATCH_SIZE, ema_decay=0.99, patience=num_steps)
    found = recipe.fit(key_fit, stages, start, pad_rows(rows), pad_rows(held_out), loop)
    spent = time.perf_counter() - started[0], time.process_time() - started[1]
    kl, log_z = divergence(truth, ebm, found.params)
    draws = _draws(ebm)(key_draws, found.params)
    save(name_of(name, objective, seed), ebm, found.params, draws.draws)
    last = found.records[-1]
    watched = ("energy_gap", "acceptance_rate", "chain_age", "leaps", "ess_share", "held_out")
    return {
        "density": name,
        "objective": objective,
        "seed": seed,
        "kl": kl,
        "log_z": log_z,
        "learned_log_z": float(found.params.log_z) if objective == "nce" else None,
        "is_lost": found.is_lost,
        "num_steps": num_steps,
        "fit_seconds": spent[0],
        "fit_cpu_seconds": spent[1],
        **{what: last[what] for what in watched if what in last},
        "settings": described(),
    }


def divergence(truth: planar.Toy, ebm: EBM, params: EBMParams) -> tuple[float, float]:
    """Return KL(truth, model) in nats and log Z of the model, by midpoints on [-9, 9]²."""
    points, area = planar.grid(300, 9.0)
    log_q = log_model(ebm, params, points)
    log_z = np.logaddexp.reduce(log_q) + np.log(area)
    log_p = truth.log_prob(points)
    return float(area * (np.exp(log_p) * (log_p - log_q + log_z)).sum()), float(log_z)


def log_model(ebm: EBM, params: EBMParams, points: np.ndarray) -> np.ndarray:
    """Return log p + log Z of points [N, 2]. [N]."""
    return np.asarray(_log_model(ebm)(params, jnp.asarray(points, jnp.float32)), np.float64)


@functools.cache
def _log_model(ebm: EBM) -> Any:
    return jax.jit(jax.vmap(functools.partial(ebms.log_unnormalised, ebm), (None, 0)))


@functools.cache
def _draws(ebm: EBM) -> Any:
    return jax.jit(lambda key, params: density.sample(key, ebm, params, NUM_DRAWS, num_steps=5))


def save(job: str, ebm: EBM, params: EBMParams, draws: jax.Array) -> None:
    """Leave -log p on a coarse grid, and draws, for the figure."""
    points, area = planar.grid(120, 5.5)
    log_q = log_model(ebm, params, points)
    log_p = (log_q - np.logaddexp.reduce(log_q) - np.log(area)).reshape(120, 120)
    np.savez(pathlib.Path(SURFACES.value) / f"{job}.npz", log_p=log_p, draws=np.asarray(draws))


def make_text(records: list[dict[str, Any]]) -> str:
    """Return the table of KL, those that fit in bold, and the one of what it took."""
    objectives = list(dict.fromkeys(one["objective"] for one in records))
    rows = []
    for name in PLANAR:
        cells = []
        for objective in objectives:
            of_seeds = [
                one["kl"]
                for one in records
                if (one["density"], one["objective"]) == (name, objective)
            ]
            mean = float(np.mean(of_seeds))
            cells.append(f"**{mean:.3f}**" if mean <= WANTED else f"{mean:.3f}")
        rows.append([name, *cells])
    of = {
        objective: [one for one in records if one["objective"] == objective]
        for objective in objectives
    }
    seconds = [f"{np.mean([one['fit_cpu_seconds'] for one in of[o]]):.0f}" for o in objectives]
    steps = [str(of[o][0]["num_steps"]) for o in objectives]
    rows += [["steps", *steps], ["CPU seconds, mean", *seconds]]
    table = markdown.table(["KL(truth, model), nats", *objectives], rows)
    far = [abs(one["learned_log_z"] - one["log_z"]) for one in of.get("nce", [])]
    if not far:
        return table
    return f"{table}\n\nLog Z learned by noise contrast is within {max(far):.3f} of quadrature."


def draw(path: pathlib.Path, done: dict[str, dict[str, Any]]) -> None:
    """Draw the truth, its draws and each model's energy, and draws of the best. Rows: densities."""
    objectives = OBJECTIVES.value
    columns = ["truth", "its draws", *objectives, "draws of the best"]
    figure, axes = plt.subplots(len(PLANAR), len(columns), figsize=(1.3 * len(columns), 11.6))
    points, _ = planar.grid(120, 5.5)
    for row, name in zip(axes, PLANAR, strict=True):
        truth, rng = PLANAR[name](), np.random.default_rng(0)
        found = {o: np.load(_surface(name_of(name, o, 0))) for o in objectives}
        kl = {objective: done[name_of(name, objective, 0)]["kl"] for objective in objectives}
        best = min(kl, key=lambda objective: kl[objective])
        _surface_panel(row[0], truth.log_prob(points).reshape(120, 120), name.replace("_", " "))
        _draws_panel(row[1], truth.sample(rng, NUM_DRAWS), "")
        for panel, objective in zip(row[2:], objectives, strict=False):
            _surface_panel(panel, found[objective]["log_p"], f"KL {kl[objective]:.3f}")
        _draws_panel(row[-1], found[best]["draws"], best.replace("_", " "))
    for panel, title in zip(axes[0], columns, strict=True):
        shown = panel.get_title()
        panel.set_title(f"{title.replace('_', ' ')}\n{shown}", fontsize=7)
    figure.tight_layout(pad=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _surface(job: str) -> pathlib.Path:
    path = pathlib.Path(SURFACES.value) / f"{job}.npz"
    if not path.is_file():
        raise ValueError(f"--surfaces: expected {path}, which a fit leaves, found none")
    return path


def _surface_panel(panel: Any, log_p: np.ndarray, title: str) -> None:
    """Show -log p from its least to 8 nats above."""
    energy = np.minimum(log_p.max() - log_p, 8.0)
    panel.imshow(energy.T, origin="lower", extent=(-5.5, 5.5) * 2, cmap="viridis_r", vmin=0, vmax=8)
    _finish(panel, title)


def _draws_panel(panel: Any, draws: np.ndarray, title: str) -> None:
    panel.scatter(*draws.T, s=0.4, color="black", linewidths=0)
    panel.set(xlim=(-5.5, 5.5), ylim=(-5.5, 5.5), aspect="equal")
    _finish(panel, title)


def _finish(panel: Any, title: str) -> None:
    panel.set(xticks=[], yticks=[])
    panel.set_title(title, fontsize=7, pad=2)


if __name__ == "__main__":
    cli.main(main)
