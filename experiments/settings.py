"""The flags of training, and the config and the table that they ask for."""

import dataclasses
import pathlib
from typing import NamedTuple

from absl import flags

from experiments import cli
from mnar_ebm import data
from mnar_ebm.config import (
    DECODERS,
    LIKELIHOODS,
    MECHANISMS,
    NEGATIVE_PHASES,
    PROPOSALS,
    SCALES,
    SCHEDULES,
    SIGNS,
    SLOPE_STARTS,
    STANDARDISERS,
    TILTS,
    UNBIASED_ENERGIES,
    Config,
)

_DEFAULT = Config()

DATASET = flags.DEFINE_string(
    "dataset", "breast_cancer", f"Named data set: one of {', '.join(data.names())}."
)
DATA_PATH = flags.DEFINE_string(
    "data_path", None, "CSV file of one's own, with empty cells; it goes before --dataset."
)
UNBIASED = flags.DEFINE_string(
    "unbiased",
    None,
    "Rows of everybody, to tilt to: a CSV file or a named data set with the same columns; a column "
    "of --data_path that is 1 in these rows and 0 in the others; or a share, as 0.05, of the rows "
    "of a named data set, drawn at random, whose gaps are filled by the truth.",
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder with the source files of named data sets.")

_ENUMS = {
    "tilt": (TILTS, "What the energy reads: nothing, x, z, or both."),
    "mechanism": (MECHANISMS, "Model of why values are missing; none ignores it."),
    "sign": (SIGNS, "Values that a self-masking mechanism hides; unknown: learned per column."),
    "slope_start": (
        SLOPE_STARTS,
        "Where the slopes of unknown sign start; best: by held-out bound.",
    ),
    "likelihood": (LIKELIHOODS, "Distribution of a value given the latent."),
    "decoder": (DECODERS, "Map from the latent to the mean: network, linear, or their sum."),
    "decoder_scale": (SCALES, "One scale for all, one per column, or one per column and latent."),
    "proposal": (PROPOSALS, "Draw latents by an encoder, or at the mode of a linear decoder's."),
    "negative_phase": (NEGATIVE_PHASES, "Estimator of the tilt's negative phase."),
    "schedule": (SCHEDULES, "Learning rates warm up and decay to 0, or stay at their peak."),
    "unbiased_energy": (
        UNBIASED_ENERGIES,
        "Second energy, fitted to the unbiased rows; best: by the bound on folds of them.",
    ),
    "standardise": (
        STANDARDISERS,
        "Bring columns to mean 0 and sd 1 over observed cells, bend them, too, or neither.",
    ),
}
_SWITCHES = {
    "show_mask": "Let the encoder read the mask beside the row.",
    "column_gain": "Learn a factor of mean and scale for each column.",
    "gap_terms": "Let the mechanism read earlier gaps and the values observed among them, too.",
}
_LISTS = {
    "own_slopes": "Factors of the first slope of self-masking, by encoded column; 0: it stays 0.",
}
_NUMBERS = {
    "latent_dim": "Dimensions of the latent.",
    "hidden_dim": "Units in each hidden layer.",
    "num_importance_samples": "Importance samples of the bound that is trained.",
    "batch_size": "Rows in a step.",
    "learning_rate": "Peak learning rate of the base.",
    "num_steps": "Steps of the stage base.",
    "tilt_learning_rate": "Peak learning rate of the tilt.",
    "tilt_steps": "Steps of the stage tilt.",
    "energy_bound": "Largest absolute value of an energy, in nats.",
    "joint_steps": "Steps of the stage joint, after the tilt; 0: none.",
    "num_negatives": "Base draws or chains in one estimate of the negative phase.",
    "num_chain_steps": "MALA steps of each chain in a step of training, for cd and pcd.",
    "chain_step_size": "Step size of these chains, in units of the base's noise.",
    "replay_size": "Chains that pcd keeps, at least num_negatives.",
    "restart_share": "Share of the chains that pcd starts again at each step, from 0 to 1.",
    "unbiased_share": "Least share of unbiased rows in training, in which few are repeated.",
    "unbiased_steps": "Steps in which the second energy is fitted.",
    "unbiased_folds": "Folds of the unbiased rows; 0: none, the energy is taken as it fits.",
    "weight_decay": "Decoupled weight decay of the encoder; 0: none.",
    "mechanism_weight_decay": "That of what a linear mechanism reads of other columns; 0: none.",
    "slope_precision": "1/sd² of a normal prior of asinh of a mechanism's own slopes; 0: none.",
    "tilt_weight_decay": "That of the energy's kernels; 0: none.",
    "ema_decay": "Decay of the running mean of parameters that is evaluated; 0: none.",
    "validation_fraction": "Share of rows held out, up to 0.5; 0, without a tilt: none.",
    "patience": "Evaluations without a better held-out bound before a stage stops.",
    "num_imputation_samples": "Importance samples for each row of the final imputation.",
    "seed": "Seed of everything random.",
}


def define_config_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define a flag for every setting of the config, with its default."""
    for name, (choices, text) in _ENUMS.items():
        flags.DEFINE_enum(name, getattr(_DEFAULT, name), list(choices), text, flag_values=values)
    for name, text in _SWITCHES.items():
        flags.DEFINE_bool(name, getattr(_DEFAULT, name), text, flag_values=values)
    for name, text in _LISTS.items():
        flags.DEFINE_list(name, list(getattr(_DEFAULT, name)), text, flag_values=values)
    for name, text in _NUMBERS.items():
        default = getattr(_DEFAULT, name)
        define = flags.DEFINE_integer if isinstance(default, int) else flags.DEFINE_float
        define(name, default, text, flag_values=values)


define_config_flags()


def config_from_flags(values: flags.FlagValues = flags.FLAGS) -> Config:
    """Return the config that the flags describe.

    Raises:
        ValueError: a value is not allowed.
    """
    names = [field.name for field in dataclasses.fields(Config)]
    return Config(**{name: values[name].value for name in names})


def config_from_flagfile(name: str) -> Config:
    """Return the config of a flag file, under the settings that the command line itself tells.

    Raises:
        flags.Error: the file is not found, or holds a flag that is no setting of the config.
        ValueError: a value is not allowed.
    """
    values = flags.FlagValues()
    define_config_flags(values)
    told = [
        flags.FLAGS[setting].serialize()
        for setting in (*_ENUMS, *_SWITCHES, *_LISTS, *_NUMBERS)
        if flags.FLAGS[setting].present
    ]
    values(["", *cli.expand([f"--flagfile={name}"]), *told])
    return config_from_flags(values)


def dataset_name() -> str:
    """Return the name of the data set, for a run folder and a report."""
    return pathlib.Path(DATA_PATH.value).stem if DATA_PATH.value else DATASET.value


class Given(NamedTuple):
    """The rows that a run is given.

    Attributes:
        table: the selected rows, or all if there are no others.
        csv: the rows of ``whole`` as a CSV file, which ``imputed.csv`` completes.
        whole: the rows whose gaps are to be filled: ``table``, and among them those that were
            followed up, complete.
        unbiased: rows of everybody, if there are any.
    """

    table: data.Table
    csv: data.Csv
    whole: data.Table
    unbiased: data.Table | None = None


def load_rows() -> Given:
    """Return the rows that the flags ask for.

    Raises:
        ValueError: a name is unknown, a file is missing or cannot be read as a table, or the
            unbiased rows do not go with the others.
    """
    if DATA_PATH.value is None:
        table = data.load(DATASET.value, DATA_DIR.value, seed=flags.FLAGS.seed)
        csv = data.from_table(table)
    else:
        csv = data.read_csv(DATA_PATH.value, require_observed=True)
        if UNBIASED.value in csv.columns:
            csv, unbiased = data.split_marked(csv, UNBIASED.value)
            table = data.to_table(csv, dataset_name())
            return Given(table, csv, table, data.to_table(unbiased, "unbiased"))
        table = data.to_table(csv, dataset_name())
    if UNBIASED.value is None:
        return Given(table, csv, table)
    share = _share(UNBIASED.value)
    if share is None:
        return Given(table, csv, table, _load_unbiased(UNBIASED.value, table))
    selected, unbiased, whole = data.follow_up(table, share, flags.FLAGS.seed)
    return Given(selected, data.from_table(whole), whole, unbiased)


def _share(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _load_unbiased(name: str, table: data.Table) -> data.Table:
    """Return unbiased rows from a CSV file or a named data set, in the table's order of columns."""
    if name in data.names():
        given = data.load(name, DATA_DIR.value, seed=flags.FLAGS.seed)
        x = given.x if given.truth is None else given.truth
        return data.make_table("unbiased", given.columns, x)
    if not pathlib.Path(name).is_file():
        raise ValueError(
            "--unbiased: expected a CSV file, a named data set, a share from 0 to 1, or a column "
            f"of --data_path, got {name!r}"
        )
    return data.to_table(data.align(data.read_csv(name), table.columns), "unbiased")


def to_flagfile() -> str:
    """Return a flag file that repeats the run, whatever the defaults will be by then."""
    names = ["dataset", "data_path", "data_dir", "unbiased"]
    names += [*_ENUMS, *_SWITCHES, *_LISTS, *_NUMBERS]
    lines = ["# python -m experiments.train --flagfile=run.cfg --workdir=ANOTHER_FOLDER"]
    for name in names:
        value = flags.FLAGS[name].value
        is_path = name in ("data_path", "data_dir") or name == "unbiased" and _is_file(value)
        if is_path and value is not None:
            value = pathlib.Path(value).absolute()
        if name in _LISTS:
            value = ",".join(map(str, value))
        if value is not None:
            lines.append(f"--{name}={value}")
    return "\n".join(lines) + "\n"


def _is_file(name: str | None) -> bool:
    return name is not None and pathlib.Path(name).is_file()
