"""Self-masked tables of which a few rows were followed up, their gaps filled by the truth.

The error is on the gaps of the other rows. All methods are given the same rows: those followed up
are complete to all of them.
"""

import functools
from collections.abc import Sequence

import numpy as np

import mnar_ebm
from experiments import markdown, settings
from experiments.benchmark.debiasing import baselines
from experiments.benchmark.debiasing.jobs import Job, Options, Record, mean_and_error
from experiments.benchmark.imputation import peers
from mnar_ebm import Config, data, debiasing
from mnar_ebm.metrics import imputation_rmse
from mnar_ebm.tilted import FittedModel

DATASETS = ("red", "concrete")
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
MAIN_SHARE = 0.05
NUM_CURVE_SEEDS = 1
NUM_FULL_SEEDS = 2
"""Seeds of the other shares; and those in which other tilts and uses of the rows are tried."""

SPACES = ("joint", "data", "latent")
BASES = ("ignorable", "collapsed")

WANTED = {
    ("red", "ignorable"): 1.28,
    ("concrete", "ignorable"): 1.20,
    ("red", "collapsed"): 1.00,
    ("concrete", "collapsed"): 0.75,
}
"""RMSE that was asked for, of the tilted model at 5 %."""


def make_jobs(options: Options) -> list[Job]:
    """Return a job for each share, seed, base and data set; the share asked for first."""
    shares = (MAIN_SHARE, *(share for share in SHARES if share != MAIN_SHARE))
    return [
        Job(
            f"uci-{name}-{base}-{share}-{seed}",
            functools.partial(run, options.data_dir, name, base, share, seed),
        )
        for share in shares
        for seed in range(options.num_seeds if share == MAIN_SHARE else NUM_CURVE_SEEDS)
        for base in BASES
        for name in DATASETS
    ]


def load_table(data_dir: str | None, name: str) -> data.Table:
    """Return a table in standard units, masked above its means; concrete without its target."""
    table = data.load(name, data_dir)
    assert table.truth is not None
    num_columns = 8 if name == "concrete" else len(table.columns)
    truth = table.truth[:, :num_columns]
    truth = data.Standardiser.fit(truth, np.ones_like(truth, bool)).apply(truth)
    return data.benchmark_table(name, table.columns[:num_columns], truth)


def run(data_dir: str | None, name: str, base: str, share: float, seed: int) -> Record:
    """Train the base, tilt it, and compare."""
    table = load_table(data_dir, name)
    selected, unbiased, whole = data.follow_up(table, share, seed)
    config = settings.config_from_flagfile(f"debias/{base}.cfg")
    config = config.replace(seed=seed)
    fitted, report = mnar_ebm.train(config, selected, unbiased=unbiased)
    rmse = {"base": _rmse(fitted.base(), whole, seed), "joint": _rmse(fitted, whole, seed)}
    found = report.unbiased
    if base == "ignorable":
        rmse |= _others(whole, seed)
    if base == "ignorable" and share == MAIN_SHARE and seed < NUM_FULL_SEEDS:
        for space in SPACES[1:]:
            moved, _ = debiasing.debias(fitted.in_space(space), unbiased)
            rmse[space] = _rmse(moved, whole, seed)
        rmse |= _other_uses(config.replace(tilt="none"), selected, unbiased, whole)
    return {
        "dataset": name,
        "base": base,
        "share": share,
        "seed": seed,
        "rmse": rmse,
        "energy": found.energy,
        "weight_decay": found.weight_decay,
        "tilt_scale": found.tilt_scale,
        "gain": found.gain,
        "gain_standard_error": found.gain_standard_error,
        "ess_fraction": found.ess_fraction,
        "pareto_k": found.pareto_k,
    }


