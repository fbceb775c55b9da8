r"""Do 95 % intervals from multiple imputation cover? A covariate that hides itself, 200 tables.

python -m experiments.benchmark.coverage --workdir=runs/coverage

Each table has N rows of the law

    x ~ N(0, 1),   y = 1 + x + N(0, 0.7²),   v = x + N(0, 1),   P(x missing|x) = \Phi(1.5 (x - 0.5))

and two things are estimated from it: the slope of y on x, and the mean of x. Each method completes
a table M times, least squares is fitted to each completed table, and Rubin's rules pool. Draws of
one fitted model leave out that the model itself is uncertain; with a model fitted to a bootstrap
sample of the rows for each imputation they do not. All tables are fitted at once, by one program.

References:
    D. B. Rubin, "Multiple Imputation for Nonresponse in Surveys", 1987, sec. 4.2 (proper draws).
    R. J. A. Little, D. B. Rubin, "Statistical Analysis with Missing Data", 3rd ed., 2020, ch. 10 (a
    bootstrap sample for each imputation).
"""

import functools
import json
import pathlib
import time
import warnings
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags
from scipy import stats

from experiments import cli, markdown, settings
from experiments.benchmark.many_tables import Fitter
from mnar_ebm import Config, data, metrics

NUM_TABLES = flags.DEFINE_integer("num_tables", 200, "Simulated tables.")
NUM_ROWS = flags.DEFINE_integer("num_rows", 400, "Rows of each table.")
NUM_IMPUTATIONS = flags.DEFINE_integer("num_imputations", 20, "Imputations of each table.")
BOOTSTRAP_STEPS = flags.DEFINE_integer(
    "bootstrap_steps", 200, "Steps from the table's fit to that of a bootstrap sample; 0: none."
)
WORKDIR = flags.DEFINE_string("workdir", "runs/coverage", "Folder for coverage.json.")
README = flags.DEFINE_string("readme", None, "Markdown file to put the table into.")

BEGIN = "<!-- coverage: python -m experiments.benchmark.coverage -->"
END = "<!-- end of coverage -->"

TRUTH = {"slope": 1.0, "mean": 0.0}
LEVEL = 0.95


class Estimates(NamedTuple):
    """What least squares makes of one complete table; the slope of y on x and the mean of x.

    Attributes:
        values: the estimates. [2]
        variances: their squared standard errors. [2]
        df: their degrees of freedom. [2]
    """

    values: np.ndarray
    variances: np.ndarray
    df: np.ndarray


def main() -> None:
    """Simulate, complete by every method, and say how often the intervals cover."""
    workdir = pathlib.Path(WORKDIR.value)
    cli.check_writable(workdir)
    config = settings.config_from_flagfile("benchmark/coverage.cfg")
    rng = np.random.default_rng(config.seed)
    truth, mask = simulate(rng, NUM_TABLES.value, NUM_ROWS.value)
    results = {}
    for name, complete in make_methods(config, rng).items():
        started = time.perf_counter()
        intervals = complete(truth, mask)
        results[name] = summarise(*intervals) | {"seconds": time.perf_counter() - started}
        print(f"{name}: {results[name]['seconds']:.0f} s", flush=True)
    record = {"num_tables": len(truth), "num_rows": truth.shape[1], "results": results}
    record["missing"] = float(1 - mask[:, :, 0].mean())
    (workdir / "coverage.json").write_text(json.dumps(record, indent=2) + "\n")
    text = make_text(record)
    markdown.tell(text, README.value, BEGIN, END)


