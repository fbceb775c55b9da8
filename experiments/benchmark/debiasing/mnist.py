"""Digits 0 to 4 in wrong proportions, and a few images of each class: what a model then draws.

A VAE is fitted to many images of which some classes are rare, and moved to a sample with as many
of each. Judged are decoder means at latents of the model, by a classifier: how far the shares of
its classes are from equal ones, and, so that a collapse cannot win, how far its features of them
are from those of test images. Training sees pixels in black and white, whose law the likelihood is.
"""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from sklearn.decomposition import PCA

import mnar_ebm
from experiments import classifier, figures, markdown, settings
from experiments.benchmark.debiasing import baselines, digits
from experiments.benchmark.debiasing.jobs import Job, Options, Record, mean_and_error
from mnar_ebm import data, debiasing, models, samplers
from mnar_ebm import inference as sampling
from mnar_ebm.settings import ENERGIES
from mnar_ebm.tilted import FittedModel
from mnar_ebm.types import Array

LATENT_DIMS = (8, 2, 16)
MAIN_PER_CLASS, MAIN_DIM = 10, 8

NUM_SAMPLES, NUM_PROPOSALS = 6000, 30_000
NUM_CHAINS, NUM_CHAIN_STEPS, THIN = 600, 300, 20
NUM_COMPONENTS = 30
"""Principal components of an image that the weights of LFIW are a function of."""

VAE = "VAE"
SECOND = "second tilt, SNIS"
UNGUARDED = "second tilt of clusters without folds, SNIS"

WANTED_VARIATION = 0.08


class Drawn(NamedTuple):
    """Images of a model.

    Attributes:
        images: decoder means. [N, 28 * 28]
        ess: effective share of the base draws that they were chosen from, if they were.
    """

    images: np.ndarray
    ess: float | None = None


def make_jobs(options: Options) -> list[Job]:
    """Return a job for each number of latents and seed: a base, and all that starts from it."""
    return [
        Job(f"mnist-{dim}-{seed}", functools.partial(run, options, dim, seed))
        for dim in LATENT_DIMS
        for seed in range(options.num_seeds)
    ]


def run(options: Options, latent_dim: int, seed: int) -> Record:
    """Train a base and a first tilt, move them to the unbiased images, and judge what is drawn."""
    split = digits.split_digits(digits.load_digits(options.data_dir), seed)
    judge = digits.make_judge(options.data_dir)
    config = settings.config_from_flagfile("debias/mnist.cfg")
    config = config.replace(latent_dim=latent_dim, seed=seed)
    first, report = mnar_ebm.train(config, split.selected)
    results: list[Record] = []

    def tell(method: str, drawn: Drawn, per_class: int = MAIN_PER_CLASS, **more: object) -> None:
        seen = judge.judge(drawn.images)
        results.append(
            {"method": method, "per_class": per_class, **seen, "ess_fraction": drawn.ess, **more}
        )

    tell(VAE, draw(first.base(), seed))
    tell("VAE, tilt to the selected", draw(first, seed))
    for per_class in digits.PER_CLASS if latent_dim == MAIN_DIM else (MAIN_PER_CLASS,):
        unbiased = split.unbiased[per_class]
        second, found = debiasing.debias(first, unbiased)
        tell(SECOND, draw(second, seed), per_class, **_facts(found))
        config = first.config.replace(unbiased_energy="clusters", unbiased_folds=0)
        whole, found = debiasing.debias(first._replace(config=config), unbiased)
        tell(UNGUARDED, draw(whole, seed), per_class, **_facts(found))
        if per_class == MAIN_PER_CLASS:
            for method, moved in ((SECOND, second), (UNGUARDED, whole)):
                tell(method.replace("SNIS", "MALA"), draw_by_chains(moved, seed))
            if seed == 0 and latent_dim == 2:
                path = options.figures / "debiasing-mnist-latent.png"
                draw_latent(first, whole, judge.reader, path)
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


def _facts(found: debiasing.UnbiasedReport) -> Record:
    names = ("energy", "weight_decay", "tilt_scale", "gain", "gain_standard_error")
    return {name: getattr(found, name) for name in names}


def draw(fitted: FittedModel, seed: int) -> Drawn:
    """Draw by weights from the model."""
    key, model, params = jax.random.key(seed), fitted.model, fitted.params
    drawn = sampling.sample_by_weights(key, model, params, NUM_SAMPLES, NUM_PROPOSALS)
    ess = float(samplers.effective_sample_size(drawn.log_w)) / NUM_PROPOSALS
    return Drawn(_decode(fitted, drawn.z), ess)


def draw_by_chains(fitted: FittedModel, seed: int) -> Drawn:
    """Draw by MALA from the model, starting from draws of the base."""
    z = sampling.sample_by_chains(
        jax.random.key(seed),
        fitted.model,
        fitted.params,
        NUM_CHAINS,
        NUM_SAMPLES // NUM_CHAINS,
        method="mala",
        space="latent",
        num_steps=NUM_CHAIN_STEPS,
        thin=THIN,
    ).z
    return Drawn(_decode(fitted, z.reshape(-1, z.shape[-1])))


