"""Tell how a statistic of a column depends on what its gaps hold beyond a trained model.

mnar-ebm sensitivity --workdir=RUN --input=table.csv --column=income \
    --gamma=-1,-0.5,0,0.5,1 --output=sensitivity.csv
"""

import pathlib

import matplotlib
import numpy as np
from absl import flags

import mnar_ebm
from mnar_ebm import data
from mnar_ebm.estimator import analysis, departures, statistics
from mnar_ebm.estimator.ensemble import Ensemble
from mnar_ebm.files import replacing
from mnar_ebm.kinds import Block

from . import cli

flags.adopt_module_key_flags(cli)
WORKDIR = flags.DEFINE_string("workdir", None, "Run folder of train.", required=True)
INPUT = flags.DEFINE_string(
    "input", None, "File with empty cells, as --data_path of train.", required=True
)
OUTPUT = flags.DEFINE_string(
    "output", None, "CSV file to write, one row a size; the figure is beside it.", required=True
)
COLUMN = flags.DEFINE_list(
    "column",
    None,
    "Columns whose missing values depart; the statistic is of the first.",
    required=True,
)
GAMMA = flags.DEFINE_list(
    "gamma", None, "Sizes of a tilt exp(gamma x), x in standard deviations of what was observed."
)
DELTA = flags.DEFINE_list("delta", None, "Or sizes of a shift, in the same standard deviations.")
STATISTIC = flags.DEFINE_string(
    "statistic", "mean", "mean, share_above:VALUE or share_below:VALUE."
)
CONCLUSION = flags.DEFINE_float("conclusion", None, "Value that the statistic is compared with.")
NUM_IMPUTATIONS = flags.DEFINE_integer("num_imputations", 20, "Completed tables for each size.")
NUM_SAMPLES = flags.DEFINE_integer(
    "num_importance_samples", None, "Importance samples for each row; as in training by default."
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.")
AT_RANDOM = flags.DEFINE_bool(
    "gaps_at_random", False, "The fitted model is that of gaps at random: without its mechanism."
)
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the output files if they exist.")


def main() -> None:
    """Read, analyse, write."""
    cli.check_seed(SEED.value)
    sizes = {"gamma": _numbers("gamma", GAMMA.value), "delta": _numbers("delta", DELTA.value)}
    analysis.check_grid(**sizes)
    for name, value, least in (
        ("num_imputations", NUM_IMPUTATIONS.value, 2),
        ("num_importance_samples", NUM_SAMPLES.value, 1),
    ):
        if value is not None and value < least:
            raise ValueError(f"--{name}: expected at least {least}, got {value}")
    output = pathlib.Path(OUTPUT.value)
    figure = output.with_suffix(".png")
    if figure == output:
        raise ValueError(f"--output: expected a CSV file, got {output}")
    for path in (output, figure):
        cli.check_output(path, OVERWRITE.value)

    fitted = mnar_ebm.load(WORKDIR.value)
    if AT_RANDOM.value:
        fitted = fitted.without_mechanism()
    if NUM_SAMPLES.value is not None:
        config = fitted.config.replace(num_imputation_samples=NUM_SAMPLES.value)
        fitted = fitted._replace(config=config)
    x = data.align(data.read_rows(INPUT.value), fitted.facts.columns).x
    chosen = analysis.find_columns(COLUMN.value, fitted.facts.columns)
    targets = [
        departures.make_target(fitted.facts.columns[i], Block("numeric", 0, i), x) for i in chosen
    ]
    found = analysis.analyse(
        Ensemble((fitted,), SEED.value),
        x,
        targets,
        statistics.named(STATISTIC.value, chosen[0]),
        name=f"{STATISTIC.value} of {targets[0].name}",
        conclusion=CONCLUSION.value,
        num_imputations=NUM_IMPUTATIONS.value,
        **sizes,
    )
    with replacing(output) as part:
        found.to_frame().to_csv(part, index=False, float_format="%.6g")
    matplotlib.use("Agg")
    with replacing(figure) as part:
        found.plot().savefig(part, dpi=150)
    print(f"{INPUT.value}: {len(x)} rows, {np.isnan(x).sum()} gaps; wrote {output}, {figure}")
    print(found)


def _numbers(name: str, texts: list[str] | None) -> list[float] | None:
    """Return the numbers of a flag, if it was given."""
    try:
        return None if texts is None else [float(text) for text in texts]
    except ValueError as error:
        wrong = str(error).partition(": ")[2]
        raise ValueError(f"--{name}: expected numbers by commas, got {wrong}") from None


if __name__ == "__main__":
    cli.main(main)
