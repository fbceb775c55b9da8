"""Digits 0 to 4 in wrong proportions, and a few images of each class: what a model then draws.

A VAE is fitted to many images of which some classes are rare, and moved to a sample with as many
of each. Judged are decoder means at latents of the model, by a classifier: how far the shares of
its classes are from equal ones, and, so that a collapse cannot win, how far its features of them
are from those of test images. Training sees pixels in black and white, whose law the likelihood is.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.decomposition import PCA

from experiments import figures, markdown, settings
from experiments.benchmark.debiasing import baselines, classifier, clusters
from experiments.benchmark.debiasing.jobs import Job, Options, Record, mean_and_error
from mnar_ebm import data, metrics, models, samplers, sampling, targets, training
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
NUM_CHAINS, NUM_CHAIN_STEPS, THIN = 600, 300, 20
NUM_COMPONENTS = 30
"""Principal components of an image that the weights of LFIW are a function of."""

VAE = "VAE"
SECOND = "second tilt, SNIS"
SHARES = "tilt of clusters' shares, SNIS"

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


class Drawn(NamedTuple):
    """Images of a model.

    Attributes:
        images: decoder means. [N, 28 * 28]
        ess: effective share of the base draws that they were chosen from, if they were.
    """

    images: np.ndarray
    ess: float | None = None


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
    """Train a base and a first tilt, move them to the unbiased images, and judge what is drawn."""
    split = split_digits(load_digits(options.data_dir), seed)
    judge = make_judge(options.data_dir)
    config = settings.config_from_flagfile("debias/mnist.cfg")
    config = dataclasses.replace(config, latent_dim=latent_dim, seed=seed)
    first, report = training.train(config, split.selected)
    mixture = clusters.fit(first, split.selected.x, seed)
    results: list[Record] = []

    def tell(method: str, drawn: Drawn, per_class: int = MAIN_PER_CLASS, **more: object) -> None:
        seen = judge.judge(drawn.images)
        results.append(
            {"method": method, "per_class": per_class, **seen, "ess_fraction": drawn.ess, **more}
        )

    tell(VAE, draw(first.base(), seed))
    tell("VAE, tilt to the selected", draw(first, seed))
    for per_class in PER_CLASS if latent_dim == MAIN_DIM else (MAIN_PER_CLASS,):
        unbiased = split.unbiased[per_class]
        second, found = training.debias(first, unbiased)
        tell(SECOND, draw(second, seed), per_class, **_facts(found))
        shares = clusters.tilt(first, mixture, unbiased.x, seed)
        tell(SHARES, draw(first, seed, shares), per_class)
        if per_class == MAIN_PER_CLASS:
            tell(SECOND.replace("SNIS", "MALA"), draw_by_chains(second, seed))
            tell(SHARES.replace("SNIS", "MALA"), draw_by_chains(first, seed, shares))
            if seed == 0 and latent_dim == 2:
                draw_latent(first, shares, options.figures / "debiasing-mnist-latent.png")
    if latent_dim == MAIN_DIM:
        _tell_others(tell, first, split, seed)
        if seed == 0:
            draw_classes(results, options.figures / "debiasing-mnist-classes.png")
    return {
        "latent_dim": latent_dim,
        "seed": seed,
        "accuracy": judge.accuracy,
        "bound_base": report.bound_base,
        "bound_first": report.bound_tilted,
        "results": results,
    }


def _facts(found: training.UnbiasedReport) -> Record:
    names = ("energy", "weight_decay", "tilt_scale", "gain", "gain_standard_error")
    return {name: getattr(found, name) for name in names}


def draw(fitted: FittedModel, seed: int, more: clusters.Clusters | None = None) -> Drawn:
    """Draw by weights from the model, tilted once more if a tilt is given."""
    key_base, key_sir = jax.random.split(jax.random.key(seed))
    model, params = fitted.model, fitted.params
    z, log_w = _propose(key_base, model, params)
    if more is not None:
        log_w = log_w - more.energy(z)
    chosen = samplers.sir(key_sir, log_w, NUM_SAMPLES, method="systematic")
    ess = float(samplers.effective_sample_size(log_w)) / NUM_PROPOSALS
    return Drawn(_decode(model, params, z[chosen]), ess)


@functools.partial(jax.jit, static_argnums=1)
def _propose(key: Key, model: Model, params: Params) -> tuple[Array, Array]:
    """Return latents of the base and their log-weights. [P, L], [P]."""
    x, z = models.sample_base(key, model.vae, params.base, NUM_PROPOSALS)
    return z, -models.energy(model, params, x, z)


def _decode(model: Model, params: Params, z: Array) -> np.ndarray:
    return np.asarray(model.vae.likelihood.mean(model.vae.decode(params.base, z)))


def draw_by_chains(fitted: FittedModel, seed: int, more: clusters.Clusters | None = None) -> Drawn:
    """Draw by MALA from the model, tilted once more if a tilt is given, from draws of the base."""
    model, params = fitted.model, fitted.params
    key_start, key_chains = jax.random.split(jax.random.key(seed))
    logdensity = targets.latent_logdensity(model, params)

    def target(z: Array) -> Array:
        return logdensity(z) - (more.energy(z) if more is not None else 0.0)

    def run_chain(key: Key, start: Array) -> Array:
        num_draws = NUM_SAMPLES // NUM_CHAINS
        settings = {"method": "mala", "warm_up": NUM_CHAIN_STEPS, "thin": THIN}
        return sampling.run_chain(key, target, start, num_draws, **settings)[0]

    start = jax.random.normal(key_start, (NUM_CHAINS, model.vae.latent_dim))
    z = jax.jit(jax.vmap(run_chain))(jax.random.split(key_chains, NUM_CHAINS), start)
    return Drawn(_decode(model, params, z.reshape(-1, model.vae.latent_dim)))


def _tell_others(tell: Callable[..., None], first: FittedModel, split: Split, seed: int) -> None:
    """Tell what is drawn by the data tilt, and by other ways to use the unbiased images."""
    unbiased = split.unbiased[MAIN_PER_CLASS]
    network = dataclasses.replace(first.config, unbiased_energy="network")
    fresh = first._replace(config=network).in_space("data")
    moved, found = training.debias(fresh, unbiased)
    tell("VAE, data tilt, SNIS", draw(moved, seed), **_facts(found))
    tell("VAE fine-tuned on the unbiased", draw(baselines.fine_tune(first, unbiased), seed))
    tell("VAE of the unbiased alone", draw(baselines.few_only(first.config, unbiased), seed))
    pca = PCA(NUM_COMPONENTS, random_state=0).fit(split.selected.x)
    components = [f"component_{number}" for number in range(NUM_COMPONENTS)]
    shown = data.make_table("mnist", components, pca.transform(unbiased.x))
    weighted = baselines.reweight(split.selected, shown, pca.transform(split.selected.x), seed)
    plain = dataclasses.replace(first.config, tilt="none")
    tell("VAE of reweighted images (LFIW)", draw(training.train(plain, weighted)[0], seed))


def draw_latent(first: FittedModel, shares: clusters.Clusters, path: pathlib.Path) -> None:
    """Draw 2-d latents of the base, of the first tilt and of both, over their energies."""
    model, params = first.model, first.params
    key_base, key_sir = jax.random.split(jax.random.key(0))
    z, log_w = _propose(key_base, model, params)
    both = log_w - shares.energy(z)
    grid = np.linspace(-3.5, 3.5, 101)
    places = np.stack(np.meshgrid(grid, grid), axis=-1)
    nothing = np.zeros((*places.shape[:2], model.vae.num_features), np.float32)
    energy = np.asarray(models.energy(model, params, nothing, places))
    panels = (
        ("VAE", np.zeros(len(z)), np.zeros_like(energy)),
        ("tilted to the selected", log_w, energy),
        ("and to the unbiased", both, energy + np.asarray(shares.energy(places))),
    )
    figure, axes = figures.plt.subplots(
        1, 3, figsize=(10, 3.6), sharex=True, sharey=True, layout="constrained"
    )
    limit = max(np.abs(values).max() for *_, values in panels)
    levels = np.linspace(-limit, limit, 25)
    for axis, (title, weights, values) in zip(axes, panels, strict=True):
        contours = axis.contourf(grid, grid, values, levels=levels, cmap="RdBu_r", alpha=0.7)
        chosen = z[samplers.sir(key_sir, jnp.asarray(weights), 1000, method="systematic")]
        axis.plot(chosen[:, 0], chosen[:, 1], ".", color="#222222", markersize=2)
        axis.set(title=title, xlabel="$z_1$", aspect="equal", xlim=(-3.5, 3.5), ylim=(-3.5, 3.5))
    axes[0].set_ylabel("$z_2$")
    figure.colorbar(contours, ax=axes, label="energy (nats)", shrink=0.8)
    figure.savefig(path)
    figures.plt.close(figure)


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
    header = ("method", "latents", "seeds", *COLUMNS)
    rows: list[Sequence[object]] = []
    for dim in sorted(LATENT_DIMS):
        own = [record for record in records if record["latent_dim"] == dim]
        for method in dict.fromkeys(r["method"] for record in own for r in record["results"]):
            found = _results(own, method, MAIN_PER_CLASS)
            rows.append((method, dim, len(found), *_cells(found)))
    rows.append(("*wanted of a tilt*", "", "", f"{WANTED_VARIATION:.3f}", "", "1.05", "0.050"))
    return markdown.table(header, rows)


def _curve(records: Sequence[Record]) -> str:
    own = [record for record in records if record["latent_dim"] == MAIN_DIM]
    header = ("images per class", "method", "seeds", *COLUMNS, "scale λ")
    rows = []
    for per_class in PER_CLASS:
        for method in (SECOND, SHARES):
            found = _results(own, method, per_class)
            scales = mean_and_error([r["tilt_scale"] for r in found if "tilt_scale" in r])
            rows.append((per_class, method, len(found), *_cells(found), scales))
    return markdown.table(header, rows)


COLUMNS = ("total variation", "FID", "FID / VAE's", "ESS/N")


def _results(records: Sequence[Record], method: str, per_class: int) -> list[Record]:
    """Return the results of a method, each with its FID as a share of the VAE's of that seed."""
    found = []
    for record in records:
        vae = next(result for result in record["results"] if result["method"] == VAE)
        for result in record["results"]:
            if (result["method"], result["per_class"]) == (method, per_class):
                found.append(result | {"fid_share": result["fid"] / vae["fid"]})
    return found


def _cells(found: Sequence[Record]) -> list[str]:
    """Return the cells of ``COLUMNS``."""
    digits = {"variation": 3, "fid": 1, "fid_share": 2, "ess_fraction": 3}
    return [
        mean_and_error([result[name] for result in found if result[name] is not None], places)
        for name, places in digits.items()
    ]
