"""Energies of images: what long chains draw, classifiers read as densities, halves filled.

python -m experiments.benchmark.energies --task=images --data_dir=FOLDER --workdir=FOLDER

One small plain net on 10,000 images and 2000 steps of 64 rows. A fit is kept under --runs, so that
a killed benchmark goes on where it stopped; a record is left for each piece of work.
"""

import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import figures, judge, markdown, systems
from experiments.benchmark import runner
from mnar_ebm import data, metrics
from mnar_ebm.data.datasets import labelled
from mnar_ebm.data.datasets.labelled import Labelled, Parts
from mnar_ebm.models import ebm as ebms
from mnar_ebm.models.ebm import EBMParams
from mnar_ebm.recipes import density, jem, negatives, points
from mnar_ebm.recipes.fitted import FittedDensity
from mnar_ebm.recipes.negatives import ChainSettings

NUM_ROWS, NUM_STEPS, BATCH_SIZE = 10_000, 2000, 64
SETS = ("mnist", "fashion_mnist")
LABELS = (0, 1000, 100)
"""Labels that classifiers are told; 0: all."""

WEIGHT = 0.01
"""Of log p(x) beside log p(y|x)."""

NUM_CHAINS = 64
NUM_INPAINTED, NUM_FILLINGS, FILL_STEPS = 20, 19, 1000

BEGIN = "<!-- energies-images: python -m experiments.benchmark.energies --task=images -->"
END = "<!-- end of energies-images -->"

COMMON: dict[str, Any] = {
    "network": "plain",
    "num_halvings": 3,
    "data_noise": 0.3,
    "reference_scale": 1.0,
    "batch_size": BATCH_SIZE,
    "num_steps": NUM_STEPS,
    "learning_rate": 2e-3,
    "patience": 1000,
    "validation_fraction": 0.05,
}


class Bench:
    """Where the images are and the fits go."""

    def __init__(self, data_dir: str | None, runs: pathlib.Path, pictures: pathlib.Path):
        """Remember the folders; images are read when they are asked for."""
        self.runs, self.pictures = runs, pictures
        self.parts: Callable[[str], Parts] = functools.cache(functools.partial(_load, data_dir))
        self.judge = functools.cache(lambda name: judge.make_judge(self.parts(name)))

    def density(self, name: str, objective: str, seed: int) -> FittedDensity:
        """Return the energy of a set that an objective fits."""
        told = {"energy_bound": 5000.0, "num_chain_steps": 20, "objective": objective}
        config = points.Config(**COMMON, **told, seed=seed)
        short = {"energy_matching": "matching"}.get(objective, objective)
        workdir = _folder(self.runs / f"{short}-{name}-{seed}")
        return points.train(config, _table(name, self.parts(name).train), workdir, resume=True)

    def classifier(
        self, name: str, num_labels: int, weight: float, seed: int
    ) -> jem.FittedClassifier:
        """Return the classifier of a set, with a density or without."""
        told = {"num_chain_steps": 10, "density_weight": weight, "num_labels": num_labels}
        config = jem.Config(**COMMON, **told, seed=seed)
        kind = "jem" if weight else "plain"
        workdir = _folder(self.runs / f"{kind}-{name}-{num_labels or 'all'}-{seed}")
        train = self.parts(name).train
        return jem.train(config, _table(name, train), train.label, workdir, resume=True)


def make_jobs(bench: Bench, seeds: range) -> list[runner.Job]:
    """Return the pieces of work, those that others rest on first."""
    jobs = [runner.Job("time of a step", step_time)]
    for seed in seeds:
        for objective in ("pcd", "energy_matching"):
            job = functools.partial(long_run, bench, "mnist", objective, seed)
            jobs.append(runner.Job(f"{objective} mnist seed {seed}", job))
        job = functools.partial(inpaint, bench, "mnist", seed)
        jobs.append(runner.Job(f"inpainting mnist seed {seed}", job))
        for name in SETS:
            for num_labels in LABELS if name == "mnist" else (0,):
                for weight in (0.0, WEIGHT):
                    kind = "jem" if weight else "plain"
                    job = functools.partial(classify, bench, name, num_labels, weight, seed)
                    title = f"{kind} {name} {num_labels or 'all'} labels seed {seed}"
                    jobs.append(runner.Job(title, job))
    return jobs