def simulate(
    rng: np.random.Generator, num_tables: int, num_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return complete tables and masks, both [T, N, 3], with the columns x, y, v."""
    x, noise_y, noise_v = rng.normal(size=(3, num_tables, num_rows))
    truth = np.stack([x, 1.0 + x + 0.7 * noise_y, x + noise_v], axis=-1)
    mask = np.ones(truth.shape, bool)
    mask[..., 0] = rng.random(x.shape) >= stats.norm.cdf(1.5 * (x - 0.5))
    return truth, mask


def least_squares(table: np.ndarray) -> Estimates:
    """Return the slope of y on x and the mean of x of a complete table [N, D]."""
    x, y = table[:, 0], table[:, 1]
    num_rows = len(x)
    centred = x - x.mean()
    slope = centred @ y / (centred @ centred)
    residual = y - y.mean() - slope * centred
    variances = [
        residual @ residual / (num_rows - 2) / (centred @ centred),
        x.var(ddof=1) / num_rows,
    ]
    return Estimates(
        np.array([slope, x.mean()]), np.array(variances), np.array([num_rows - 2, num_rows - 1])
    )


def interval_of_one(table: np.ndarray) -> np.ndarray:
    """Return estimates and interval ends from one complete table. [3, 2]."""
    found = least_squares(table)
    half = stats.t.ppf(0.5 + LEVEL / 2, found.df) * np.sqrt(found.variances)
    return np.stack([found.values, found.values - half, found.values + half])


def interval_of_many(tables: np.ndarray) -> np.ndarray:
    """Return pooled estimates and interval ends from completed tables [M, N, D]. [3, 2]."""
    found = [least_squares(table) for table in tables]
    pooled = [
        metrics.pool(
            np.array([[one.values[index]] for one in found]),
            np.array([[one.variances[index]] for one in found]),
            float(found[0].df[index]),
        )
        for index in range(2)
    ]
    rows = [(one.estimate, *one.interval(LEVEL)) for one in pooled]
    return np.array(rows)[:, :, 0].T


def make_methods(config: Config, rng: np.random.Generator) -> dict[str, Any]:
    """Return by name the functions ``(truth, mask) -> (estimates, low, high)``, each [T, 2]."""

    def from_rows(select: Any) -> Any:
        def run(truth: np.ndarray, mask: np.ndarray) -> Any:
            rows = [
                interval_of_one(table[select(seen)])
                for table, seen in zip(truth, mask, strict=True)
            ]
            return np.stack(rows, axis=1)

        return run

    def from_draws(draw: Any) -> Any:
        def run(truth: np.ndarray, mask: np.ndarray) -> Any:
            draws = draw(truth, mask)
            return np.stack([interval_of_many(tables) for tables in draws], axis=1)

        return run

    methods = {
        "nothing missing": from_rows(lambda seen: np.ones(len(seen), bool)),
        "complete rows": from_rows(lambda seen: seen.all(axis=1)),
        "mice": from_draws(functools.partial(mice_draws, NUM_IMPUTATIONS.value)),
        "one model": from_draws(functools.partial(model_draws, config, None, rng)),
    }
    if BOOTSTRAP_STEPS.value:
        steps = BOOTSTRAP_STEPS.value
        methods["bootstrapped models"] = from_draws(
            functools.partial(model_draws, config, steps, rng)
        )
    return methods


def mice_draws(num_imputations: int, truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return draws of IterativeImputer with Bayesian ridge, as if x were missing at random."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    def draw(table: np.ndarray, seed: int) -> np.ndarray:
        return IterativeImputer(sample_posterior=True, max_iter=2, random_state=seed).fit_transform(
            table
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.stack(
            [
                [draw(table, seed) for seed in range(num_imputations)]
                for table in np.where(mask, truth, np.nan)
            ]
        )


def model_draws(
    config: Config,
    bootstrap_steps: int | None,
    rng: np.random.Generator,
    truth: np.ndarray,
    mask: np.ndarray,
) -> np.ndarray:
    """Return imputations of every table by models fitted to it. [T, M, N, D].

    Args:
        config: of a fit.
        bootstrap_steps: steps from the fit of a table to that of a bootstrap sample of it, one
            for each imputation; ``None``: all imputations are of the one fit.
        rng: of the bootstrap samples.
        truth: complete tables; what the mask hides is not read. [T, N, D]
        mask: ``True`` where observed. [T, N, D]
    """
    num_imputations = NUM_IMPUTATIONS.value
    standardisers = [data.Standardiser.fit(*pair) for pair in zip(truth, mask, strict=True)]
    standard = [s.apply(table) for s, table in zip(standardisers, truth, strict=True)]
    x = np.where(mask, np.stack(standard), 0.0).astype(np.float32)
    fitter = Fitter(config, x.shape[2])
    key_fit, key_bootstrap, key_draws = jax.random.split(jax.random.key(config.seed), 3)
    params = fitter.fit(key_fit, fitter.init(key_fit, mask), x, mask, config.optimisation.num_steps)
    if bootstrap_steps is None:
        draws = fitter.draw(key_draws, params, x, mask, num_imputations)  # [T, N, M, D]
        draws = np.moveaxis(draws, 2, 1)
    else:
        each = []
        for index in range(num_imputations):
            rows = rng.integers(x.shape[1], size=x.shape[:2])[:, :, None]
            again = (np.take_along_axis(array, rows, axis=1) for array in (x, mask))
            key_index = jax.random.fold_in(key_bootstrap, index)
            refitted = fitter.fit(key_index, params, *again, bootstrap_steps)
            key_index = jax.random.fold_in(key_draws, index)
            each.append(fitter.draw(key_index, refitted, x, mask, 1)[:, :, 0])
        draws = np.stack(each, axis=1)
    original = [s.invert(table) for s, table in zip(standardisers, draws, strict=True)]
    return np.where(mask[:, None], truth[:, None], np.stack(original))


def summarise(estimates: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    """Return bias, width and coverage of each estimand, with Monte Carlo standard errors."""
    summary = {}
    root = np.sqrt(len(estimates))
    for index, (name, truth) in enumerate(TRUTH.items()):
        covers = (low[:, index] <= truth) & (truth <= high[:, index])
        summary[name] = {
            "bias": float(estimates[:, index].mean() - truth),
            "bias_error": float(estimates[:, index].std(ddof=1) / root),
            "width": float((high - low)[:, index].mean()),
            "coverage": float(covers.mean()),
            "coverage_error": float(covers.std() / root),
        }
    return summary


def make_text(record: dict[str, Any]) -> str:
    """Return the Markdown table of a study."""
    lines = [
        f"{record['num_tables']} tables of {record['num_rows']} rows, {record['missing']:.0%} of x "
        "missing; nominal coverage 95 %",
        "",
        "| method | estimand | bias | width of interval | coverage | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in record["results"].items():
        for estimand in TRUTH:
            found = result[estimand]
            lines.append(
                f"| {name} | {estimand} | {found['bias']:+.3f} ± {found['bias_error']:.3f} "
                f"| {found['width']:.3f} | {found['coverage']:.3f} ± {found['coverage_error']:.3f} "
                f"| {result['seconds']:.0f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    cli.main(main)
