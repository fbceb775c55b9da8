"""Draw rows from a trained model, tilt included: of the population, not of those who answered.

python -m experiments.sample --workdir=RUN --output=samples.csv --num_samples=1000
"""

import pathlib

from absl import flags

from experiments import cli, systems
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
LABEL = flags.DEFINE_integer("label", None, "Class whose rows are drawn, of a run of jem.")
FORCE = flags.DEFINE_bool("force", False, "Write the draws of chains that never moved, too.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the output file if it exists.")

OPTIONS = (
    *(NUM_SAMPLES, SEED, METHOD, NUM_PROPOSALS, SPACE, NUM_CHAINS, NUM_STEPS, THIN),
    *(STEP_SIZE, TEMPERATURE, FORCE, LABEL),
)
"""What the model is told; those that are for a tilted table alone are refused of others."""


def main() -> None:
    """Sample and write."""
    for flag in (NUM_SAMPLES, NUM_PROPOSALS, NUM_CHAINS, NUM_STEPS, THIN):
        if flag.value < 1:
            raise ValueError(f"--{flag.name}: expected at least 1, got {flag.value}")
    for flag in (STEP_SIZE, TEMPERATURE):
        if flag.value is not None and not flag.value > 0:
            raise ValueError(f"--{flag.name}: expected a positive number, got {flag.value}")
    cli.check_seed(SEED.value)
    output = pathlib.Path(OUTPUT.value)
    cli.check_output(output, OVERWRITE.value)

    name = systems.of_run(WORKDIR.value)
    if name == "tilted":
        _check_method()
    system = systems.named(name)
    system.check_told("sample", [flag.name for flag in OPTIONS if flag.present])
    drawn = system.sample(WORKDIR.value, {flag.name: flag.value for flag in OPTIONS})
    with replacing(output) as part:
        drawn.frame.to_csv(part, index=False)
    print(f"{len(drawn.frame)} rows by {drawn.words}; wrote {output}")
    for note in drawn.notes:
        print(note)


def _check_method() -> None:
    """Raise ``ValueError`` if an option of chains is told, and no chain is."""
    for flag in (SPACE, STEP_SIZE, TEMPERATURE, NUM_CHAINS, NUM_STEPS, THIN):
        if METHOD.value in ("auto", "snis") and flag.present:
            raise ValueError(
                f"--{flag.name}: expected --method=ula, mala or hmc, got {METHOD.value}"
            )


if __name__ == "__main__":
    cli.main(main)
