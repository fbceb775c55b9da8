"""Checkpoints of a run, by orbax: arrays and a JSON record, written whole or not at all.

A checkpoint is ``arrays``, a pytree, and ``record``, plain JSON that says what model and data
the arrays belong to; a digest of each is kept, and checked when it is read. This is the one
module that knows orbax.
"""

import contextlib
import gc
import hashlib
import json
import logging
import pathlib
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from mnar_ebm.types import PyTree

FOLDER = "checkpoints"
MAX_KEPT = 2
_HALF_WRITTEN = ".orbax-checkpoint-tmp"


def open_manager(workdir: pathlib.Path) -> ocp.CheckpointManager:
    """Open the checkpoints of a run folder; the last ``MAX_KEPT`` are kept."""
    options = ocp.CheckpointManagerOptions(max_to_keep=MAX_KEPT, create=True)
    return ocp.CheckpointManager((workdir / FOLDER).absolute(), options=options)


def tidy(manager: ocp.CheckpointManager) -> None:
    """Drop what a killed run left: checkpoints half written, and those it was about to drop."""
    for step in sorted(manager.all_steps())[:-MAX_KEPT]:
        manager.delete(step)
    for child in pathlib.Path(manager.directory).iterdir():
        if _HALF_WRITTEN in child.name:
            shutil.rmtree(child)


def has_checkpoint(workdir: pathlib.Path) -> bool:
    """Return whether the run folder holds a finished checkpoint."""
    folder = workdir / FOLDER
    return folder.is_dir() and any(child.name.isdigit() for child in folder.iterdir())


def save(manager: ocp.CheckpointManager, step: int, arrays: PyTree, record: dict[str, Any]) -> None:
    """Write a checkpoint and wait until it is on disk; a step already written is left alone."""
    if manager.latest_step() is not None and manager.latest_step() >= step:
        return
    record = {"content": record, "digest": _digest(record), "arrays_digest": _array_digest(arrays)}
    args = ocp.args.Composite(
        arrays=ocp.args.StandardSave(arrays), record=ocp.args.JsonSave(record)
    )
    manager.save(step, args=args, force=True)
    manager.wait_until_finished()


def load_record(manager: ocp.CheckpointManager, workdir: pathlib.Path) -> dict[str, Any]:
    """Return the JSON record of the newest checkpoint.

    Raises:
        ValueError: there is none, it cannot be read, or it is not the one written.
    """
    step = manager.latest_step()
    if step is None:
        raise ValueError(f"{workdir}: expected a checkpoint, found none")
    with _told_in_one_line(workdir, step):
        record = _read_record(manager, step)
        _check_digest(_digest(record["content"]), record["digest"])
    return record["content"]


def load_arrays(manager: ocp.CheckpointManager, workdir: pathlib.Path, like: PyTree) -> PyTree:
    """Return the arrays of the newest checkpoint.

    Args:
        manager: the run's checkpoints.
        workdir: the run folder, for messages.
        like: a pytree of the same structure, shapes and types.

    Raises:
        ValueError: the arrays cannot be read, are of another shape, or are not those written.
    """
    step = manager.latest_step()
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    with _told_in_one_line(workdir, step):
        arrays = manager.restore(
            step, args=ocp.args.Composite(arrays=ocp.args.StandardRestore(target))
        )["arrays"]
        _check_digest(_array_digest(arrays), _read_record(manager, step)["arrays_digest"])
    return arrays


def _read_record(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    args = ocp.args.Composite(record=ocp.args.JsonRestore())
    return manager.restore(step, args=args)["record"]


def _check_digest(found: str, written: str) -> None:
    if found != written:
        raise ValueError("its digest is not the one recorded")


@contextlib.contextmanager
def _told_in_one_line(workdir: pathlib.Path, step: int | None) -> Iterator[None]:
    """Raise what reading raises as one ``ValueError``.

    What orbax leaves of its event loop would print tracebacks when it is collected: that is now.
    """
    logger, hook = logging.getLogger("asyncio"), sys.unraisablehook
    level, said = logger.level, None
    try:
        yield
    except Exception as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
    if said is None:
        return
    logger.setLevel(logging.CRITICAL + 1)
    sys.unraisablehook = lambda _: None
    try:
        gc.collect()
    finally:
        logger.setLevel(level)
        sys.unraisablehook = hook
    raise ValueError(f"{workdir}: checkpoint {step} is damaged or of another model: {said}")


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _array_digest(arrays: PyTree) -> str:
    """Return a digest of the bytes, shapes and paths of all leaves."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(arrays):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        leaf = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}{leaf.shape}{leaf.dtype}".encode())
        digest.update(leaf.tobytes())
    return digest.hexdigest()