def long_run(bench: Bench, name: str, objective: str, seed: int) -> dict[str, Any]:
    """Return the energy and the measures of chains that start at the reference and go on."""
    fitted, reader = bench.density(name, objective, seed), bench.judge(name)
    keys = jax.random.split(jax.random.key(seed), NUM_CHAINS)
    start = jax.vmap(fitted.ebm.sample_reference)(keys)
    found, shown = {}, []
    for steps, draws in fitted.long_run(start, seed):
        images = fitted.shown(draws)
        found[str(steps)] = {"energy": fitted.mean_energy(draws), **reader.measure(images)}
        shown.append(images[:16])
    rows = bench.parts(name).test.x[:NUM_CHAINS]
    noisy = fitted.as_fitted(fitted.standardise(rows))
    style = {"cmap": "gray_r", "vmin": 0, "vmax": 1}
    steps_of = [f"{steps} steps" for steps in found]
    if seed == 0:
        picture = bench.pictures / f"energies_images_{objective}.png"
        figures.draw_images(
            np.concatenate([rows[:16], *shown]), picture, 16, style, ["data", *steps_of]
        )
    return {
        "kind": "long_run",
        "what": objective,
        "set": name,
        "seed": seed,
        "long_run": found,
        "energy_of_data": fitted.mean_energy(noisy),
        "of_as_many_images": reader.measure(rows),
        "floor_of_fid": reader.floor,
        "reader_accuracy": reader.accuracy,
    }


def classify(bench: Bench, name: str, num_labels: int, weight: float, seed: int) -> dict[str, Any]:
    """Return accuracy and calibration on the test, and how well the other set is told apart."""
    fitted, commands = bench.classifier(name, num_labels, weight, seed), systems.named(jem.SYSTEM)
    test = bench.parts(name).test
    (other,) = (one for one in SETS if one != name)
    found: dict[str, Any] = {}
    if not num_labels:
        outside = bench.parts(other).test.x[:2000]
        found["detection"] = commands.detections(fitted, test.x[:2000], {other: outside})[other]
    return {
        "kind": "classify",
        "what": "jem" if weight else "plain",
        "set": name,
        "num_labels": num_labels,
        "seed": seed,
        **commands.decisions(fitted, test),
        **found,
    }


def inpaint(bench: Bench, name: str, seed: int) -> dict[str, Any]:
    """Return what fillings of lower halves are worth, by the energy that pcd has fitted."""
    fitted, reader, test = (
        bench.density(name, "pcd", seed),
        bench.judge(name),
        bench.parts(name).test,
    )
    rows, labels = test.x[:NUM_INPAINTED], test.label[:NUM_INPAINTED]
    mask = np.arange(784) < 392
    noisy = fitted.as_fitted(fitted.standardise(rows))
    draws = []
    for key, row in zip(jax.random.split(jax.random.key(seed), len(rows)), noisy, strict=True):
        filled = density.inpaint(
            key, fitted.ebm, fitted.params, jnp.asarray(row), mask, NUM_FILLINGS, FILL_STEPS
        )
        draws.append(np.where(mask, rows[len(draws)], fitted.shown(filled.draws)))
    completed = np.stack(draws)  # [N, M, D]
    every = completed.reshape(-1, 784)
    seen = reader.read(every).labels.reshape(len(rows), NUM_FILLINGS)
    of_halves = reader.read(np.where(mask, rows, 0.0)).labels
    mean = completed.mean(axis=1)
    shown = np.broadcast_to(mask, rows.shape)
    is_grey = ~shown & (rows > 0)
    if seed == 0:
        style = {"cmap": "gray_r", "vmin": 0, "vmax": 1}
        torn = np.where(mask, rows, 0.5)
        picture = [rows[:10], torn[:10], *(completed[:10, draw] for draw in range(4))]
        path = bench.pictures / "energies_images_inpainting.png"
        labels_ = ["data", "shown", "draws", "", "", ""]
        figures.draw_images(np.concatenate(picture), path, 10, style, labels_)
    return {
        "kind": "inpaint",
        "what": "pcd",
        "set": name,
        "seed": seed,
        "accuracy": float((seen == labels[:, None]).mean()),
        "accuracy_of_whole": float((reader.read(rows).labels == labels).mean()),
        "accuracy_of_halves": float((of_halves == labels).mean()),
        "coverage": metrics.interval_coverage(completed, rows, shown),
        "coverage_of_grey": metrics.interval_coverage(completed, rows, ~is_grey),
        "psnr": float(-10 * np.log10(((mean - rows)[:, ~mask] ** 2).mean())),
    }