def _decode(fitted: FittedModel, z: Array) -> np.ndarray:
    """Return decoder means. [N, L] -> [N, 28 * 28]."""
    vae = fitted.model.vae
    return np.asarray(vae.likelihood.mean(vae.decode(fitted.params.base, z)))


def _tell_others(
    tell: Callable[..., None], first: FittedModel, split: digits.Split, seed: int
) -> None:
    """Tell what is drawn by the data tilt, and by other ways to use the unbiased images."""
    unbiased = split.unbiased[MAIN_PER_CLASS]
    network = first.config.replace(unbiased_energy="network")
    fresh = first._replace(config=network).in_space("data")
    moved, found = debiasing.debias(fresh, unbiased)
    tell("VAE, data tilt, SNIS", draw(moved, seed), **_facts(found))
    tell("VAE fine-tuned on the unbiased", draw(baselines.fine_tune(first, unbiased), seed))
    tell("VAE of the unbiased alone", draw(baselines.few_only(first.config, unbiased), seed))
    pca = PCA(NUM_COMPONENTS, random_state=0).fit(split.selected.x)
    components = [f"component_{number}" for number in range(NUM_COMPONENTS)]
    shown = data.make_table("mnist", components, pca.transform(unbiased.x))
    weighted = baselines.reweight(split.selected, shown, pca.transform(split.selected.x), seed)
    plain = first.config.replace(tilt="none")
    tell("VAE of reweighted images (LFIW)", draw(mnar_ebm.train(plain, weighted)[0], seed))


def draw_latent(
    first: FittedModel,
    second: FittedModel,
    reader: classifier.Classifier,
    path: pathlib.Path,
) -> None:
    """Draw 2-d latents of the base, of the first tilt and of both, over their energies.

    The colour of a latent is the class that the classifier reads in its decoder mean.
    """
    grid = np.linspace(-3.5, 3.5, 101)
    places = np.stack(np.meshgrid(grid, grid), axis=-1).astype(np.float32)
    nothing = np.zeros((*places.shape[:2], first.model.vae.num_features), np.float32)
    panels = {"VAE": first.base(), "tilted to the selected": first, "and to the unbiased": second}
    figure, axes = figures.plt.subplots(
        1, 3, figsize=(10, 3.6), sharex=True, sharey=True, layout="constrained"
    )
    for axis, (title, fitted) in zip(axes, panels.items(), strict=True):
        model, params = fitted.model, fitted.params
        values = np.asarray(models.energy(model, params, nothing, places))
        contours = axis.contourf(
            grid, grid, values, np.linspace(-5, 5, 21), cmap="Greys", alpha=0.5, extend="both"
        )
        key = jax.random.key(0)
        chosen = sampling.sample_by_weights(key, model, params, 1000, NUM_PROPOSALS).z
        labels = reader.read(_decode(fitted, chosen)).labels
        for label in range(digits.NUM_CLASSES):
            own = chosen[labels == label]
            axis.plot(own[:, 0], own[:, 1], ".", color=f"C{label}", markersize=3, label=label)
        axis.set(title=title, xlabel="$z_1$", aspect="equal", xlim=(-3.5, 3.5), ylim=(-3.5, 3.5))
    axes[0].set_ylabel("$z_2$")
    axes[0].legend(title="class", markerscale=3, loc="upper left", ncols=2, fontsize="small")
    figure.colorbar(contours, ax=axes, label="energy (nats)", ticks=range(-4, 5, 2), shrink=0.8)
    figure.savefig(path)
    figures.plt.close(figure)


def draw_classes(results: Sequence[Record], path: pathlib.Path) -> None:
    """Draw the class shares of the images of each method."""
    shown = [record for record in results if record["per_class"] == MAIN_PER_CLASS]
    figure, axes = figures.plt.subplots(figsize=(8, 3.2), layout="constrained")
    width = 0.8 / len(shown)
    for number, record in enumerate(shown):
        places = np.arange(digits.NUM_CLASSES) + (number - (len(shown) - 1) / 2) * width
        axes.bar(places, record["shares"], width, label=record["method"])
    axes.axhline(1 / digits.NUM_CLASSES, color="#222222", linestyle=":", label="wanted")
    axes.set(xlabel="class read by the classifier", ylabel="share of images")
    figure.legend(loc="outside right upper")
    figure.savefig(path)
    figures.plt.close(figure)


def make_text(records: Sequence[Record]) -> str:
    """Return the table at the main number per class, and that over numbers per class."""
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
    names = (*ENERGIES, "none")
    header = ("images per class", "folds", "seeds", *COLUMNS, *names, "scale λ", "gain (nats)")
    rows = []
    for per_class in digits.PER_CLASS:
        for method, folds in ((SECOND, "yes"), (UNGUARDED, "no")):
            found = _results(own, method, per_class)
            kinds = [result["energy"] for result in found]
            facts = [mean_and_error([r[name] for r in found]) for name in ("tilt_scale", "gain")]
            counts = [kinds.count(kind) for kind in names]
            rows.append((per_class, folds, len(found), *_cells(found), *counts, *facts))
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
    columns = {"variation": 3, "fid": 1, "fid_share": 2, "ess_fraction": 3}
    return [
        mean_and_error([result[name] for result in found if result[name] is not None], places)
        for name, places in columns.items()
    ]
