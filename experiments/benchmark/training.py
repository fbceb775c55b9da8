"""Steps per second of not-MIWAE training, beside notmiwae-pytorch, and the cost of imputation.

python -m experiments.benchmark.training --data_dir=FOLDER

The same model for both: UCI red wine (1599 x 11), sampled logistic self-masking, two hidden
layers of 128, one scale for each column and latent, K = 20, Adam. Ours is the training loop as
users run it, with its held-out rows; theirs is their model's own loss, ``backward`` and Adam on
tensors in memory, without data loader or logging, on one thread and on all, the faster counted.
The two are timed in turn, and medians and the median of the ratios are printed.
"""

import os
import resource
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import cli
from mnar_ebm import Config, data, devices, tilted
from mnar_ebm.objectives import bounds
from mnar_ebm.tilted import stages
from mnar_ebm.training import chunks
from mnar_ebm.training.plan import pad_rows
from mnar_ebm.types import Batch

DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder with uci/red.csv.", required=True)
BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["16", "64"], "Rows in a step.")
NUM_STEPS = flags.DEFINE_integer("num_steps", 500, "Steps timed at once.")
NUM_REPEATS = flags.DEFINE_integer("num_repeats", 7, "Times that each side is timed.")

_NUM_SAMPLES = 20
_NUM_IMPUTATION_SAMPLES = 10_000

Runner = Callable[[], None]


def main() -> None:
    """Time imputation, then training."""
    table = data.load("red", DATA_DIR.value)
    print(f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, jax {jax.__version__}")
    time_imputation(table)
    for batch_size in (int(size) for size in BATCH_SIZES.value):
        time_training(table, batch_size)


def make_config(batch_size: int) -> Config:
    """Return the not-MIWAE of the benchmark."""
    return Config(
        tilt="none",
        mechanism="selfmasking_logistic",
        decoder="mlp",
        decoder_scale="per_latent",
        latent_dim=10,
        hidden_dim=128,
        num_importance_samples=_NUM_SAMPLES,
        batch_size=batch_size,
        learning_rate=1e-3,
        num_steps=1_000_000,
    )


def make_fitted(config: Config, table: data.Table) -> tilted.FittedModel:
    """Return the model before training, which costs what a trained one does."""
    return tilted.make_fitted(config, tilted.table_facts(config, table))


def time_imputation(table: data.Table) -> None:
    """Print seconds and peak memory of imputing every row."""
    fitted = make_fitted(make_config(64), table)
    started = time.perf_counter()
    fitted.impute(table.x, num_samples=_NUM_IMPUTATION_SAMPLES)
    seconds = time.perf_counter() - started
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"imputation: {len(table.x)} rows x {_NUM_IMPUTATION_SAMPLES} samples in {seconds:.1f} s, "
        f"compilation included; peak memory of the process {gigabytes:.2f} GB"
    )


def time_training(table: data.Table, batch_size: int) -> None:
    """Print steps per second of both sides."""
    runners = {"mnar_ebm": make_ours(table, batch_size)}
    try:
        runners |= make_peer(table, batch_size)
    except ImportError:
        print('notmiwae-pytorch is not installed: pip install "mnar-ebm[peers]"')
    rates: dict[str, list[float]] = {name: [] for name in runners}
    for runner in runners.values():
        runner()  # compile and warm up
    for _ in range(NUM_REPEATS.value):
        for name, runner in runners.items():
            started = time.perf_counter()
            runner()
            rates[name].append(NUM_STEPS.value / (time.perf_counter() - started))
    for name, values in rates.items():
        print(
            f"batch {batch_size:3}: {name:28} {statistics.median(values):6.0f} steps/s "
            f"(from {min(values):.0f} to {max(values):.0f})"
        )
    peers = [name for name in rates if name != "mnar_ebm"]
    if peers:
        best = max(peers, key=lambda name: statistics.median(rates[name]))
        ratios = [
            ours / theirs for ours, theirs in zip(rates["mnar_ebm"], rates[best], strict=True)
        ]
        print(f"batch {batch_size:3}: ratio to the faster peer {statistics.median(ratios):.2f}")


def make_ours(table: data.Table, batch_size: int) -> Runner:
    """Return the function that takes ``NUM_STEPS`` steps of our training."""
    config = make_config(batch_size)
    bounds.NUM_VALUES = 1  # of a missing cell for each latent, as the peer draws them
    fitted = make_fitted(config, table)
    x, mask = (jnp.asarray(array) for array in fitted.standardise(table.x))
    num_held_out = round(config.optimisation.validation_fraction * len(x))
    held_out = Batch(x[:num_held_out], mask[:num_held_out])
    rows = Batch(x[num_held_out:], mask[num_held_out:])
    stage = stages.make_stages(config, fitted.model)[0]
    mesh, settings = devices.data_mesh(), stages.make_loop(config)
    chunk = chunks.make_chunk(settings, stage, mesh)
    key = jax.random.key(0)
    num_steps = NUM_STEPS.value
    rates = stage.pace.rates(jnp.arange(num_steps))
    state = chunks.init_state(stage, fitted.params, key)
    steps, num_rows = jnp.arange(num_steps), len(rows.x)
    state, params, rows, held_out = devices.replicate(
        mesh, (state, fitted.params, pad_rows(rows).batch, pad_rows(held_out).batch)
    )

    def run() -> None:
        nonlocal state
        plan = chunks.plan_steps(settings, key, steps, num_rows, num_held_out)
        state, _ = chunk.run(
            state, params, rows, held_out, plan, rates, num_steps, stage.pace.decays
        )
        jax.block_until_ready(state)

    return run


def make_peer(table: data.Table, batch_size: int) -> dict[str, Runner]:
    """Return the functions that take ``NUM_STEPS`` steps of notmiwae-pytorch.

    Raises:
        ImportError: it is not installed.
    """
    import torch
    from notmiwae_pytorch import NotMIWAE

    standardiser = data.Standardiser.fit(table.x, table.mask)
    x = np.where(table.mask, standardiser.apply(table.x), 0.0).astype(np.float32)
    x, mask = torch.from_numpy(x), torch.from_numpy(table.mask.astype(np.float32))
    torch.manual_seed(0)
    model = NotMIWAE(
        x.shape[1],
        latent_dim=10,
        hidden_dim=128,
        n_samples=_NUM_SAMPLES,
        out_dist="gauss",
        missing_process="selfmasking",
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)

    def take_steps(num_threads: int) -> None:
        torch.set_num_threads(num_threads)
        order = torch.randperm(len(x))
        position = 0
        for _ in range(NUM_STEPS.value):
            if position + batch_size > len(x):
                order, position = torch.randperm(len(x)), 0
            rows = order[position : position + batch_size]
            position += batch_size
            optimiser.zero_grad()
            model(x[rows], mask[rows])["loss"].backward()
            optimiser.step()

    counts = sorted({1, os.cpu_count() or 1})
    return {
        f"notmiwae-pytorch, {count} thread{'s' * (count > 1)}": lambda count=count: take_steps(
            count
        )
        for count in counts
    }


if __name__ == "__main__":
    cli.main(main)
