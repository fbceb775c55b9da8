"""Digits 0 to 4 in wrong proportions, and a few images of each class: what a model then draws.

A VAE is fitted to many images of which some classes are rare, and moved to a sample with as many
of each. Judged are decoder means at latents of the model, by a classifier: how far the shares of
its classes are from equal ones, and, so that a collapse cannot win, how far its features of them
are from those of test images. Training sees pixels in black and white, whose law the likelihood is.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from sklearn.decomposition import PCA

from experiments import figures, markdown, settings
from experiments.benchmark.debiasing import baselines, classifier
from experiments.benchmark.debiasing.jobs import Job, Options, Record, mean_and_error
from mnar_ebm import data, metrics, sampling, training
from mnar_ebm.data import Table, builders
from mnar_ebm.models import Model, Params
from mnar_ebm.training import FittedModel
from mnar_ebm.types import Array, Key

NUM_CLASSES = 5
PROPORTIONS = (0.12, 0.33, 0.28, 0.20, 0.07)
NUM_SELECTED = 20_000
PER_CLASS = (2, 5, 10, 50, 100)
LATENT_DIMS = (8, 2, 16)
MAIN_PER_CLASS, MAIN_DIM = 10, 8

NUM_SAMPLES, NUM_PROPOSALS = 6000, 30_000
NUM_CHAINS, NUM_CHAIN_STEPS = 600, 300
NUM_COMPONENTS = 30
"""Principal components of an image that the weights of LFIW are a function of."""

WANTED_VARIATION = 0.08


class Digits(NamedTuple):
    """Images as rows of pixels in [0, 1], and their labels.

    Attributes:
        train_x, test_x: images. [N, 28 * 28]
        train_y, test_y: labels. [N]
    """

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


class Split(NamedTuple):
    """What a seed draws.

    Attributes:
        selected: images in the wrong proportions.
        unbiased: by number per class, other images, those of a smaller number among them.
    """

    selected: Table
    unbiased: dict[int, Table]


class Judge(NamedTuple):
    """Who says which digits were drawn, and how well.

    Attributes:
        reader: the classifier.
        accuracy: of it, the mean over classes of test images.
        features: of as many test images of each class. [N, F]
    """

    reader: classifier.Classifier
    accuracy: float
    features: np.ndarray

    def judge(self, images: np.ndarray) -> Record:
        """Return class shares, their total variation from equal ones, and the FID. [N, 28 * 28]."""
        seen = self.reader.read(images)
        shares = np.bincount(seen.labels, minlength=NUM_CLASSES) / len(images)
        equal = np.full(NUM_CLASSES, 1 / NUM_CLASSES)
        return {
            "shares": shares.tolist(),
            "variation": metrics.total_variation(shares, equal),
            "fid": metrics.frechet_distance(seen.features, self.features),
        }


def make_jobs(options: Options) -> list[Job]:
    """Return a job for each number of latents and seed: a base, and all that starts from it."""
    return [
        Job(f"mnist-{dim}-{seed}", functools.partial(run, options, dim, seed))
        for dim in LATENT_DIMS
        for seed in range(options.num_seeds)
    ]


@functools.cache
def load_digits(data_dir: str | None) -> Digits:
    """Return the images of digits 0 to 4 under ``data_dir``.

    Raises:
        ValueError: no folder was named, or a file is missing.
    """
    if data_dir is None:
        raise ValueError("--data_dir: expected the folder with mnist/, got none")
    parts: list[np.ndarray] = []
    for name in ("train", "test"):
        images, labels = builders.load_images("mnist", data_dir, name)
        kept = labels < NUM_CLASSES
        x = images[kept].reshape(-1, 28 * 28).astype(np.float32) / 255
        parts += [x, labels[kept]]
    return Digits(*parts)


def to_black_and_white(x: np.ndarray) -> np.ndarray:
    """Return pixels that are 0 or 1. [N, 28 * 28]."""
    return (x > 0.5).astype(np.float32)


def split_digits(digits: Digits, seed: int, num_selected: int = NUM_SELECTED) -> Split:
    """Return the selected images, and from those left over the unbiased ones."""
    rng = np.random.default_rng(seed)
    selected: list[int] = []
    left: list[np.ndarray] = []
    for label, share in enumerate(PROPORTIONS):
        rows = rng.permutation(np.flatnonzero(digits.train_y == label))
        count = round(num_selected * share)
        if len(rows) < count + max(PER_CLASS):
            raise ValueError(
                f"mnist: expected {count + max(PER_CLASS)} images of {label}, got {len(rows)}"
            )
        selected.extend(rows[:count])
        left.append(rows[count:])
    unbiased = {n: np.concatenate([rows[:n] for rows in left]) for n in PER_CLASS}
    return Split(
        _table(digits, rng.permutation(selected)),
        {n: _table(digits, rng.permutation(rows)) for n, rows in unbiased.items()},
    )


def _table(digits: Digits, rows: np.ndarray) -> Table:
    columns = [f"pixel_{number}" for number in range(digits.train_x.shape[1])]
    return data.make_table("mnist", columns, to_black_and_white(digits.train_x[rows]))


@functools.cache
def make_judge(data_dir: str | None) -> Judge:
    """Return the classifier, trained on all training images, and what it sees in test images."""
    digits = load_digits(data_dir)
    reader = classifier.fit(digits.train_x, digits.train_y)
    rows_of = [np.flatnonzero(digits.test_y == label) for label in range(NUM_CLASSES)]
    read = reader.read(digits.test_x).labels
    accuracy = np.mean([np.mean(read[rows] == label) for label, rows in enumerate(rows_of)])
    fewest = min(map(len, rows_of))
    balanced = np.concatenate([rows[:fewest] for rows in rows_of])
    return Judge(reader, float(accuracy), reader.read(digits.test_x[balanced]).features)


def run(options: Options, latent_dim: int, seed: int) -> Record:
    """Train a base, move it to the unbiased images in every way, and judge what each draws."""
    split = split_digits(load_digits(options.data_dir), seed)
    judge = make_judge(options.data_dir)
    config = settings.config_from_flagfile("debias/mnist.cfg")
    config = dataclasses.replace(config, latent_dim=latent_dim, seed=seed)
    base, _ = training.train(config, split.selected)
    results: list[Record] = []

    def tell(method: str, images: np.ndarray, per_class: int, **more: object) -> None:
        results.append({"method": method, "per_class": per_class, **judge.judge(images), **more})

    tell("VAE", draw(base, seed), MAIN_PER_CLASS)
    for per_class in PER_CLASS if latent_dim == MAIN_DIM else (MAIN_PER_CLASS,):
        moved, found = training.debias(_in_space(base, "latent"), split.unbiased[per_class])
        tell("latent tilt, SNIS", draw(moved, seed), per_class, **_facts(found))
        if per_class == MAIN_PER_CLASS:
            tell("latent tilt, MALA", draw_by_chains(moved, seed), per_class)
            if seed == 0 and latent_dim == 2:
                figures.draw_latent(moved, options.figures / "debiasing-mnist-latent.png")
    if latent_dim == MAIN_DIM:
        unbiased = split.unbiased[MAIN_PER_CLASS]
        moved, found = training.debias(_in_space(base, "data"), unbiased)
        tell("data tilt, SNIS", draw(moved, seed), MAIN_PER_CLASS, **_facts(found))
        for method, fitted in _others(base, split.selected, unbiased, seed):
            tell(method, draw(fitted, seed), MAIN_PER_CLASS)
        if seed == 0:
            draw_classes(results, options.figures / "debiasing-mnist-classes.png")
    return {
        "latent_dim": latent_dim,
        "seed": seed,
        "accuracy": judge.accuracy,
        "results": results,
    }


def _in_space(base: FittedModel, space: str) -> FittedModel:
    """Return the base with an energy that is 0 as yet."""
    config = dataclasses.replace(base.config, validation_fraction=0.1)
    return base._replace(config=config).in_space(space)


def _facts(found: training.UnbiasedReport) -> Record:
    names = ("energy", "weight_decay", "tilt_scale", "gain", "gain_standard_error", "ess_fraction")
    return {name: getattr(found, name) for name in names}


def draw(fitted: FittedModel, seed: int) -> np.ndarray:
    """Return decoder means at latents of the model, which are chosen by weights. [N, 28 * 28]."""
    return np.asarray(_draw(jax.random.key(seed), fitted.model, fitted.params))


@functools.partial(jax.jit, static_argnums=1)
def _draw(key: Key, model: Model, params: Params) -> Array:
    z = sampling.sample_by_weights(key, model, params, NUM_SAMPLES, NUM_PROPOSALS).z
    return model.vae.likelihood.mean(model.vae.decode(params.base, z))


def draw_by_chains(fitted: FittedModel, seed: int) -> np.ndarray:
    """Return decoder means at latents of MALA chains. [N, 28 * 28]."""
    model, params = fitted.model, fitted.params
    z = sampling.sample_by_chains(
        jax.random.key(seed),
        model,
        params,
        NUM_CHAINS,
        NUM_SAMPLES // NUM_CHAINS,
        method="mala",
        space="latent",
        num_steps=NUM_CHAIN_STEPS,
        thin=20,
    ).z
    z = z.reshape(-1, model.vae.latent_dim)
    return np.asarray(model.vae.likelihood.mean(model.vae.decode(params.base, z)))


def _others(
    base: FittedModel, selected: Table, unbiased: Table, seed: int
) -> Iterator[tuple[str, FittedModel]]:
    """Yield the models of other ways to use the unbiased images."""
    yield "VAE fine-tuned on the unbiased", baselines.fine_tune(base, unbiased)
    yield "VAE of the unbiased alone", baselines.few_only(base.config, unbiased)
    pca = PCA(NUM_COMPONENTS, random_state=0).fit(selected.x)
    components = [f"component_{number}" for number in range(NUM_COMPONENTS)]
    shown = data.make_table("mnist", components, pca.transform(unbiased.x))
    weighted = baselines.reweight(selected, shown, pca.transform(selected.x), seed)
    yield "VAE of reweighted images (LFIW)", training.train(base.config, weighted)[0]


def draw_classes(results: Sequence[Record], path: pathlib.Path) -> None:
    """Draw the class shares of the images of each method."""
    shown = [record for record in results if record["per_class"] == MAIN_PER_CLASS]
    figure, axes = figures.plt.subplots(figsize=(8, 3.2), layout="constrained")
    width = 0.8 / len(shown)
    for number, record in enumerate(shown):
        places = np.arange(NUM_CLASSES) + (number - (len(shown) - 1) / 2) * width
        axes.bar(places, record["shares"], width, label=record["method"])
    axes.axhline(1 / NUM_CLASSES, color="#222222", linestyle=":", label="wanted")
    axes.set(xlabel="class read by the classifier", ylabel="share of images")
    figure.legend(loc="outside right upper")
    figure.savefig(path)
    figures.plt.close(figure)


def make_text(records: Sequence[Record]) -> str:
    """Return the table at the main number per class, and that over numbers per class."""
    if not records:
        return "Nothing was run."
    accuracy = min(record["accuracy"] for record in records)
    seen = f"Accuracy of the classifier on test images, the mean over classes: {accuracy:.1%}."
    return "\n\n".join([_main_table(records), _curve(records), seen])


def _main_table(records: Sequence[Record]) -> str:
    header = ("method", "latents", "seeds", "total variation", "FID", "FID / VAE's", "ESS/N")
    rows = []
    for dim in sorted(LATENT_DIMS):
        own = [record for record in records if record["latent_dim"] == dim]
        methods = dict.fromkeys(r["method"] for record in own for r in record["results"])
        for method in methods:
            found = _results(own, method, MAIN_PER_CLASS)
            rows.append((method, dim, len(found), *_cells(found), _ess(found)))
    rows.append(("*wanted of a tilt*", "", "", f"{WANTED_VARIATION:.2f}", "", "1.05", "0.05"))
    return markdown.table(header, rows)


def _curve(records: Sequence[Record]) -> str:
    method = "latent tilt, SNIS"
    own = [record for record in records if record["latent_dim"] == MAIN_DIM]
    header = (
        "images per class", "seeds", "total variation", "FID", "FID / VAE's", "ESS/N", "scale λ"
    )  # fmt: skip
    rows = []
    for per_class in PER_CLASS:
        found = _results(own, method, per_class)
        scales = mean_and_error([result["tilt_scale"] for result in found])
        rows.append((per_class, len(found), *_cells(found), _ess(found), scales))
    return markdown.table(header, rows)


def _results(records: Sequence[Record], method: str, per_class: int) -> list[Record]:
    """Return the results of a method, each with its FID as a share of the VAE's of that seed."""
    found = []
    for record in records:
        vae = next(r for r in record["results"] if r["method"] == "VAE")
        for result in record["results"]:
            if (result["method"], result["per_class"]) == (method, per_class):
                found.append(result | {"fid_share": result["fid"] / vae["fid"]})
    return found


def _cells(found: Sequence[Record]) -> list[str]:
    columns = {"variation": 3, "fid": 1, "fid_share": 2}
    return [mean_and_error([r[name] for r in found], digits) for name, digits in columns.items()]


def _ess(found: Sequence[Record]) -> str:
    return mean_and_error([r["ess_fraction"] for r in found if "ess_fraction" in r], 3)