def _other_uses(
    config: Config, selected: data.Table, unbiased: data.Table, whole: data.Table
) -> dict[str, float]:
    """Return the error of a base without the unbiased rows, and of what else they are good for."""
    alone, _ = mnar_ebm.train(config, selected)
    filled = alone.impute(selected.x, num_samples=1000).mean
    weighted = baselines.reweight(selected, unbiased, filled, config.seed)
    fits = {
        "base, selected rows alone": alone,
        "fine-tuned": baselines.fine_tune(alone, unbiased),
        "few rows alone": baselines.few_only(config, unbiased),
        "reweighted (LFIW)": mnar_ebm.train(config, weighted, unbiased=unbiased)[0],
    }
    return {name: _rmse(fitted, whole, config.seed) for name, fitted in fits.items()}


def _rmse(fitted: FittedModel, table: data.Table, seed: int) -> float:
    assert table.truth is not None
    imputed = fitted.impute(table.x, seed=seed)
    return imputation_rmse(imputed.mean, table.truth, table.mask)


def _others(table: data.Table, seed: int) -> dict[str, float]:
    """Return the error of other imputers, and of a regression that was shown the truth."""
    assert table.truth is not None
    methods = {"MICE": peers.mice, "missForest": peers.missforest, "limit": peers.limit}
    return {
        name: imputation_rmse(method(table, seed), table.truth, table.mask)
        for name, method in methods.items()
    }


def make_text(records: Sequence[Record]) -> str:
    """Return the table at the main share, and the errors over shares."""
    return "\n\n".join([_main_table(records), _curve(records)])


def _main_table(records: Sequence[Record]) -> str:
    header = ("method", *DATASETS)
    groups = [record for record in records if record["share"] == MAIN_SHARE]
    labels = dict.fromkeys((record["base"], label) for record in groups for label in record["rmse"])
    rows = []
    for base, label in labels:
        cells = [_cell(groups, name, base, label) for name in DATASETS]
        rows.append((_label(base, label), *cells))
    for base in BASES:
        differences = [_tilt_less_base(groups, name, base) for name in DATASETS]
        rows.append((f"joint tilt less its {base} base, paired by seed", *differences))
    for base in BASES:
        wanted = [f"{WANTED[name, base]:.2f}" for name in DATASETS]
        rows.append((f"*wanted of the joint tilt, {base} base*", *wanted))
    return markdown.table(header, rows)


def _label(base: str, label: str) -> str:
    if label in SPACES:
        return f"{base} base, {label} tilt"
    return f"{base} base" if label == "base" else label


def _cell(records: Sequence[Record], name: str, base: str, label: str) -> str:
    values = [
        record["rmse"][label]
        for record in records
        if (record["dataset"], record["base"]) == (name, base) and label in record["rmse"]
    ]
    return mean_and_error(values)


def _tilt_less_base(records: Sequence[Record], name: str, base: str) -> str:
    """Return mean ± standard error of what the joint tilt changes, positive where it harms."""
    found = [r["rmse"] for r in records if (r["dataset"], r["base"]) == (name, base)]
    return mean_and_error([rmse["joint"] - rmse["base"] for rmse in found], 3)


def _curve(records: Sequence[Record]) -> str:
    header = ("data set", "rows followed up", "seeds", *_CURVE.values(), "scale λ", "ESS/N")
    rows = []
    for name in DATASETS:
        for share in SHARES:
            own = [r for r in records if (r["dataset"], r["share"]) == (name, share)]
            if not own:
                continue
            cells = [_cell(own, name, base, label) for base, label in _CURVE]
            ignorable = [record for record in own if record["base"] == "ignorable"]
            rows.append(
                (
                    name,
                    f"{share:.0%}",
                    len(ignorable),
                    *cells,
                    mean_and_error([record["tilt_scale"] for record in ignorable]),
                    mean_and_error([record["ess_fraction"] for record in ignorable], 3),
                )
            )
    return markdown.table(header, rows)


_CURVE = {
    ("ignorable", "base"): "ignorable base",
    ("ignorable", "joint"): "its joint tilt",
    ("collapsed", "base"): "collapsed base",
    ("collapsed", "joint"): "its tilt",
    ("ignorable", "MICE"): "MICE",
    ("ignorable", "missForest"): "missForest",
    ("ignorable", "limit"): "limit",
}
