"""Draw rows from a trained model, tilt included: from everybody, not from those who answered.

python -m experiments.sample --workdir=RUN --output=samples.csv --num_samples=1000
"""

import pathlib

import jax
import numpy as np
import pandas as pd
from absl import flags

from experiments import cli
from mnar_ebm import diagnostics, models, samplers, sampling, training

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
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the output file if it exists.")

_FEWEST_DRAWS = 10  # of a chain: with fewer it cannot be told whether the chains agree


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

    fitted = training.load(WORKDIR.value)
    key, method = jax.random.key(SEED.value), METHOD.value
    if method in ("auto", "snis"):
        x, summary, warnings = by_weights(fitted, key)
        if warnings and method == "auto" and _can_run_chains(fitted):
            print(
                "few base draws carry the tilt's weight, so chains run instead: " + _told(summary)
            )
            method = "mala"
    if method not in ("auto", "snis"):
        x, summary, warnings = by_chains(fitted, key, method)
    x = fitted.facts.standardiser.invert(np.asarray(x, np.float64))
    frame = pd.DataFrame(x, columns=list(fitted.facts.columns))
    frame.to_csv(output, index=False, float_format="%.6g")
    by = "snis" if method == "auto" else method
    print(f"{len(x)} rows by {by}: {_told(summary)}; wrote {output}")
    for warning in warnings:
        print(f"warning: {warning}")
    if TEMPERATURE.value != 1.0:
        print(f"note: temperature {TEMPERATURE.value} samples another model than the one trained")


def by_weights(
    fitted: training.FittedModel, key: jax.Array
) -> tuple[np.ndarray, dict[str, float], list[str]]:
    """Return base draws chosen by the tilt's weights, how good these are, and warnings."""
    num_proposals = max(NUM_PROPOSALS.value, NUM_SAMPLES.value)
    samples = sampling.sample_by_weights(
        key, fitted.model, fitted.params, NUM_SAMPLES.value, num_proposals
    )
    summary = {
        "ess_fraction": float(samplers.effective_sample_size(samples.log_w)) / num_proposals,
        "pareto_k": diagnostics.pareto_k(samples.log_w),
    }
    if not np.isfinite(summary["pareto_k"]):  # the weights have no tail
        del summary["pareto_k"]
    few = summary["ess_fraction"] < diagnostics.UNRELIABLE_ESS
    few |= summary.get("pareto_k", 0) > diagnostics.UNRELIABLE_K
    return samples.x, summary, ["few base draws carry the weight: use --method=mala"] * few


def _can_run_chains(fitted: training.FittedModel) -> bool:
    """Return whether there is a space for chains: values that a tilt reads must be continuous."""
    return not fitted.model.tilt.reads_x or fitted.model.vae.likelihood.transport is not None


def by_chains(
    fitted: training.FittedModel, key: jax.Array, method: str
) -> tuple[np.ndarray, dict[str, float], list[str]]:
    """Return the chains' last draws, their convergence in the worst column, and warnings."""
    model, params = fitted.model, fitted.params
    num_chains = min(NUM_CHAINS.value, NUM_SAMPLES.value)
    step_size = STEP_SIZE.value
    if method == "ula" and step_size is None:
        step_size = 0.01
    samples = sampling.sample_by_chains(
        key,
        model,
        params,
        num_chains,
        max(_FEWEST_DRAWS, -(-NUM_SAMPLES.value // num_chains)),
        method=method,
        space=SPACE.value or ("noise" if model.tilt.reads_x else "latent"),
        num_steps=NUM_STEPS.value,
        thin=THIN.value,
        step_size=step_size,
        temperature=TEMPERATURE.value,
    )
    energy = models.energy(model, params, samples.x, samples.z)
    summary = diagnostics.summarise({"x": samples.x, "energy": energy}, samples.info)
    summary["step_size"] = float(np.mean(samples.step_size))
    x = np.swapaxes(np.asarray(samples.x), 0, 1).reshape(-1, samples.x.shape[-1])
    return x[-NUM_SAMPLES.value :], summary, diagnostics.in_words(summary)


def _told(summary: dict[str, float]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in summary.items())


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == round(value) else f"{value:.3f}"


if __name__ == "__main__":
    cli.main(main)
