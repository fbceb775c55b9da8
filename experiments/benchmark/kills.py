"""Runs that are killed without warning and gone on with: do they end as the one that was not?

python -m experiments.benchmark.kills --workdir=FOLDER --num_kills=49

One run of each plan is left alone. The others are killed by SIGKILL at a random moment: while they
start, in a stage, between the stages and the end, while a checkpoint is being written, in the
report; every fifth is killed once more as it goes on. Then they go on to their end, and are
compared: parameters and metrics bit for bit, the log, what was imputed, the set of checkpoints.
Checkpoints are written after every chunk of 20 steps, not every ten seconds, to be met often.
A campaign that is stopped goes on. Takes about half a minute of CPU for each kill.
"""

import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import jax
import numpy as np
from absl import flags

import mnar_ebm
from experiments import cli
from experiments.benchmark import records, runner
from mnar_ebm import _checks
from mnar_ebm.training import checkpoints

WORKDIR = flags.DEFINE_string("workdir", "runs/kills", "Folder of the runs and of the records.")
NUM_KILLS = flags.DEFINE_integer("num_kills", 49, "Runs that are killed.")
SEED = flags.DEFINE_integer("seed", 0, "Of the moments.")

PHASES = ("start", "base", "tilt", "joint", "scale and unbiased", "checkpoint", "report")
_SMALL = (
    "--flagfile=smoke.cfg",
    "--dataset=wine",
    "--latent_dim=2",
    "--hidden_dim=16",
    "--num_steps=60",
    "--tilt_steps=60",
    "--joint_steps=40",
    "--num_imputation_samples=50",
    "--batch_size=16",
    "--num_negatives=64",
    "--unbiased=0.1",
    "--unbiased_steps=20",
    "--unbiased_folds=2",
    "--unbiased_energy=additive",
)
PLANS = {
    "snis": (*_SMALL, "--tilt=latent"),
    "pcd": (*_SMALL, "--tilt=data", "--negative_phase=pcd", "--replay_size=256"),
}
_STAGES = {"base": 60, "tilt": 60, "joint": 40}
"""Stages, and their steps."""

_DRIVER = """
from mnar_ebm.training import loop, run_folder
loop.CHUNK_STEPS, run_folder.SECONDS_BETWEEN_CHECKPOINTS = 20, 0.0
from experiments import cli, train
cli.main(train.main)
"""
_TIMING = ("steps_per_second", "wall_seconds")
_EVERY = 0.01
_HALF_WRITTEN = "orbax-checkpoint-tmp"


def main() -> None:
    """Kill, go on, compare, and tell; end with 1 if a run came out differently."""
    _checks.check_at_least("--num_kills", NUM_KILLS.value, 1)
    workdir = pathlib.Path(WORKDIR.value)
    cli.check_writable(workdir)
    found = campaign(workdir, NUM_KILLS.value, SEED.value)
    wrong = [one for one in found if one["differences"]]
    counts = {phase: sum(one["died"][0] == phase for one in found) for phase in (*PHASES, "ended")}
    print(", ".join(f"{count} in {phase}" for phase, count in counts.items() if count))
    print(f"{len(found)} killed, {len(found) - len(wrong)} came out the same, bit for bit")
    if wrong:
        raise ValueError(f"{len(wrong)} came out differently, see {workdir / 'records.jsonl'}")


