"""The run folder of a training run: its checkpoints and its log."""

import hashlib
import json
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from mnar_ebm import files
from mnar_ebm.config import Config
from mnar_ebm.data.table import Table
from mnar_ebm.files import replacing
from mnar_ebm.tilted.facts import TableFacts
from mnar_ebm.tilted.fitted import FittedModel, make_fitted
from mnar_ebm.tilted.start import CHOSEN
from mnar_ebm.training import checkpoints, chunks, loop
from mnar_ebm.training.stage import Stage
from mnar_ebm.types import PyTree

SECONDS_BETWEEN_CHECKPOINTS = 10.0

Record = dict[str, Any]


def rows_digest(table: Table, unbiased: Table | None) -> str:
    """Return the SHA-256 of the rows that are trained on."""
    digest = hashlib.sha256(np.ascontiguousarray(table.x).tobytes())
    if unbiased is not None:
        digest.update(b"unbiased" + np.ascontiguousarray(unbiased.x).tobytes())
    return digest.hexdigest()


def check_is_of_run(workdir: pathlib.Path, config: Config) -> None:
    """Raise ``ValueError`` if a checkpoint's settings are not those that ``run.cfg`` tells.

    Each is whole, and they are of two runs. Settings that a run chooses for itself may differ.
    """
    path = workdir / "run.cfg"
    if not path.is_file():
        return
    lines = [line[2:].partition("=") for line in path.read_text().splitlines() if line[:2] == "--"]
    told = {name: value for name, equals, value in lines if equals}
    chosen = CHOSEN if told.get("slope_start") == "best" else ()
    for name, value in config.flat().items():
        if name in told and name not in chosen and _parts(told[name]) != _parts(value):
            raise ValueError(
                f"{workdir}: the checkpoint is of another run: it has {name}={value}, and run.cfg "
                f"{name}={told[name]}"
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


class RunFolder:
    """The run folder: its checkpoints and its log; without a folder, every method does nothing.

    In a ``with`` block no other run writes into it.
    """

    def __init__(self, config: Config, facts: TableFacts, rows: str, workdir: pathlib.Path | None):
        """Open the folder, which must exist; ``rows`` is the digest of those trained on."""
        self._lock: int | None = None
        self._config, self._facts, self._rows, self._workdir = config, facts, rows, workdir
        self._manager = checkpoints.open_manager(workdir) if workdir is not None else None
        self._last_save = time.monotonic()

    def __enter__(self) -> "RunFolder":
        """Keep other runs out; raise ``ValueError`` if one is at work."""
        if self._workdir is not None and files.CAN_LOCK:
            self._lock = os.open(self._workdir, os.O_RDONLY)
            try:
                files.lock(self._lock, waits=False)
            except BlockingIOError:
                self.__exit__()
                raise ValueError(f"{self._workdir}: another run is writing into it") from None
        return self

    def __exit__(self, *_: object) -> None:
        """Let others in."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _record(self, stage: str, second_energy: str = "") -> Record:
        facts = self._facts._replace(second_energy=second_energy).to_json()
        config = self._config.flat()
        return {"stage": stage, "config": config, "facts": facts, "rows": self._rows}

    def save(self, stages: Sequence[Stage], now: loop.Progress, force: bool) -> None:
        """Save a stage's state, if asked or if the last time is long ago."""
        due = time.monotonic() - self._last_save >= SECONDS_BETWEEN_CHECKPOINTS
        if self._manager is None or not (force or due):
            return
        step = _steps_before(stages, now.number) + int(now.state.step)
        arrays = {"params": now.started, "state": now.state}
        checkpoints.save(self._manager, step, arrays, self._record(now.stage.name))
        self._last_save = time.monotonic()

    def save_finished(self, stages: Sequence[Stage], fitted: FittedModel) -> None:
        """Save the parameters of the finished run."""
        if self._manager is None:
            return
        step = _steps_before(stages, len(stages)) + 1
        record = self._record("finished", fitted.facts.second_energy)
        checkpoints.save(self._manager, step, {"params": fitted.params}, record)
        self._manager.close()

    def restore(
        self, stages: Sequence[Stage], params: PyTree
    ) -> tuple[PyTree, int, chunks.TrainState | None]:
        """Return the parameters, the stage to go on with, and its state."""
        if self._manager is None or self._workdir is None:
            raise ValueError("resume: expected a workdir, got none")
        if self._manager.latest_step() is None:  # killed before its first checkpoint
            self.start_log()
            return params, 0, None
        record = checkpoints.load_record(self._manager, self._workdir)
        self._check_same(record)
        names = [stage.name for stage in stages]
        if record["stage"] == "finished":
            finished = make_fitted(self._config, TableFacts.from_json(record["facts"]))
            arrays = {"params": finished.params}
            arrays = checkpoints.load_arrays(self._manager, self._workdir, arrays)
            finished = finished._replace(params=arrays["params"])
            return finished.without_second().params, len(stages), None
        index = names.index(record["stage"])
        state = chunks.init_state(stages[index], params, jax.random.key(0))
        like = {"params": params, "state": state}
        arrays = checkpoints.load_arrays(self._manager, self._workdir, like)
        self._truncate_log(names, index, int(arrays["state"].step))
        return arrays["params"], index, arrays["state"]

    def _check_same(self, record: Record) -> None:
        second_energy = record["facts"].get("second_energy", "")
        ours = json.loads(json.dumps(self._record(record["stage"], second_energy)))
        defaults = Config().flat()
        for name, value in ours["config"].items():
            theirs = record["config"].get(name, defaults[name])
            if theirs != value:
                raise ValueError(
                    f"resume: {self._workdir} was started with {name}={theirs}, got {value}"
                )
        if record["facts"] != ours["facts"]:
            raise ValueError(f"resume: {self._workdir} was started on another table")
        if record.get("rows", self._rows) != self._rows:  # runs from before it was kept have none
            raise ValueError(f"resume: {self._workdir} was started on other rows, or unbiased rows")

    @property
    def _log_path(self) -> pathlib.Path | None:
        return self._workdir / "log.jsonl" if self._workdir is not None else None

    def start_log(self) -> None:
        """Begin an empty log, and drop the checkpoints of an older run."""
        if self._manager is not None:
            for step in self._manager.all_steps():
                self._manager.delete(step)
        if self._log_path is not None:
            self._log_path.write_text("")

    def log(self, record: Record) -> None:
        """Append a record to the log."""
        if self._log_path is not None:
            with self._log_path.open("a") as file:
                file.write(json.dumps(record) + "\n")

    def _truncate_log(self, names: list[str], index: int, step: int) -> None:
        """Drop what was logged after the checkpoint: it will be done, and logged, again."""
        path = self._log_path
        if path is None or not path.exists():
            return
        kept = []
        for line in path.read_text().splitlines(keepends=True):
            if not line.endswith("\n"):
                continue  # the run was killed within this line
            record = json.loads(line)
            if (names.index(record["stage"]), record["step"]) <= (index, step):
                kept.append(line)
        with replacing(path) as part:
            part.write_text("".join(kept))


def _steps_before(stages: Sequence[Stage], index: int) -> int:
    """Return the number that the checkpoints of stage ``index`` count from."""
    return sum(stage.pace.num_steps + 1 for stage in stages[:index])
