"""What a run left: the record of its newest checkpoint, and the parameters of a finished one."""

import pathlib
from collections.abc import Callable, Collection
from typing import Any

from mnar_ebm import devices
from mnar_ebm.training import checkpoints
from mnar_ebm.types import PyTree

Record = dict[str, Any]

FINISHED = "finished"
"""The stage of a run that has ended."""


def load_finished(
    workdir: pathlib.Path,
    system: str,
    like: Callable[[Record], PyTree],
    may_differ: Callable[[dict[str, str]], Collection[str]] = lambda told: (),
) -> tuple[Record, PyTree]:
    """Return the record and the parameters of a finished run.

    Args:
        workdir: its folder.
        system: which system it must be of.
        like: from the record, parameters of the same structure and shapes.
        may_differ: from what ``run.cfg`` tells, settings that the run chose for itself.

    Raises:
        ValueError: the folder has no checkpoint, an unfinished or a damaged one, one of another
            system, or of another run than its ``run.cfg`` tells.
    """
    record = read_finished(workdir)
    if record.get("system", system) != system:
        raise ValueError(f"{workdir}: expected a run of {system!r}, got {record['system']!r}")
    _check_is_of_run(workdir, record["config"], may_differ)
    with checkpoints.open_manager(workdir) as manager:
        arrays = checkpoints.load_arrays(manager, workdir, {"params": like(record)})
    return record, devices.replicate(devices.data_mesh(), arrays["params"])


def _check_is_of_run(
    workdir: pathlib.Path, config: Record, may_differ: Callable[[dict[str, str]], Collection[str]]
) -> None:
    """Raise ``ValueError`` if a checkpoint's settings are not those that ``run.cfg`` tells.

    Each is whole, and they are of two runs.
    """
    path = workdir / "run.cfg"
    if not path.is_file():
        return
    lines = [line[2:].partition("=") for line in path.read_text().splitlines() if line[:2] == "--"]
    told = {name: value for name, equals, value in lines if equals}
    for name in set(config) & set(told) - set(may_differ(told)):
        if _parts(told[name]) != _parts(config[name]):
            raise ValueError(
                f"{workdir}: the checkpoint is of another run: it has {name}={config[name]}, and "
                f"run.cfg {name}={told[name]}"
            )


def _parts(value: Any) -> list[Any]:
    """Return what a setting or its text holds, as numbers where they are."""
    parts = value if isinstance(value, (list, tuple)) else str(value).split(",")
    return [_number(str(part)) for part in parts if str(part)]


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def read_finished(workdir: pathlib.Path) -> Record:
    """Return the record of a finished run.

    Raises:
        ValueError: the folder has no checkpoint, an unfinished or a damaged one.
    """
    record = read_record(workdir)
    if record["stage"] != FINISHED:
        raise ValueError(
            f"{workdir}: expected a finished run, got one in stage {record['stage']}; "
            "finish it with experiments.train --resume"
        )
    return record


def read_record(workdir: pathlib.Path) -> Record:
    """Return the record of the newest checkpoint of a run folder.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    if not checkpoints.has_checkpoint(workdir):
        raise ValueError(f"{workdir}: expected a checkpoint, found none")
    with checkpoints.open_manager(workdir) as manager:
        return checkpoints.load_record(manager, workdir)
