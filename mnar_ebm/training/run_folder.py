"""The run folder of a training run, of any model: its checkpoints, its log and its lock.

A checkpoint holds arrays and a record that says of which run they are: its stage, its settings
(``config``), what the model had to know of its data (``facts``) and a digest of the rows.
"""

import hashlib
import json
import os
import pathlib
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from mnar_ebm import files
from mnar_ebm.files import replacing
from mnar_ebm.training import checkpoints, chunks
from mnar_ebm.training.chunks import Loop, TrainState
from mnar_ebm.training.loop import InterruptedTraining, Progress, run_stages
from mnar_ebm.training.plan import Rows
from mnar_ebm.training.saved import FINISHED, Record
from mnar_ebm.training.stage import Stage
from mnar_ebm.types import Key, PyTree

SECONDS_BETWEEN_CHECKPOINTS = 10.0


def digest(x: np.ndarray, *others: np.ndarray) -> str:
    """Return the SHA-256 of the rows that are trained on, and of others beside them."""
    found = hashlib.sha256(np.ascontiguousarray(x).tobytes())
    for other in others:
        found.update(b"unbiased" + np.ascontiguousarray(other).tobytes())
    return found.hexdigest()


class RunFolder:
    """The run folder: its checkpoints and its log; without a folder, every method does nothing.

    In a ``with`` block no other run writes into it.
    """

    def __init__(
        self, workdir: pathlib.Path | None, config: Record, facts: Record, rows: str, system: str
    ):
        """Open the folder, which must exist.

        Args:
            workdir: the folder.
            config: settings of the run by name, as JSON.
            facts: what the model had to know of its data, as JSON.
            rows: digest of the rows trained on.
            system: which system it trains.
        """
        self._lock: int | None = None
        self._workdir = workdir
        about = {"config": config, "facts": facts, "rows": rows, "system": system}
        self._about: Record = json.loads(json.dumps(about))
        self._manager = checkpoints.open_manager(workdir) if workdir is not None else None
        self._last_save = time.monotonic()

    def __enter__(self) -> "RunFolder":
        """Keep other runs out, and tidy; raise ``ValueError`` if one is at work."""
        if self._workdir is not None and files.CAN_LOCK:
            self._lock = os.open(self._workdir, os.O_RDONLY)
            try:
                files.lock(self._lock, waits=False)
            except BlockingIOError:
                self.__exit__()
                raise ValueError(f"{self._workdir}: another run is writing into it") from None
        if self._manager is not None:
            checkpoints.tidy(self._manager)
        return self

    def __exit__(self, *_: object) -> None:
        """Let others in."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def save(self, stages: Sequence[Stage], now: Progress, force: bool) -> None:
        """Save a stage's state, if asked or if the last time is long ago."""
        due = time.monotonic() - self._last_save >= SECONDS_BETWEEN_CHECKPOINTS
        if self._manager is None or not (force or due):
            return
        step = _steps_before(stages, now.number) + int(now.state.step)
        arrays = {"params": now.started, "state": now.state}
        checkpoints.save(self._manager, step, arrays, {"stage": now.stage.name, **self._about})
        self._last_save = time.monotonic()

    def save_finished(
        self, stages: Sequence[Stage], params: PyTree, facts: Record | None = None
    ) -> None:
        """Save the parameters of the finished run, and its facts if there are more by now."""
        if self._manager is None:
            return
        step = _steps_before(stages, len(stages)) + 1
        record = {"stage": FINISHED, **self._about}
        checkpoints.save(
            self._manager, step, {"params": params}, record | ({"facts": facts} if facts else {})
        )
        self._manager.close()

    def restore(
        self,
        stages: Sequence[Stage],
        params: PyTree,
        defaults: Record,
    ) -> tuple[PyTree, int, TrainState | None]:
        """Return the parameters, the stage to go on with, and its state.

        Of a finished run no stage is left, and its parameters are for ``saved`` to read.

        Args:
            stages: of the run.
            params: parameters as at its start.
            defaults: of settings that a run from before there were such does not name.

        Raises:
            ValueError: it was another run, or its checkpoint is damaged.
        """
        if (
            self._manager is None
            or self._workdir is None
            or self._manager.latest_step() is None  # killed before its first checkpoint
        ):
            self.start_log()
            return params, 0, None
        record = checkpoints.load_record(self._manager, self._workdir)
        self._check_same(record, json.loads(json.dumps(defaults)))
        names = [stage.name for stage in stages]
        if record["stage"] == FINISHED:
            return params, len(stages), None
        index = names.index(record["stage"])
        state = chunks.init_state(stages[index], params, jax.random.key(0))
        arrays = checkpoints.load_arrays(
            self._manager, self._workdir, {"params": params, "state": state}
        )
        self._truncate_log(names, index, int(arrays["state"].step))
        return arrays["params"], index, arrays["state"]

    def _check_same(self, record: Record, defaults: Record) -> None:
        """Raise ``ValueError`` if a checkpoint is of another run, as far as it tells."""
        theirs = record.get("system", self._about["system"])
        if theirs != self._about["system"]:
            raise ValueError(
                f"resume: {self._workdir} trains {theirs!r}, got {self._about['system']!r}"
            )
        for name, value in self._about["config"].items():
            kept = record["config"].get(name, defaults.get(name))
            if kept != value:
                raise ValueError(
                    f"resume: {self._workdir} was started with {name}={kept}, got {value}"
                )
        facts = self._about["facts"]
        if any(record["facts"].get(name) != value for name, value in facts.items()):
            raise ValueError(f"resume: {self._workdir} was started on another table")
        if record.get("rows", self._about["rows"]) != self._about["rows"]:
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


