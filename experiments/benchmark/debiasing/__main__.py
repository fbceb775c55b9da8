"""What a small unbiased sample mends, by tilts and by other means, in four tasks.

python -m experiments.benchmark.debiasing --data_dir=FOLDER --workdir=FOLDER

One line in debiasing.jsonl for each piece of work; what is there is not done again, so
that a killed run goes on where it stopped.
"""

import pathlib

from absl import flags

from experiments import cli, markdown, settings
from experiments.benchmark import runner
from experiments.benchmark.debiasing import coat, jobs, mixture, mnist, uci

TASKS = {"uci": uci, "mnist": mnist, "coat": coat, "mixture": mixture}

CHOSEN = flags.DEFINE_list("tasks", list(TASKS), f"Some of {', '.join(TASKS)}.")
NUM_SEEDS = flags.DEFINE_integer("num_seeds", 5, "Seeds, from 0.", lower_bound=1)
WORKDIR = flags.DEFINE_string("workdir", "runs/debiasing", "Folder of results.")
README = flags.DEFINE_string("readme", None, "Markdown file to put the tables into.")
FIGURES = flags.DEFINE_string("figures", "docs/figures", "Folder to put figures into.")
ONLY_RUN = flags.DEFINE_bool("only_run", False, "Run, and make no table.")
ONLY_TABLE = flags.DEFINE_bool("only_table", False, "Make the tables of what is done, run nothing.")
flags.declare_key_flag("data_dir")

BEGIN = "<!-- {}: python -m experiments.benchmark.debiasing -->"
END = "<!-- end of {} -->"


def main() -> None:
    """Run what is not yet done, then make the tables."""
    for name in CHOSEN.value:
        if name not in TASKS:
            raise ValueError(f"--tasks: expected some of {', '.join(TASKS)}, got {name!r}")
    workdir = pathlib.Path(WORKDIR.value)
    cli.check_writable(workdir)
    options = jobs.Options(settings.DATA_DIR.value, NUM_SEEDS.value, pathlib.Path(FIGURES.value))
    path = workdir / "debiasing.jsonl"
    for name in CHOSEN.value:
        todo = TASKS[name].make_jobs(options)
        if not ONLY_TABLE.value:
            runner.run_all(todo, path)
        if ONLY_RUN.value:
            continue
        done = runner.done(path)
        records = [done[job.name] for job in todo if job.name in done]
        if not records:
            print(f"{name}: no record in {path}, so no table")
            continue
        text = TASKS[name].make_text(records)
        markdown.tell(text, README.value, BEGIN.format(name), END.format(name))


if __name__ == "__main__":
    cli.main(main)
