"""Make metrics and figures of a finished run again.

mnar-ebm evaluate --workdir=RUN
"""

import pathlib
import sys
import time

from absl import flags

from mnar_ebm.training import saved

from . import cli, settings, systems

flags.adopt_module_key_flags(cli)
WORKDIR = flags.DEFINE_string("workdir", None, "Run folder of train.", required=True)


def main() -> None:
    """Evaluate the run on the rows that it was trained on."""
    started = time.perf_counter()
    workdir = pathlib.Path(WORKDIR.value)
    saved.read_finished(workdir)  # refuses another folder in one line
    sys.argv[1:] = [f"--flagfile={workdir / 'run.cfg'}", *sys.argv[1:]]
    cli.parse(sys.argv)
    system, given = systems.named(settings.SYSTEM.value), settings.load_rows()
    fitted = system.train(settings.config_from_flags(), given, workdir, resume=True)
    system.evaluate(fitted, given, workdir, started)


if __name__ == "__main__":
    cli.main(main)
