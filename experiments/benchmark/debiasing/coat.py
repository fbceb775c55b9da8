"""Ratings of coats: fitted to those that users chose to give, moved by a few of coats at random.

Two ways to split the ratings of coats at random. *events*: 5 % of them are the unbiased sample and
the others are predicted, 20 times. *users*: those of 60 % of the users are the unbiased sample
and those of 20 % are predicted; the last 20 % would be for validation, which no method here needs.
All methods are given the same ratings.

366 pairs are in both tables. They are kept, as in what is published, and ``new`` are the errors
without them.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import mnar_ebm
from experiments import markdown, settings
from experiments.benchmark.debiasing import baselines, ratings
from experiments.benchmark.debiasing.jobs import Job, Options, Record, mean_and_error
from experiments.benchmark.debiasing.ratings import Events, Scores
from mnar_ebm import data, debiasing
from mnar_ebm.data.datasets.coat import Coat, load_coat
from mnar_ebm.settings import ENERGIES
from mnar_ebm.tilted import FittedModel

NUM_SPLITS = 20
UNBIASED_SHARE = 0.05
UNBIASED_USERS, TEST_USERS = 0.6, 0.2
SPACES = ("data", "latent", "joint")

USER_MODELS: dict[str, dict[str, str]] = {
    "selection ignored": {"mechanism": "none"},
    "not-MIWAE, sign learned": {},
    "not-MIWAE, low ratings hidden": {"sign": "low"},
}
"""Models of rows of users: what they change in debias/coat_users.cfg."""

CAUGHT = 3
"""Standard errors of the mean error on unbiased ratings above which a model is called biased."""

PUBLISHED = {
    "*published: MF-IPS*": (1.093, 0.860),
    "*published: MF-Naive*": (1.202, 0.920),
    "*wanted of the tilt*": (1.12, 0.865),
    "*goal of the tilt*": (1.09, None),
}
"""MSE and MAE; Schnabel et al., ICML 2016, Table 2, fitted to no rating of a coat at random."""


class Task(NamedTuple):
    """What is given, and what is to be predicted.

    Attributes:
        unbiased: ratings of coats at random that all methods are given.
        test: ratings of coats at random that are predicted.
        seed: of the split.
    """

    unbiased: Events
    test: Events
    seed: int


def make_jobs(options: Options) -> list[Job]:
    """Return a job for each split, those with the same base side by side, and for each guard."""
    jobs = []
    for seed in range(options.num_seeds):
        splits = [("events", split) for split in range(seed, NUM_SPLITS, options.num_seeds)]
        for kind, split in [*splits, ("users", seed)]:
            work = functools.partial(run, options.data_dir, kind, split, seed)
            jobs.append(Job(f"coat-{kind}-{split}-{seed}", work))
    for seed in range(options.num_seeds):
        jobs.append(Job(f"coat-guard-{seed}", functools.partial(guard, options.data_dir, seed)))
    return jobs


@functools.lru_cache(maxsize=1)
def load(data_dir: str | None) -> Coat:
    """Return the ratings.

    Raises:
        ValueError: there is no folder of source files, or they are missing or malformed.
    """
    if data_dir is None:
        raise ValueError("coat: expected a folder of source files, got none; pass --data_dir")
    return load_coat(data_dir)


@functools.lru_cache(maxsize=2)
def scores_of(data_dir: str | None, has_features: bool) -> Scores:
    """Return the scores by all self-selected ratings."""
    return ratings.fit_scores(load(data_dir), has_features=has_features)


def selected_table(data_dir: str | None) -> data.Table:
    """Return the rows of the self-selected ratings."""
    selected = ratings.make_events(load(data_dir).selected)
    return ratings.make_table("selected", selected.ratings, scores_of(data_dir, True).events)


@functools.lru_cache(maxsize=1)
def base_of(data_dir: str | None, seed: int) -> FittedModel:
    """Return the model of the self-selected ratings; all splits of a seed start from it."""
    config = settings.config_from_flagfile("debias/coat.cfg").replace(seed=seed)
    return mnar_ebm.train(config, selected_table(data_dir))[0]


def make_task(kind: str, coat: Coat, seed: int) -> Task:
    """Return a split by ``events`` or by ``users``."""
    events = ratings.make_events(coat.random)
    rng = np.random.default_rng(seed)
    if kind == "events":
        order = rng.permutation(len(events.ratings))
        count = round(UNBIASED_SHARE * len(order))
        return Task(events.take(order[:count]), events.take(order[count:]), seed)
    users = rng.permutation(len(coat.random))
    given, tested = round(UNBIASED_USERS * len(users)), round(TEST_USERS * len(users))
    is_given = np.isin(events.users, users[:given])
    is_tested = np.isin(events.users, users[-tested:])
    return Task(events.take(is_given), events.take(is_tested), seed)


def run(data_dir: str | None, kind: str, split: int, seed: int) -> Record:
    """Predict the ratings of a split by all methods."""
    coat = load(data_dir)
    task = make_task(kind, coat, split)
    predicted = predict_simply(data_dir, task)
    moved, found = predict_by_models(data_dir, task, base_of(data_dir, seed))
    is_new = np.isnan(coat.selected[task.test.users, task.test.items])
    results = {}
    for name, values in (predicted | moved).items():
        new = ratings.errors(values[is_new], task.test.ratings[is_new])
        results[name] = ratings.errors(values, task.test.ratings)
        results[name] |= {f"{metric}_new": value for metric, value in new.items()}
    sizes = {"num_unbiased": len(task.unbiased.ratings), "num_test": len(task.test.ratings)}
    return {"kind": kind, "split": split, "seed": seed, **sizes, "results": results, "tilts": found}


def predict_simply(data_dir: str | None, task: Task) -> dict[str, np.ndarray]:
    """Return predictions by means and linear models, which have no density. [N] each."""
    constant = np.ones(len(task.test.ratings))
    predicted = {
        "constant: mean of the selected": constant * np.nanmean(load(data_dir).selected),
        "constant: mean of the unbiased": constant * task.unbiased.ratings.mean(),
    }
    for name, has_features in (("biases", False), ("ridge with features", True)):
        scores = scores_of(data_dir, has_features).pairs
        given, test = (scores[part.users, part.items] for part in (task.unbiased, task.test))
        line = np.polyfit(given, task.unbiased.ratings, 1)
        predicted |= {
            name: test,
            f"{name}, recentred": test + np.mean(task.unbiased.ratings - given),
            f"{name}, linearly recalibrated": np.polyval(line, test),
        }
    return predicted


def predict_by_models(
    data_dir: str | None, task: Task, fitted: FittedModel
) -> tuple[dict[str, np.ndarray], dict[str, Record]]:
    """Return predictions by densities [N] each, and what the tilts found."""
    scores = scores_of(data_dir, True).pairs
    given, test = (scores[part.users, part.items] for part in (task.unbiased, task.test))
    unbiased = ratings.make_table("unbiased", task.unbiased.ratings, given)
    selected = selected_table(data_dir)
    base = fitted.base()
    weighted = baselines.reweight(selected, unbiased, selected.x, task.seed)
    models = {
        "base": base,
        "base, fine-tuned": baselines.fine_tune(fitted, unbiased),
        "few rows alone": baselines.few_only(base.config, unbiased),
        "reweighted (LFIW)": mnar_ebm.train(base.config, weighted)[0],
    }
    found = {}
    for space in SPACES:
        models[f"{space} tilt"], report = debiasing.debias(fitted.in_space(space), unbiased)
        names = ("energy", "weight_decay", "tilt_scale", "gain", "gain_standard_error")
        found[space] = {name: getattr(report, name) for name in (*names, "ess_fraction")}
    predicted = {name: ratings.predict(model, test, task.seed) for name, model in models.items()}
    return predicted, found


def guard(data_dir: str | None, seed: int) -> Record:
    """Fit not-MIWAEs and a base that ignores selection to rows of users, and judge each.

    Judged are the bound of the unbiased ratings of a split, which no mechanism chose, and the
    mean error of their predictions, in standard errors.
    """
    coat = load(data_dir)
    task = make_task("events", coat, seed)
    columns = [f"coat_{item}" for item in range(coat.selected.shape[1])]
    table = data.make_table("users", columns, coat.selected)
    config = settings.config_from_flagfile("debias/coat_users.cfg")
    unbiased = np.full_like(coat.selected, np.nan)
    unbiased[task.unbiased.users, task.unbiased.items] = task.unbiased.ratings
    unbiased = unbiased[~np.isnan(unbiased).all(axis=1)]
    given, test = (  # the others are in the rows
        part.take(np.isnan(coat.selected[part.users, part.items]))
        for part in (task.unbiased, task.test)
    )
    results = {}
    for name, changes in USER_MODELS.items():
        fitted, _ = mnar_ebm.train(config.replace(seed=seed, **changes), table)
        filled = fitted.impute(coat.selected).mean
        shown = filled[given.users, given.items] - given.ratings
        predicted = filled[test.users, test.items]
        bounds = fitted.without_mechanism().impute(unbiased).bound
        results[name] = ratings.errors(predicted, test.ratings)
        results[name]["bias"] = float(np.mean(predicted - test.ratings))
        standard_error = shown.std(ddof=1) / np.sqrt(len(shown))
        results[name]["bias_shown"] = float(shown.mean() / standard_error)
        results[name]["bound"] = float(bounds.sum() / len(task.unbiased.ratings))
    return {"kind": "guard", "seed": seed, "results": results}


def make_text(records: Sequence[Record]) -> str:
    """Return a table for each way to split, what the tilts were, and what the guard did."""
    parts = []
    for kind in ("events", "users"):
        own = [record for record in records if record["kind"] == kind]
        if own:
            parts += [_error_table(kind, own), _tilt_table(own)]
    guards = [record for record in records if record["kind"] == "guard"]
    if guards:
        parts.append(_guard_text(guards))
    return "\n\n".join(parts)


def _error_table(kind: str, records: Sequence[Record]) -> str:
    given, tested = (records[0][name] for name in ("num_unbiased", "num_test"))
    title = f"Split by {kind}: {given} unbiased ratings, {tested} predicted, {len(records)} splits"
    header = ("method", *_METRICS.values())
    rows = []
    for name in records[0]["results"]:
        values = [[record["results"][name][metric] for record in records] for metric in _METRICS]
        rows.append((name, *(mean_and_error(column, 3) for column in values)))
    if kind == "events":
        rows += [(name, *(f"{v:.3f}" if v else "-" for v in row)) for name, row in _published()]
    verdicts = " ".join(_verdict(records, metric) for metric in ("mse", "mae"))
    return f"{title}.\n\n{markdown.table(header, rows)}\n\n{verdicts}"


_METRICS = {"mse": "MSE", "mae": "MAE", "mse_new": "MSE, new pairs", "mae_new": "MAE, new pairs"}


def _published() -> list[tuple[str, tuple[float | None, ...]]]:
    return [(name, (*row, None, None)) for name, row in PUBLISHED.items()]


def _verdict(records: Sequence[Record], metric: str) -> str:
    """Return which method has the lowest error, and by how much a tilt is above or below it."""
    error = {
        name: np.array([record["results"][name][metric] for record in records])
        for name in records[0]["results"]
    }
    tilts = [name for name in error if name.endswith(" tilt")]
    tilt = min(tilts, key=lambda name: error[name].mean())
    other = min(set(error) - set(tilts), key=lambda name: error[name].mean())
    winner = tilt if error[tilt].mean() < error[other].mean() else other
    difference = mean_and_error(error[tilt] - error[other], 3)
    return (
        f"Lowest {_METRICS[metric]}: {winner}. In hindsight the best tilt is the {tilt}; its "
        f"{_METRICS[metric]} less that of the best other method, {other}, on the same splits: "
        f"{difference}."
    )


def _tilt_table(records: Sequence[Record]) -> str:
    names = (*ENERGIES, "none")
    header = ("tilt", *names, "scale λ", "gain (nats)", "ESS/N")
    rows = []
    for space in records[0]["tilts"]:
        found = [record["tilts"][space] for record in records]
        kinds = [report["energy"] for report in found]
        cells = [mean_and_error([report[name] for report in found]) for name in _FOUND]
        rows.append((space, *(kinds.count(kind) for kind in names), *cells))
    return markdown.table(header, rows)


_FOUND = ("tilt_scale", "gain", "ess_fraction")


def _guard_text(records: Sequence[Record]) -> str:
    """Return the bounds of the unbiased ratings, which model they choose and whether rightly."""

    def best(record: Record, metric: str, sign: int) -> str:
        found = record["results"]
        return max(found, key=lambda name: sign * found[name][metric])

    names = ("bound of the unbiased (nats a rating)", "their mean error (s.e.)")
    header = ("rows of users", *names, "caught", "MSE", "MAE", "bias")
    rows = []
    for name in records[0]["results"]:
        found = [record["results"][name] for record in records]
        caught = sum(abs(run["bias_shown"]) > CAUGHT for run in found)
        digits = {"bound": 3, "bias_shown": 1, "mse": 3, "mae": 3, "bias": 3}
        cells = [mean_and_error([run[name] for run in found], n) for name, n in digits.items()]
        rows.append((name, *cells[:2], f"{caught} of {len(found)}", *cells[2:]))
    chosen = [best(record, "bound", 1) for record in records]
    lowest = [best(record, "mse", -1) for record in records]
    counts = ", ".join(f"{name} {chosen.count(name)} times" for name in dict.fromkeys(chosen))
    right = sum(one == other for one, other in zip(chosen, lowest, strict=True))
    return (
        f"{markdown.table(header, rows)}\n\n"
        f"Errors on pairs that are not in the rows; *caught*: the mean error of the unbiased "
        f"ratings is more than {CAUGHT} of its standard errors. In {len(records)} seeds "
        f"the bound chooses {counts}; that is the model of the lowest MSE {right} times."
    )
