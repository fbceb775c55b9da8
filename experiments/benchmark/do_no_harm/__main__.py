"""Whether the imputer takes structure among the gaps for values that hide themselves.

python -m experiments.benchmark.do_no_harm --workdir=FOLDER --num_processes=2

Designs whose gaps may be ignored, whose gaps depend on hidden values of other columns, and whose
values hide themselves; ours by its defaults beside imputers that ignore the gaps and an oracle
that knows their law. One line in the workdir's do_no_harm.jsonl for each design, method and seed;
what is there is not done again, so that a killed run goes on where it stopped.

--datasets=NAME=x.csv --mask_file=NAME=s.csv runs the same methods on complete files of one's own,
beside masks of 0 and 1 (observed), and no designs but those that --designs tells.
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from experiments import cli, markdown
from experiments.benchmark import records
from experiments.benchmark.do_no_harm import designs, files, jobs, methods, plebiscite, table
from mnar_ebm import _checks

KNOWN = {**designs.DESIGNS, plebiscite.DESIGN.name: plebiscite.DESIGN}

DESIGNS = flags.DEFINE_list("designs", None, f"Some of {', '.join(KNOWN)}; by default all.")
METHODS = flags.DEFINE_list(
    "methods", None, f"Some of {', '.join(methods.METHODS)}; by default all that are installed."
)
NUM_SEEDS = flags.DEFINE_integer("num_seeds", 5, "Seeds of each design and method.")
FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "The first of them.")
NUM_ROWS = flags.DEFINE_integer("num_rows", 600, "Rows of each simulated table, at least 50.")
DATASETS = flags.DEFINE_list("datasets", [], "Complete tables, as NAME=PATH.csv.")
MASK_FILE = flags.DEFINE_list(
    "mask_file", [], "Their masks, as NAME=PATH.csv: the same header, 1 where observed, else 0."
)
WORKDIR = flags.DEFINE_string("workdir", "runs/do_no_harm", "Folder of the records.")
NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", 1, "Processes to run designs in, each on one core."
)
README = flags.DEFINE_string("readme", None, "Markdown file to put the table into.")
ONLY_RUN = flags.DEFINE_bool("only_run", False, "Run, and make no table.")
ONLY_TABLE = flags.DEFINE_bool("only_table", False, "Make the table of all records, run nothing.")

BEGIN = "<!-- do no harm: python -m experiments.benchmark.do_no_harm -->"
END = "<!-- end of do no harm -->"


def main() -> None:
    """Run what is not yet done, then make the table of all that is."""
    plan = _plan()
    if README.value is not None:
        markdown.around(
            pathlib.Path(README.value), BEGIN, END
        )  # before, rather than after, the work
    cli.check_writable(plan.workdir)
    failed = [] if ONLY_TABLE.value else _run(plan)
    if not ONLY_RUN.value:
        text = table.make_text(records.read(plan.path))
        markdown.tell(text, README.value, BEGIN, END)
    if failed:  # which keeps no other from the table
        raise ValueError(f"{len(failed)} failed, the first of them {failed[0]}")


def _plan() -> jobs.Plan:
    """Return what the flags ask for, checked."""
    for flag, least in ((NUM_SEEDS, 1), (FIRST_SEED, 0), (NUM_ROWS, 50), (NUM_PROCESSES, 1)):
        _checks.check_at_least(f"--{flag.name}", flag.value, least)
    chosen = files.read(DATASETS.value, MASK_FILE.value)
    for design in chosen:
        if design.name in KNOWN:
            raise ValueError(
                f"--datasets: expected another name than that of a design, got {design.name}"
            )
    names = ([] if chosen else list(KNOWN)) if DESIGNS.value is None else DESIGNS.value
    _check_names("--designs", names, KNOWN)
    wanted = methods.installed() if METHODS.value is None else METHODS.value
    _check_names("--methods", wanted, methods.METHODS)
    for name in wanted:
        if name not in methods.installed():
            raise ValueError(
                f'--methods: expected the package of {name}; pip install "mnar-ebm[peers]"'
            )
    all_designs = {name: KNOWN[name] for name in names} | {one.name: one for one in chosen}
    seeds = range(FIRST_SEED.value, FIRST_SEED.value + NUM_SEEDS.value)
    return jobs.Plan(all_designs, wanted, seeds, NUM_ROWS.value, pathlib.Path(WORKDIR.value))


def _check_names(flag: str, told: Sequence[str], known: Sequence[str]) -> None:
    for name in told:
        _checks.check_choice(flag, name, known)
    if len(set(told)) < len(told):
        raise ValueError(f"{flag}: expected distinct names, got {', '.join(told)}")


def _run(plan: jobs.Plan) -> list[str]:
    todo = plan.due()
    if NUM_PROCESSES.value == 1:
        return jobs.run_all(todo, plan)
    own = {
        told.partition("=")[0]: ["--designs=", f"--datasets={told}", f"--mask_file={mask}"]
        for told in DATASETS.value
        for mask in MASK_FILE.value
        if mask.partition("=")[0] == told.partition("=")[0]
    }
    return jobs.run_in_processes(todo, plan, NUM_PROCESSES.value, own)


if __name__ == "__main__":
    cli.main(main)
