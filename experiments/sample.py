"""Draw rows from a trained model, tilt included: of the population, not of those who answered.

python -m experiments.sample --workdir=RUN --output=samples.csv --num_samples=1000
"""

import math
import pathlib

import numpy as np
import pandas as pd
from absl import flags

import mnar_ebm
from experiments import cli
from mnar_ebm import data
from mnar_ebm import inference as sampling
from mnar_ebm.files import replacing

flags.adopt_module_key_flags(cli)
WORKDIR = flags.DEFINE_string("workdir", None, "Run folder of experiments.train.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "CSV file to write.", required=True)
METHOD = flags.DEFINE_enum(
    "method",
    "auto",
    ["auto", "snis", *sampling.METHODS],
    "Reweighted base draws, or chains; auto: mala, where few base draws carry the weight.",
)
SPACE = flags.DEFINE_enum(
    "space",
    None,
    sampling.SPACES,
    "Where chains run; by default the latent for a tilt of the latent alone, else noise.",
)
NUM_SAMPLES = flags.DEFINE_integer("num_samples", 1000, "Rows to draw.")
NUM_PROPOSALS = flags.DEFINE_integer("num_proposals", 100_000, "Base draws that snis chooses from.")
NUM_CHAINS = flags.DEFINE_integer("num_chains", 50, "Chains, at most one for each row.")
NUM_STEPS = flags.DEFINE_integer(
    "num_steps", 500, "Steps in which a chain adapts, and as many again before its first draw."
)
THIN = flags.DEFINE_integer("thin", 20, "Steps of a chain from one draw to the next.")
STEP_SIZE = flags.DEFINE_float(
    "step_size", None, "Step size of chains; 0.01 for ula, adapted for mala and hmc by default."
)
TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "Of ula; other than 1 is another model.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.")
FORCE = flags.DEFINE_bool("force", False, "Write the draws of chains that never moved, too.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the output file if it exists.")


def main() -> None:
    """Sample and write."""
    for flag in (NUM_SAMPLES, NUM_PROPOSALS, NUM_CHAINS, NUM_STEPS, THIN):
        if flag.value < 1:
            raise ValueError(f"--{flag.name}: expected at least 1, got {flag.value}")
    for flag in (STEP_SIZE, TEMPERATURE):
        if flag.value is not None and not flag.value > 0:
            raise ValueError(f"--{flag.name}: expected a positive number, got {flag.value}")
    cli.check_seed(SEED.value)
    for flag in (SPACE, STEP_SIZE, TEMPERATURE, NUM_CHAINS, NUM_STEPS, THIN):
        if METHOD.value in ("auto", "snis") and flag.present:
            raise ValueError(
                f"--{flag.name}: expected --method=ula, mala or hmc, got {METHOD.value}"
            )
    output = pathlib.Path(OUTPUT.value)
    cli.check_output(output, OVERWRITE.value)

    fitted = mnar_ebm.load(WORKDIR.value)
    drawn = fitted.sample(
        NUM_SAMPLES.value,
        seed=SEED.value,
        method=METHOD.value,
        num_proposals=NUM_PROPOSALS.value,
        space=SPACE.value,
        num_chains=NUM_CHAINS.value,
        num_steps=NUM_STEPS.value,
        thin=THIN.value,
        step_size=STEP_SIZE.value,
        temperature=TEMPERATURE.value,
    )
    _check_draws(drawn)
    frame = pd.DataFrame(drawn.x, columns=list(fitted.facts.columns))
    for name, scale in zip(frame, fitted.facts.standardiser.scale, strict=True):
        frame[name] = [data.to_text(value, scale) for value in frame[name]]
    with replacing(output) as part:
        frame.to_csv(part, index=False)
    told = ", ".join(f"{name} {_short(value)}" for name, value in drawn.summary.items())
    print(f"{len(frame)} rows by {drawn.method}: {told}; wrote {output}")
    for warning in drawn.warnings:
        print(f"warning: {warning}")
    if TEMPERATURE.value != 1.0:
        print(f"note: temperature {TEMPERATURE.value} samples another model than the one trained")


def _check_draws(drawn: sampling.Samples) -> None:
    """Refuse, before anything is written, draws of chains that diverged or never moved."""
    is_lost = ~np.isfinite(drawn.x).all(axis=1)
    if is_lost.any():
        raise ValueError(
            f"{is_lost.sum()} of {len(drawn.x)} draws by {drawn.method} are not finite, for the "
            "chains diverged, and nothing was written: try a smaller --step_size, or --method=mala"
        )
    if drawn.summary.get("acceptance_rate", 1.0) == 0.0 and not FORCE.value:
        raise ValueError(
            f"no move of the chains by {drawn.method} was accepted, and nothing was written: try a "
            "smaller --step_size, or --force"
        )


def _short(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    return f"{value:.0f}" if value >= 100 or value == round(value) else f"{value:.3f}"


if __name__ == "__main__":
    cli.main(main)
