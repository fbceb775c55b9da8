"""Make metrics and figures of a finished run again.

python -m experiments.evaluate --workdir=RUN
"""

import pathlib
import sys
import time

from absl import flags

import mnar_ebm
from experiments import cli, report, settings

flags.adopt_module_key_flags(cli)
WORKDIR = flags.DEFINE_string("workdir", None, "Run folder of experiments.train.", required=True)


def main() -> None:
    """Evaluate the run on the table that it was trained on."""
    started = time.perf_counter()
    workdir = pathlib.Path(WORKDIR.value)
    mnar_ebm.load(workdir)  # refuses a folder without a finished run, in one line
    sys.argv[1:] = [f"--flagfile={workdir / 'run.cfg'}", *sys.argv[1:]]
    cli.parse(sys.argv)
    given = settings.load_rows()
    fitted, tilt_report = mnar_ebm.train(
        settings.config_from_flags(), given.table, workdir, unbiased=given.unbiased, resume=True
    )
    report.evaluate(fitted, tilt_report, given, workdir, started)


if __name__ == "__main__":
    cli.main(main)
