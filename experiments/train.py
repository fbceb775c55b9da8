"""Train a model and fill its run folder: a tilted VAE of incomplete data, or another system.

mnar-ebm train --flagfile=latent.cfg
mnar-ebm train --flagfile=rbm.cfg
"""

import pathlib
import signal
import time
from collections.abc import Callable
from typing import Any

from absl import flags
from tqdm import tqdm

from mnar_ebm import training
from mnar_ebm.files import replacing

from . import cli, settings, systems

WORKDIR = flags.DEFINE_string(
    "workdir", None, "Run folder (runs/DATASET-MODEL-seedSEED): checkpoints, metrics, figures."
)
RESUME = flags.DEFINE_bool("resume", False, "Go on from the newest checkpoint of the run folder.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the run in the folder if there is one.")
flags.adopt_module_key_flags(settings)
flags.adopt_module_key_flags(cli)


def main() -> None:
    """Train, then evaluate, as the flags say."""
    started = time.perf_counter()
    system = systems.named(settings.SYSTEM.value)
    config = settings.config_from_flags()
    given = settings.load_rows()
    system.check(config, given)
    default = f"runs/{settings.dataset_name()}-{system.label(config)}-seed{config.seed}"
    workdir = pathlib.Path(WORKDIR.value or default)
    cli.open_run_folder(workdir, resume=RESUME.value, overwrite=OVERWRITE.value)
    if not training.checkpoints.has_checkpoint(workdir):
        with replacing(workdir / "run.cfg") as part:
            part.write_text(settings.to_flagfile(config))

    with Bar(system.headline) as bar, StopOnSignal() as stop:
        fitted = system.train(
            config,
            given,
            workdir,
            resume=RESUME.value,
            overwrite=OVERWRITE.value,
            report=bar,
            should_stop=stop,
        )
    system.evaluate(fitted, given, workdir, started)


class Bar:
    """A progress bar for each stage, with what the system shows and the steps per second."""

    def __init__(self, headline: Callable[[dict[str, Any]], str]):
        """Show of each record what ``headline`` makes of it."""
        self._headline = headline

    def __enter__(self) -> "Bar":
        """Show nothing yet."""
        self._stage, self._bar = "", tqdm(disable=True)
        return self

    def __call__(self, record: dict) -> None:
        """Show the record of a chunk of steps."""
        if record["stage"] != self._stage:
            self._bar.close()
            self._stage = record["stage"]
            self._bar = tqdm(total=record["num_steps"], desc=f"{self._stage:5}", unit="step")
        self._bar.set_postfix_str(
            f"{self._headline(record)}, {record['steps_per_second']:.0f} steps/s", refresh=False
        )
        self._bar.update(record["step"] - self._bar.n)

    def __exit__(self, *_: object) -> None:
        """Leave the last state on the screen."""
        self._bar.close()


class StopOnSignal:
    """Turns SIGTERM and Ctrl-C into an answer, until the end of the ``with`` block."""

    def __enter__(self) -> "StopOnSignal":
        """Catch the signals."""
        self._stopping = False
        self._previous = {
            number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)
        }
        return self

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def __call__(self) -> bool:
        """Return whether a signal came."""
        return self._stopping

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Let the signals do what they did before; raise if one came after the last chunk."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._stopping and kind is None:
            raise training.InterruptedTraining("stopped after the last stage")


if __name__ == "__main__":
    cli.main(main)