def campaign(workdir: pathlib.Path, num_kills: int, seed: int) -> list[dict[str, Any]]:
    """Return the records of all kills; those that ``workdir`` has are not done again."""
    path = workdir / "records.jsonl"
    lengths = {}
    for plan in list(PLANS)[:num_kills]:
        record = workdir / f"{plan}.json"
        if not record.exists():
            shutil.rmtree(workdir / plan, ignore_errors=True)
            record.write_text(json.dumps(watch(workdir / plan, PLANS[plan])))
        lengths[plan] = json.loads(record.read_text())
    jobs = []
    for number in range(num_kills):
        plan = list(PLANS)[number % len(PLANS)]
        phase = PHASES[number // len(PLANS) % len(PHASES)]
        run = functools.partial(kill_one, workdir, plan, phase, lengths[plan], seed, number)
        jobs.append(runner.Job(f"kill {number}", run))
    runner.run_all(jobs, path, tell=_tell)
    named = {job.name for job in jobs}
    return [one for one in records.read(path) if one["job"] in named]


def kill_one(
    workdir: pathlib.Path,
    plan: str,
    phase: str,
    lengths: dict[str, float],
    seed: int,
    number: int,
) -> dict[str, Any]:
    """Kill a run of a plan in a phase, once or twice, go on to its end, and compare it."""
    rng = np.random.default_rng([seed, number])
    folder = workdir / f"kill-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    died, delay = [], rng.uniform() * lengths.get(phase, 0.0)
    for again in range(2 if number % 5 == 4 else 1):
        if again:
            phase, delay = PHASES[rng.integers(len(PHASES))], rng.uniform()
        died.append(kill(folder, PLANS[plan], phase, delay, is_resumed=bool(again)))
    status, said = start(folder, PLANS[plan], is_resumed=True).communicate_all()
    differences = [f"ended with {status}: {said}"] if status else compare(folder, workdir / plan)
    if not differences:
        shutil.rmtree(folder)
    return {"plan": plan, "died": died, "differences": differences}


class _Run(subprocess.Popen):
    """A training run in a process group of its own."""

    def communicate_all(self) -> tuple[int, str]:
        """Wait for its end; return its status and the last line that it said."""
        _, said = self.communicate()
        return self.returncode, (said.decode().splitlines() or [""])[-1]


def start(folder: pathlib.Path, plan: tuple[str, ...], is_resumed: bool) -> _Run:
    """Start a run, or go on with it."""
    more = ["--resume"] if is_resumed else []
    return _Run(
        [sys.executable, "-c", _DRIVER, *plan, f"--workdir={folder}", *more],
        env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def phase_of(folder: pathlib.Path) -> str:
    """Return what a run is at, by what its folder holds."""
    saved = folder / checkpoints.FOLDER
    names = [child.name for child in saved.iterdir()] if saved.is_dir() else []
    if any(_HALF_WRITTEN in name for name in names):
        return "checkpoint"
    if str(sum(_STAGES.values()) + len(_STAGES) + 1) in names:
        return "report"
    log = folder / "log.jsonl"
    if not log.exists():
        return "start"
    lines = [line for line in log.read_text().splitlines(keepends=True) if line[-1] == "\n"]
    if not lines:
        return "base"
    last = json.loads(lines[-1])
    if last["step"] < _STAGES[last["stage"]]:
        return last["stage"]
    later = [*_STAGES, PHASES[4]]
    return later[later.index(last["stage"]) + 1]


def watch(folder: pathlib.Path, plan: tuple[str, ...]) -> dict[str, float]:
    """Run a plan to its end; return the seconds of each phase (the mean of a checkpoint).

    Raises:
        ValueError: the run failed.
    """
    run, before, seconds, num_checkpoints = start(folder, plan, False), "", {}, 0
    last = time.monotonic()
    while run.poll() is None:
        phase, now = phase_of(folder), time.monotonic()
        seconds[phase] = seconds.get(phase, 0.0) + now - last
        num_checkpoints += phase == "checkpoint" != before
        before, last = phase, now
        time.sleep(_EVERY)
    status, said = run.communicate_all()
    if status:
        raise ValueError(f"{folder}: ended with {status}: {said}")
    if num_checkpoints:
        seconds["checkpoint"] /= num_checkpoints
    return seconds


def kill(
    folder: pathlib.Path, plan: tuple[str, ...], phase: str, delay: float, is_resumed: bool
) -> str:
    """Kill a run some seconds after it came to a phase; return the phase it died in."""
    run = start(folder, plan, is_resumed)
    while run.poll() is None and phase_of(folder) != phase:
        time.sleep(_EVERY)
    deadline = time.monotonic() + delay
    while run.poll() is None and time.monotonic() < deadline:
        time.sleep(_EVERY)
    has_ended = run.poll() is not None
    if not has_ended:
        os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    return "ended" if has_ended else phase_of(folder)


def compare(ours: pathlib.Path, theirs: pathlib.Path) -> list[str]:
    """Return in what a run came out differently from the one that was left alone."""
    differences = []

    def hold(name: str, made: Any) -> None:
        if made(ours) != made(theirs):
            differences.append(f"{name}: {str(made(ours))[:300]}, not {str(made(theirs))[:300]}")

    hold("files", lambda folder: sorted(child.name for child in folder.iterdir()))
    hold("checkpoints", lambda folder: sorted(os.listdir(folder / checkpoints.FOLDER)))
    hold("parameters", _bits)
    hold("metrics", lambda folder: _untimed((folder / "metrics.json").read_text()))
    hold("log", lambda folder: list(map(_untimed, (folder / "log.jsonl").open())))
    hold("imputed", lambda folder: (folder / "imputed.csv").read_bytes())
    return differences


def _bits(folder: pathlib.Path) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(mnar_ebm.load(folder).params)]


def _untimed(text: str) -> dict[str, Any]:
    return {name: value for name, value in json.loads(text).items() if name not in _TIMING}


def _tell(record: dict[str, Any]) -> str:
    outcome = "; ".join(record["differences"]) or "the same"
    return f"{record['job']}: {record['plan']}, died in {', '.join(record['died'])}: {outcome}"


if __name__ == "__main__":
    cli.main(main)
