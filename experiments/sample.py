"""Draw rows from a trained model, tilt included: from everybody, not from those who answered.

python -m experiments.sample --workdir=RUN --output=samples.csv --num_samples=1000
"""

import pathlib

import jax
import numpy as np
import pandas as pd
from absl import flags

from experiments import cli
from mnar_ebm import sampling, training

WORKDIR = flags.DEFINE_string("workdir", None, "Run folder of experiments.train.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "CSV file to write.", required=True)
METHOD = flags.DEFINE_enum(
    "method", "snis", ["snis", *sampling.METHODS], "Reweighted base draws, or Langevin chains."
)
SPACE = flags.DEFINE_enum(
    "space",
    None,
    sampling.SPACES,
    "Where chains run; by default the latent for a tilt of the latent alone, else noise.",
)
NUM_SAMPLES = flags.DEFINE_integer("num_samples", 1000, "Rows to draw.")
NUM_PROPOSALS = flags.DEFINE_integer("num_proposals", 100_000, "Base draws that snis chooses from.")
NUM_STEPS = flags.DEFINE_integer("num_steps", 500, "Steps of a chain; mala adapts as long before.")
STEP_SIZE = flags.DEFINE_float(
    "step_size", None, "Langevin step size; 0.01 for ula, adapted for mala by default."
)
TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "Of ula; other than 1 is another model.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the output file if it exists.")

_FEW = 0.05
_LOW_ACCEPTANCE = 0.2


def main() -> None:
    """Sample and write."""
    for flag in (NUM_SAMPLES, NUM_PROPOSALS, NUM_STEPS):
        if flag.value < 1:
            raise ValueError(f"--{flag.name}: expected at least 1, got {flag.value}")
    for flag in (STEP_SIZE, TEMPERATURE):
        if flag.value is not None and not flag.value > 0:
            raise ValueError(f"--{flag.name}: expected a positive number, got {flag.value}")
    cli.check_seed(SEED.value)
    for flag in (SPACE, STEP_SIZE, TEMPERATURE):
        if METHOD.value == "snis" and flag.present:
            raise ValueError(f"--{flag.name}: expected --method=ula or mala beside it, got snis")
    output = pathlib.Path(OUTPUT.value)
    cli.check_output(output, OVERWRITE.value)

    fitted = training.load(WORKDIR.value)
    drawn = draw(fitted, jax.random.key(SEED.value))
    x = fitted.facts.standardiser.invert(np.asarray(drawn.x, np.float64))
    frame = pd.DataFrame(x, columns=list(fitted.facts.columns))
    frame.to_csv(output, index=False, float_format="%.6g")
    diagnostics = {name: float(value) for name, value in drawn.diagnostics.items()}
    shown = ", ".join(f"{name} {value:.3f}" for name, value in diagnostics.items())
    print(f"{len(x)} rows by {METHOD.value}: {shown}; wrote {output}")
    warn(diagnostics)


def draw(fitted: training.FittedModel, key: jax.Array) -> sampling.ModelSamples:
    """Return the samples that the flags ask for, standardised."""
    model, params = fitted.model, fitted.params
    if METHOD.value == "snis":
        num_proposals = max(NUM_PROPOSALS.value, NUM_SAMPLES.value)
        return sampling.sample_by_weights(key, model, params, NUM_SAMPLES.value, num_proposals)
    space = SPACE.value or ("noise" if model.tilt.reads_x else "latent")
    step_size = STEP_SIZE.value
    if METHOD.value == "ula" and step_size is None:
        step_size = 0.01
    return sampling.sample_by_chains(
        key,
        model,
        params,
        NUM_SAMPLES.value,
        method=METHOD.value,
        space=space,
        num_steps=NUM_STEPS.value,
        step_size=step_size,
        temperature=TEMPERATURE.value,
    )


def warn(diagnostics: dict[str, float]) -> None:
    """Say in words what the diagnostics mean when they are bad."""
    if diagnostics.get("ess_fraction", 1.0) < _FEW:
        print("warning: few base draws carry the weight; use --method=mala")
    if diagnostics.get("acceptance_rate", 1.0) < _LOW_ACCEPTANCE:
        print("warning: the chains hardly moved; use a smaller --step_size or more --num_steps")
    if TEMPERATURE.value != 1.0:
        print(f"note: temperature {TEMPERATURE.value} samples another model than the one trained")


if __name__ == "__main__":
    cli.main(main)