def run_in_folder(
    run: RunFolder,
    loop: Loop,
    stages: Sequence[Stage],
    params: PyTree,
    rows: Rows,
    held_out: Rows,
    keys: Sequence[tuple[Key, Key]],
    first: int = 0,
    state: TrainState | None = None,
    watch: Callable[[Progress], Record] = lambda now: {},
    report: Callable[[Record], None] = lambda record: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> PyTree:
    """Run stages, logged and saved as they go; return the parameters.

    Args:
        run: the run folder.
        loop: as of ``training.run_stages``, as are those that follow.
        stages: what to do.
        params: the parameters that the first starts from.
        rows: rows to train on.
        held_out: rows to judge by.
        keys: of each stage.
        first: the stage to begin with.
        state: its state, if it was begun before.
        watch: what else a record is to hold, after a chunk of steps.
        report: called with a record after every chunk of steps.
        should_stop: asked after every chunk; ``True`` saves and raises.

    Raises:
        NonFiniteLossError: the loss is NaN or infinite; the last checkpoint is kept.
        InterruptedTraining: ``should_stop`` said so; the state was saved first.
    """
    for now in run_stages(loop, stages, params, rows, held_out, keys, first, state):
        if now.record:
            record = now.record | watch(now)
            run.log(record)
            report(record)
        stopping = bool(now.record) and should_stop()
        run.save(stages, now, force=stopping or now.is_end)
        if stopping:
            raise InterruptedTraining(
                f"stopped at step {now.record['step']} of stage {now.stage.name}"
            )
        params = now.params if now.is_end else params
    return params


def check_new(workdir: pathlib.Path | None, resume: bool, overwrite: bool) -> None:
    """Raise ``ValueError`` if nobody said what to do with checkpoints, or there is no folder."""
    if resume and workdir is None:
        raise ValueError("resume: expected a workdir, got none")
    if workdir is not None and not (resume or overwrite) and checkpoints.has_checkpoint(workdir):
        raise ValueError(f"{workdir}: expected no checkpoints, resume=True or overwrite=True")


def _steps_before(stages: Sequence[Stage], index: int) -> int:
    """Return the number that the checkpoints of stage ``index`` count from."""
    return sum(stage.pace.num_steps + 1 for stage in stages[:index])
