"""The flags of training, and the config and the table that they ask for."""

import dataclasses
import functools
import pathlib
import sys
import warnings
from typing import Any

import numpy as np
from absl import flags

from mnar_ebm import data
from mnar_ebm.config import Config, settings_by_group
from mnar_ebm.data.codes import warn_of_codes
from mnar_ebm.data.datasets import labelled

from . import cli, pixels, systems
from .given import Given

SYSTEM = flags.DEFINE_enum(
    "system",
    "tilted",
    list(systems.SYSTEMS),
    "What is trained: a tilted VAE of a table with gaps, or another model; flags below say what "
    "they are for in the first, and systems share those of one name.",
)
DATASET = flags.DEFINE_string(
    "dataset", "breast_cancer", f"Named data set: one of {', '.join(data.names())}."
)
DATA_PATH = flags.DEFINE_string(
    "data_path",
    None,
    "File of one's own, with empty cells: CSV, SPSS (.sav, .por), Stata (.dta), SAS (.sas7bdat), "
    "Parquet or Arrow; it overrides --dataset.",
)
UNBIASED = flags.DEFINE_string(
    "unbiased",
    None,
    "Unbiased sample of the population, to tilt to: a CSV file or a named data set with the same "
    "columns; a column of --data_path that is 1 in these rows and 0 in the others; or a share, as "
    "0.05, of the rows of a named data set, drawn at random, whose gaps are filled by the truth.",
)
MISSING_CODES = flags.DEFINE_string(
    "missing_codes",
    None,
    "Numbers in --data_path that stand for missing values, and why, as 'income: -9 refused, -8 not "
    "asked; *: 99', * for all columns. What was not asked is no part of the mechanism.",
)
PIXELS = flags.DEFINE_enum(
    "pixels",
    "grey",
    pixels.KINDS,
    "Of images (--system=vae), whose values are from 0 to 1: as they are; drawn once, on with that "
    "probability, the same draw for every seed; or on above one half.",
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder with the source files of named data sets.")


def fields_of(kind: type) -> dict[str, dataclasses.Field[Any]]:
    """Return the settings of a system by their names: what they are for and what they may be."""
    if kind is Config:
        return {name: field for name, (_, field) in settings_by_group().items()}
    return {field.name: field for field in dataclasses.fields(kind)}


SETTINGS = {system: fields_of(kind) for system, kind in systems.SYSTEMS.items()}
"""Settings of every system; a flag that several have says what it is for in the first of them."""


def define_config_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define a flag for every setting of every system, with its default and its help."""
    define = {
        bool: flags.DEFINE_bool,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        tuple: flags.DEFINE_list,
    }
    for system, fields in SETTINGS.items():
        for name, field in fields.items():
            if name in values:
                continue
            default = field.default
            choices = dict.fromkeys(
                choice
                for others in SETTINGS.values()
                if name in others
                for choice in others[name].metadata["choices"]
            )
            text = field.metadata["help"]
            if system != SYSTEM.default:
                text = f"{text.removesuffix('.')} (--system={system})."
            if choices:
                flags.DEFINE_enum(name, default, list(choices), text, flag_values=values)
            else:
                define[type(default)](name, default, text, flag_values=values)


define_config_flags()


def config_from_flags(values: flags.FlagValues = flags.FLAGS, system: str | None = None) -> Any:
    """Return the config of the system that the flags describe; what is not told is its default.

    Raises:
        ValueError: a value is not allowed, or a flag is of another system.
    """
    system = SYSTEM.value if system is None else system
    own = SETTINGS[system]
    told = {
        name: values[name].value
        for name in dict.fromkeys(name for fields in SETTINGS.values() for name in fields)
        if not values[name].using_default_value
    }
    for name in told:
        if name not in own:
            raise ValueError(
                f"--{name}: expected a setting of --system={system}, got one of others"
            )
    return systems.SYSTEMS[system](**systems.DEFAULTS.get(system, {}) | told)


def config_from_flagfile(name: str) -> Config:
    """Return the config of a flag file, under the settings that the command line itself tells.

    Raises:
        flags.Error: the file is not found, or holds a flag that is no setting of the config.
        ValueError: a value is not allowed.
    """
    values = flags.FlagValues()
    define_config_flags(values)
    told = [flags.FLAGS[one].serialize() for one in fields_of(Config) if flags.FLAGS[one].present]
    values(["", *cli.expand([f"--flagfile={name}"]), *told])
    return config_from_flags(values, "tilted")


def dataset_name() -> str:
    """Return the name of the data set, for a run folder and a report."""
    return pathlib.Path(DATA_PATH.value).stem if DATA_PATH.value else DATASET.value


def load_rows() -> Given:
    """Return the rows that the flags ask for.

    Raises:
        ValueError: a name is unknown, a file is missing or cannot be read as a table, the unbiased
            rows do not go with the others, or pixels are told of what are no images.
    """
    if SYSTEM.value == "vae":
        return _load_images()
    if PIXELS.present:
        raise ValueError(f"--pixels: expected it with --system=vae, got {SYSTEM.value}")
    csv, classes = None, None
    if SYSTEM.value == "jem":
        return _load_classes()
    if DATA_PATH.value is None:
        table = data.load(DATASET.value, DATA_DIR.value, seed=flags.FLAGS.seed)
        if DATASET.value in labelled.NAMES:
            classes = functools.partial(labelled.load, DATASET.value, DATA_DIR.value)
    else:
        csv = _read_own(DATA_PATH.value)
        if UNBIASED.value in csv.columns:
            csv, unbiased = data.split_marked(csv, UNBIASED.value)
            table = data.to_table(csv, dataset_name())
            return Given(table, table, csv, data.to_table(unbiased, "unbiased"))
        table = data.to_table(csv, dataset_name())
    if UNBIASED.value is None:
        return Given(table, table, csv, classes=classes)
    share = _share(UNBIASED.value)
    if share is None:
        return Given(table, table, csv, _load_unbiased(UNBIASED.value, table))
    selected, unbiased, whole = data.follow_up(table, share, flags.FLAGS.seed)
    return Given(selected, whole, None, unbiased)


def _load_classes() -> Given:
    """Return the images of a named set that are trained on, and how to read the others.

    Raises:
        ValueError: rows are from a file, which has no classes, or the set has none.
    """
    if DATA_PATH.value is not None:
        known = ", ".join(labelled.NAMES)
        raise ValueError(f"--data_path: expected a --dataset with classes, one of {known}")
    parts = labelled.load(DATASET.value, DATA_DIR.value)
    names = labelled.columns(parts.train.x.shape[1])
    table = data.make_table(DATASET.value, names, parts.train.x)
    other = {"mnist": "fashion_mnist", "fashion_mnist": "mnist"}.get(DATASET.value)

    def others() -> dict[str, np.ndarray]:
        if other is None or not pathlib.Path(str(DATA_DIR.value), other).is_dir():
            return {}
        return {other: labelled.load(other, DATA_DIR.value).test.x}

    return Given(table, table, classes=lambda: parts, others=others)


def _read_own(path: str) -> data.Csv:
    """Return the rows of a file; tell what is left out, and what looks like an untold code."""
    codes = MISSING_CODES.value or ""
    csv = data.read_rows(path, require_observed=True, missing_codes=codes)
    if names := data.left_out(csv):
        print(f"note: left out, for they hold no numbers: {', '.join(names)}", file=sys.stderr)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_codes(csv.x, csv.columns, "--missing_codes makes them gaps")
    for one in caught:
        print(f"warning: {one.message}", file=sys.stderr)
    return csv


def _load_images() -> Given:
    """Return images from 0 to 1, of a named set with the others and classes, or with gaps."""
    if UNBIASED.value is not None:
        raise ValueError("--unbiased: expected none with --system=vae; --system=tilted takes it")
    if DATA_PATH.value is None and DATASET.value in labelled.NAMES:
        parts = pixels.of_parts(labelled.load(DATASET.value, DATA_DIR.value), PIXELS.value)
        names = labelled.columns(parts.train.x.shape[1])
        table = data.make_table(DATASET.value, names, parts.train.x)
        return Given(table, table, classes=lambda: parts)
    if DATA_PATH.value is None:
        table = data.load(DATASET.value, DATA_DIR.value, seed=flags.FLAGS.seed)
    else:
        table = data.to_table(_read_own(DATA_PATH.value), dataset_name())
    table = pixels.of_table(table, PIXELS.value)
    return Given(table, table)


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
            "--unbiased: expected a file, a named data set, a share from 0 to 1, or a column "
            f"of --data_path, got {name!r}"
        )
    return data.to_table(data.align(data.read_rows(name), table.columns), "unbiased")


def to_flagfile(config: Any) -> str:
    """Return a flag file that repeats the run, whatever the defaults will be by then."""
    source = {name: flags.FLAGS[name].value for name in ("dataset", "data_path", "data_dir")}
    for name in ("data_path", "data_dir"):
        source[name] = source[name] and pathlib.Path(source[name]).absolute()
    unbiased = UNBIASED.value
    source[MISSING_CODES.name] = MISSING_CODES.value
    source["unbiased"] = pathlib.Path(unbiased).absolute() if _is_file(unbiased) else unbiased
    if SYSTEM.value == "vae":
        source[PIXELS.name] = PIXELS.value
    source[cli.MATMUL_PRECISION.name] = cli.MATMUL_PRECISION.value
    told = {"system": SYSTEM.value, **source, **config.flat()}
    lines = ["# mnar-ebm train --flagfile=run.cfg --workdir=ANOTHER_FOLDER"]
    for name, value in told.items():
        if isinstance(value, (list, tuple)):
            value = ",".join(map(str, value))
        if value is not None:
            lines.append(f"--{name}={value}")
    return "\n".join(lines) + "\n"


def _is_file(name: str | None) -> bool:
    return name is not None and pathlib.Path(name).is_file()