def step_time() -> dict[str, Any]:
    """Return processor seconds of the chains of a step, and of the gradients that they need."""
    config = points.Config(**COMMON, energy_bound=5000.0, num_chain_steps=20)
    ebm = points.make_model(config, 784)
    params = EBMParams(ebm.init(jax.random.key(0)), jnp.zeros(()))
    rows = jax.random.normal(jax.random.key(1), (BATCH_SIZE, 784))
    chains = ChainSettings("mala", BATCH_SIZE, 20)

    def gradients(rows: Any) -> Any:
        each = jax.vmap(jax.value_and_grad(functools.partial(ebms.log_unnormalised, ebm, params)))

        def step(rows: Any, _: None) -> tuple[Any, Any]:
            value, gradient = each(rows)
            return rows + 1e-4 * gradient, value

        return jax.lax.scan(step, rows, None, length=20)

    def in_params(rows: Any) -> Any:
        both = jnp.concatenate([rows, -rows])
        return jax.grad(lambda p: jax.vmap(ebm.energy, (None, 0))(p, both).mean())(params.energy)

    def whole(rows: Any) -> Any:
        memory = negatives.init_memory(jax.random.key(2), ebm, chains, True)
        drawn = negatives.draw_negatives(jax.random.key(3), ebm, params, rows, memory, chains)
        return drawn, in_params(rows)

    spent = {f.__name__: _least(jax.jit(f), rows) for f in (gradients, in_params, whole)}
    ratio = spent["whole"] / (spent["gradients"] + spent["in_params"])
    return {"kind": "time", "what": "pcd", **spent, "ratio": ratio}


def _least(function: Callable[[Any], Any], rows: Any, times: int = 7) -> float:
    jax.block_until_ready(function(rows))
    spent = []
    for _ in range(times):
        started = time.process_time()
        jax.block_until_ready(function(rows))
        spent.append(time.process_time() - started)
    return min(spent)


def make_text(records: list[dict[str, Any]]) -> str:
    """Return the tables of what is done."""
    of = {
        kind: [one for one in records if one["kind"] == kind]
        for kind in ("long_run", "classify", "inpaint", "time")
    }
    parts = []
    if of["long_run"]:
        rows = [
            [
                one["what"], one["set"], str(one["seed"]), steps, f"{at['energy']:.0f}",
                f"{at['kid']:.3f}", f"{at['fid']:.1f}", f"{max(at['shares']):.2f}",
                f"{at['precision']:.2f}", f"{at['coverage']:.2f}",
            ]
            for one in of["long_run"]
            for steps, at in one["long_run"].items()
        ]  # fmt: skip
        rows += [
            [
                "images of the test", one["set"], "", "", f"{one['energy_of_data']:.0f}",
                f"{at['kid']:.3f}", f"{at['fid']:.1f}", f"{max(at['shares']):.2f}",
                f"{at['precision']:.2f}", f"{at['coverage']:.2f}",
            ]
            for one in of["long_run"][:1]
            for at in (one["of_as_many_images"],)
        ]  # fmt: skip
        header = ["draws of", "set", "seed", "steps", "energy", "KID", "FID", "largest share",
                  "precision", "coverage"]  # fmt: skip
        parts.append(markdown.table(header, rows))
    if of["classify"]:
        rows = [
            [
                one["set"], str(one["num_labels"] or "all"), one["what"], str(one["seed"]),
                f"{one['accuracy']:.2%}", f"{one['calibration_error']:.2%}", *_best(one),
            ]
            for one in of["classify"]
        ]  # fmt: skip
        header = ["set", "labels", "classifier", "seed", "accuracy", "ECE", "best score",
                  "AUROC", "AUPR", "FPR95"]  # fmt: skip
        parts.append(markdown.table(header, rows))
    for one in of["inpaint"]:
        parts.append(
            f"Lower halves of {NUM_INPAINTED} images of the test, {NUM_FILLINGS} fillings each, "
            f"{FILL_STEPS} steps (seed {one['seed']}): the reader is right of "
            f"{one['accuracy']:.0%} of the fillings, of {one['accuracy_of_whole']:.0%} of whole "
            f"images and of {one['accuracy_of_halves']:.0%} of upper halves alone; intervals of "
            f"90 % cover {one['coverage']:.0%} of the pixels, {one['coverage_of_grey']:.0%} of "
            f"those that are not white; the means have {one['psnr']:.1f} dB."
        )
    for one in of["time"]:
        parts.append(
            f"A step of pcd takes {one['ratio']:.2f} times what 20 gradients in x and one in the "
            f"parameters take ({1e3 * one['whole']:.0f} ms of a processor)."
        )
    return "\n\n".join(parts)


def _best(one: dict[str, Any]) -> list[str]:
    """Return the score that tells the other set best, and how well."""
    if "detection" not in one:
        return ["", "", "", ""]
    name = max(one["detection"], key=lambda score: one["detection"][score]["auroc"])
    told = one["detection"][name]
    return [name, *(f"{told[measure]:.3f}" for measure in ("auroc", "aupr", "fpr95"))]


def _load(data_dir: str | None, name: str) -> Parts:
    parts = labelled.load(name, data_dir)
    train = Labelled(*(part[:NUM_ROWS] for part in parts.train))
    return parts._replace(train=train)


def _table(name: str, rows: Labelled) -> data.Table:
    return data.make_table(name, labelled.columns(rows.x.shape[1]), rows.x)


def _folder(path: pathlib.Path) -> pathlib.Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
