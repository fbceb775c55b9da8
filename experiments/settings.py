"""The flags of training, and the config and the table that they ask for."""

import pathlib
from typing import NamedTuple

from absl import flags

from experiments import cli
from mnar_ebm import data
from mnar_ebm.config import Config, settings_by_group

DATASET = flags.DEFINE_string(
    "dataset", "breast_cancer", f"Named data set: one of {', '.join(data.names())}."
)
DATA_PATH = flags.DEFINE_string(
    "data_path", None, "CSV file of one's own, with empty cells; it overrides --dataset."
)
UNBIASED = flags.DEFINE_string(
    "unbiased",
    None,
    "Unbiased sample of the population, to tilt to: a CSV file or a named data set with the same "
    "columns; a column of --data_path that is 1 in these rows and 0 in the others; or a share, as "
    "0.05, of the rows of a named data set, drawn at random, whose gaps are filled by the truth.",
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder with the source files of named data sets.")

SETTINGS = {name: field for name, (_, field) in settings_by_group().items()}
"""Of every setting, by its name, the field that says what it is for and what it may be."""


def define_config_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define a flag for every setting of the config, with its default and its help."""
    define = {
        bool: flags.DEFINE_bool,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        tuple: flags.DEFINE_list,
    }
    for name, field in SETTINGS.items():
        default, text, choices = field.default, field.metadata["help"], field.metadata["choices"]
        if choices:
            flags.DEFINE_enum(name, default, list(choices), text, flag_values=values)
        else:
            define[type(default)](name, default, text, flag_values=values)


define_config_flags()


def config_from_flags(values: flags.FlagValues = flags.FLAGS) -> Config:
    """Return the config that the flags describe.

    Raises:
        ValueError: a value is not allowed.
    """
    return Config(**{name: values[name].value for name in SETTINGS})


def config_from_flagfile(name: str) -> Config:
    """Return the config of a flag file, under the settings that the command line itself tells.

    Raises:
        flags.Error: the file is not found, or holds a flag that is no setting of the config.
        ValueError: a value is not allowed.
    """
    values = flags.FlagValues()
    define_config_flags(values)
    told = [flags.FLAGS[name].serialize() for name in SETTINGS if flags.FLAGS[name].present]
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
        unbiased: an unbiased sample of the population, if there is one.
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
    names = ["dataset", "data_path", "data_dir", "unbiased", cli.MATMUL_PRECISION.name, *SETTINGS]
    lines = ["# python -m experiments.train --flagfile=run.cfg --workdir=ANOTHER_FOLDER"]
    for name in names:
        value = flags.FLAGS[name].value
        is_path = name in ("data_path", "data_dir") or name == "unbiased" and _is_file(value)
        if is_path and value is not None:
            value = pathlib.Path(value).absolute()
        if isinstance(value, (list, tuple)):
            value = ",".join(map(str, value))
        if value is not None:
            lines.append(f"--{name}={value}")
    return "\n".join(lines) + "\n"


def _is_file(name: str | None) -> bool:
    return name is not None and pathlib.Path(name).is_file()
