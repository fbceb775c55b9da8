"""Imputation error over data sets, masks, methods and seeds, beside the published one.

python -m experiments.benchmark.imputation --data_dir=FOLDER --workdir=FOLDER --peers

One line in imputation.jsonl for each data set, mask, method and seed; what is there is not done,
so that a killed run goes on where it stopped. Settings of training that are told on the command
line, as --num_steps=1000, go before those of the flag files in configs/table1.
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from experiments import cli, markdown, settings
from experiments.benchmark import runner
from experiments.benchmark.imputation import jobs, methods, tables
from mnar_ebm import _checks, data

DATASETS = flags.DEFINE_list(
    "datasets",
    ["banknote", "concrete", "red", "breast"],
    "Data sets, by name or as NAME=PATH of a complete CSV file.",
)
MASKS = flags.DEFINE_list("masks", ["above_mean"], f"Some of {', '.join(data.MASKS)}.")
METHODS = flags.DEFINE_list("methods", list(methods.OURS), f"Some of {', '.join(methods.METHODS)}.")
PEERS = flags.DEFINE_bool("peers", False, "Run all that is installed of the other methods too.")
NUM_SEEDS = flags.DEFINE_integer("num_seeds", 5, "Seeds, from 0.")
NUM_IMPUTATIONS = flags.DEFINE_integer(
    "num_imputations", 20, "Draws, at least 2: for CRPS and coverage."
)
WORKDIR = flags.DEFINE_string("workdir", "runs/imputation", "Folder of results.")
NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", 1, "Processes to run jobs in, each on its share of the cores."
)
README = flags.DEFINE_string("readme", None, "Markdown file to put the table into.")
ONLY_RUN = flags.DEFINE_bool("only_run", False, "Run, and make no table.")
ONLY_TABLE = flags.DEFINE_bool("only_table", False, "Make the table of what is done, run nothing.")
flags.declare_key_flag("data_dir")

FILE = "imputation.jsonl"
BEGIN = "<!-- imputation: python -m experiments.benchmark.imputation -->"
END = "<!-- end of imputation -->"

_OF_THE_BENCHMARK = ("seed", "dataset", "data_path")


def main() -> None:
    """Run what is not yet done, then make metrics.json and the table."""
    for name in _OF_THE_BENCHMARK:
        if flags.FLAGS[name].present:
            raise ValueError(f"--{name}: expected --datasets and --num_seeds instead")
    workdir = pathlib.Path(WORKDIR.value)
    _checks.check_at_least("--num_imputations", NUM_IMPUTATIONS.value, 2)
    cli.check_writable(workdir)
    chosen = [*METHODS.value, *(methods.installed_peers() if PEERS.value else [])]
    todo = jobs.make_jobs(DATASETS.value, MASKS.value, list(dict.fromkeys(chosen)), NUM_SEEDS.value)
    path = workdir / FILE
    options = methods.Options(settings.DATA_DIR.value, NUM_IMPUTATIONS.value)
    jobs.check_done(todo, options, runner.done(path))
    failed = [] if ONLY_TABLE.value else _run(todo, options, workdir)
    if not ONLY_RUN.value:
        _make_table(todo, path)
    if failed:  # which keeps no other from the table
        raise ValueError(f"{len(failed)} failed, the first of them {failed[0]}")


def _run(todo: Sequence[jobs.Job], options: methods.Options, workdir: pathlib.Path) -> list[str]:
    done = runner.done(workdir / FILE)
    due = [job for job in todo if job.name not in done]
    jobs.check_datasets(todo, options.data_dir, done)
    jobs.tell_datasets(due, options.data_dir)
    if NUM_PROCESSES.value > 1:
        return jobs.run_in_processes(due, NUM_PROCESSES.value, workdir)
    return jobs.run_all(due, options, workdir / FILE)


def _make_table(todo: Sequence[jobs.Job], path: pathlib.Path) -> None:
    done = runner.done(path)
    records = tables.collect([done[job.name] for job in todo if job.name in done], path.parent)
    text = tables.make_text(records)
    markdown.tell(text, README.value, BEGIN, END)


if __name__ == "__main__":
    cli.main(main)
