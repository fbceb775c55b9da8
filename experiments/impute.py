"""Complete a CSV file with a trained model.

python -m experiments.impute --workdir=RUN --input=in.csv --output=out.csv --num_imputations=20
python -m experiments.impute --workdir=RUN --input=images.csv --output=out.csv --hide=lower_half
"""

import functools
import pathlib

import numpy as np
import pandas as pd
from absl import flags

from experiments import cli, hiding, systems
from mnar_ebm import data
from mnar_ebm.files import replacing

flags.adopt_module_key_flags(cli)
WORKDIR = flags.DEFINE_string("workdir", None, "Run folder of experiments.train.", required=True)
INPUT = flags.DEFINE_string("input", None, "CSV file with empty cells.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "CSV file to write.", required=True)
NUM_IMPUTATIONS = flags.DEFINE_integer(
    "num_imputations",
    1,
    "1: gaps hold their posterior mean. More: a long table of draws from the posterior, with "
    "OUTPUT.mean.csv and OUTPUT.std.csv beside it.",
)
NUM_SAMPLES = flags.DEFINE_integer(
    "num_importance_samples", None, "Importance samples for each row; as in training by default."
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.")
AT_RANDOM = flags.DEFINE_bool(
    "gaps_at_random", False, "The gaps of these rows are at random, as those of unbiased rows are."
)
HIDE = flags.DEFINE_enum(
    "hide",
    None,
    hiding.PARTS,
    "Of square images: a part of each that is hidden first, filled, and compared with what it was.",
)
MASK = flags.DEFINE_string(
    "mask",
    None,
    "CSV file with the columns of the input and one row, or as many: 1, or 0 where cells are "
    "hidden first, filled, and compared with what they were.",
)
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the output files if they exist.")

OPTIONS = (NUM_IMPUTATIONS, NUM_SAMPLES, SEED, AT_RANDOM)
"""What the model is told; those that are for a tilted table alone are refused of others."""


def main() -> None:
    """Read, impute, write."""
    if NUM_IMPUTATIONS.value < 1:
        raise ValueError(f"--num_imputations: expected at least 1, got {NUM_IMPUTATIONS.value}")
    if NUM_SAMPLES.value is not None and NUM_SAMPLES.value < 1:
        raise ValueError(f"--num_importance_samples: expected at least 1, got {NUM_SAMPLES.value}")
    cli.check_seed(SEED.value)
    output = pathlib.Path(OUTPUT.value)
    several = NUM_IMPUTATIONS.value > 1
    mean_path, std_path = (output.with_suffix(f".{name}.csv") for name in ("mean", "std"))
    for path in (output, mean_path, std_path) if several else (output,):
        cli.check_output(path, OVERWRITE.value)

    system = systems.named(systems.of_run(WORKDIR.value))
    system.check_told("impute", [flag.name for flag in OPTIONS if flag.present])
    options = {flag.name: flag.value for flag in OPTIONS}
    whole = data.read_csv(INPUT.value)
    hidden = hiding.hide(whole, _mask(whole))
    completed = system.impute(WORKDIR.value, functools.partial(data.align, hidden), options)
    csv, mean, draws, scale, notes = completed
    if several:
        with replacing(output) as part:
            data.long_table(csv, draws, scale).to_csv(part, index=False)
        data.write_completed(mean_path, csv, mean, scale)
        std = np.where(np.isnan(csv.x), draws.std(axis=0, ddof=1), 0.0)
        std = pd.DataFrame(std, columns=list(csv.columns))
        with replacing(std_path) as part:
            std[list(csv.file_columns)].to_csv(part, index=False, float_format="%.6g")
    else:
        data.write_completed(output, csv, mean, scale)
    missing = np.isnan(csv.x)
    print(f"{INPUT.value}: {len(csv.x)} rows, {missing.sum()} gaps filled; wrote {output}")
    for note in notes:
        print(note)
    if HIDE.value or MASK.value:
        told = hiding.compare(data.align(whole, csv.columns), completed)
        print(", ".join(f"{name} {value:.4g}" for name, value in told.items()))


def _mask(csv: data.Csv) -> np.ndarray:
    """Return which cells are shown. [N, D]."""
    if HIDE.value and MASK.value:
        raise ValueError("expected --hide or --mask, got both")
    if HIDE.value:
        return hiding.mask_of(HIDE.value, csv)
    return hiding.mask_from(MASK.value, csv) if MASK.value else np.ones(csv.x.shape, bool)


if __name__ == "__main__":
    cli.main(main)
