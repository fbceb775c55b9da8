"""Seconds of training until the published error is reached, ours and notmiwae-pytorch's.

python -m experiments.benchmark.time_to_quality --data_dir=FOLDER

Every method is trained on each data set under the paper's mask, and every few hundred steps the
RMSE on the missing cells is taken, by importance sampling with the same number of samples for all
and with the clock stopped. Seconds are of training alone, compilation included. The threshold is
the published error of the row that the method repeats and the best of the whole table. Written are
a curve for each data set and method as JSON, a figure, and a Markdown table.
"""

import functools
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import jax
from absl import flags

from experiments import cli, markdown, published, settings
from experiments.benchmark import runner
from experiments.benchmark.imputation import jobs, methods, peers
from mnar_ebm import Config, data, metrics, run, tilted
from mnar_ebm.tilted import held_out, stages, tilt_scale
from mnar_ebm.training import loop
from mnar_ebm.training.plan import pad_rows

DATASETS = flags.DEFINE_list("datasets", ["banknote", "concrete", "red", "breast"], "Named sets.")
METHODS = flags.DEFINE_list(
    "methods",
    ["recommended", "paper_ppca", "paper_deep", "notmiwae_pytorch"],
    "Some of those of experiments.benchmark.imputation that take steps.",
)
EVERY = flags.DEFINE_integer("every", 400, "Steps between two looks at the error.")
NUM_SAMPLES = flags.DEFINE_integer("num_samples", 500, "Importance samples for each row of a look.")
MAX_SECONDS = flags.DEFINE_float("max_seconds", 600.0, "Seconds after which a method is stopped.")
WORKDIR = flags.DEFINE_string("workdir", "runs/time_to_quality", "Folder of curves.")
FIGURE = flags.DEFINE_string("figure", "docs/figures/time-to-quality.png", "File of the figure.")
README = flags.DEFINE_string("readme", None, "Markdown file to put the table into.")
flags.declare_key_flag("data_dir")

BEGIN = "<!-- time: python -m experiments.benchmark.time_to_quality -->"
END = "<!-- end of time -->"

Look = tuple[int, float, float]
"""Steps, seconds, RMSE."""


def main() -> None:
    """Train every method on every data set, then draw and tell when it got where."""
    workdir = pathlib.Path(WORKDIR.value)
    cli.check_writable(workdir)
    cli.check_writable(pathlib.Path(FIGURE.value).parent)
    for name in METHODS.value:
        if name not in (*methods.OURS, "notmiwae_pytorch"):
            known = ", ".join((*methods.OURS, "notmiwae_pytorch"))
            raise ValueError(f"--methods: expected some of {known}, got {name!r}")
    path, curves = workdir / "time_to_quality.jsonl", []
    for dataset in DATASETS.value:
        for name in METHODS.value:
            job = f"{dataset.partition('=')[0]}-{name}"
            work = functools.partial(measure, dataset, name)
            runner.run_all([runner.Job(job, work)], path)
            curves.append(runner.done(path)[job])
            print(describe(curves[-1]), flush=True)
    draw(curves, pathlib.Path(FIGURE.value))
    text = make_text(curves)
    markdown.tell(text, README.value, BEGIN, END)


def measure(dataset: str, name: str) -> dict[str, Any]:
    """Return the curve of one method on one data set, with seed 0."""
    job = jobs.Job(dataset, "above_mean", name, 0)
    table = jobs.load_table(job, settings.DATA_DIR.value)
    looks = look_at_peer(table) if name == "notmiwae_pytorch" else look_at_ours(name, table)
    taken: list[Look] = []
    for look in looks:
        taken.append(look)
        if look[1] > MAX_SECONDS.value:
            break
    return {"dataset": table.name, "method": name, "looks": taken}


def look_at_ours(name: str, table: data.Table) -> Iterator[Look]:
    """Train the stages of one of ours, as ``mnar_ebm.train`` does, and look on the way.

    The short trainings that choose a start are on the clock. The tilt is looked at in full while it
    trains, and last with the scale that the held-out rows choose.
    """
    config = methods.make_config(name, len(table.columns)).replace(seed=0)
    started = time.perf_counter()
    config = run.with_start(config, table)
    seconds, total = time.perf_counter() - started, 0
    fitted = tilted.make_fitted(config, tilted.table_facts(config, table))
    train_data, held_out_data = (
        tilted.make_batch(fitted, table.x[rows])
        for rows in held_out.split_rows(config, len(table.x))
    )
    params, chosen = fitted.params, stages.make_stages(config, fitted.model)
    keys = [
        tuple(jax.random.split(jax.random.fold_in(jax.random.key(0), index)))
        for index in range(len(chosen))
    ]
    started = time.perf_counter()
    for now in loop.run_stages(
        stages.make_loop(config),
        chosen,
        params,
        pad_rows(train_data),
        pad_rows(held_out_data),
        keys,
    ):
        seconds += time.perf_counter() - started
        if now.is_end:
            total += int(now.state.step)
            params = now.params
        else:
            step = now.record["step"]
            if step % EVERY.value < loop.CHUNK_STEPS or step == now.stage.pace.num_steps:
                on_the_way = fitted._replace(params=now.params)
                yield total + step, seconds, error_of(name, on_the_way, table)
        started = time.perf_counter()
    if config.model.tilt != "none":
        started = time.perf_counter()
        key = jax.random.fold_in(jax.random.key(0), len(chosen))
        params, _ = tilt_scale.choose_tilt_scale(key, fitted.model, params, held_out_data)
        seconds += time.perf_counter() - started
        yield total, seconds, error_of(name, fitted._replace(params=params), table)


def error_of(name: str, fitted: tilted.FittedModel, table: data.Table) -> float:
    """Return the RMSE of a model on its way, as the benchmark would impute by it."""
    assert table.truth is not None
    settings = {"num_samples": NUM_SAMPLES.value}
    if name.startswith("paper_"):
        mean = methods.mean_of_decoder_means(fitted, table.x, **settings)
    else:
        mean = fitted.impute(table.x, **settings).mean
    return metrics.imputation_rmse(mean, table.truth, table.mask)


def look_at_peer(table: data.Table) -> Iterator[Look]:
    """Train notmiwae-pytorch as ``paper_deep``, and look on the way."""
    assert table.truth is not None
    config: Config = methods.make_config("paper_deep", len(table.columns))
    seconds, started = 0.0, time.perf_counter()
    trainer = peers.NotMIWAETrainer(table, 0, config)
    for step in range(EVERY.value, config.optimisation.num_steps + 1, EVERY.value):
        trainer.take_steps(EVERY.value)
        seconds += time.perf_counter() - started
        imputed = trainer.impute(NUM_SAMPLES.value)
        yield step, seconds, metrics.imputation_rmse(imputed, table.truth, table.mask)
        started = time.perf_counter()


def seconds_to(curve: dict[str, Any], threshold: float) -> float | None:
    """Return the seconds at the first look with at most that error; ``None``: there is none."""
    return next((seconds for _, seconds, rmse in curve["looks"] if rmse <= threshold), None)


def thresholds_of(curve: dict[str, Any]) -> dict[str, float | None]:
    """Return the errors to reach: of the row that the method repeats, and the best of the table."""
    name = published.NAMES.get(curve["dataset"])
    row = methods.METHODS[curve["method"]].published
    own = published.TABLE_1[row][name][0] if row and name else None
    return {"its row": own, "best": published.best(name) if name else None}


def describe(curve: dict[str, Any]) -> str:
    """Return one line about a curve."""
    step, seconds, rmse = curve["looks"][-1]
    best = min(look[2] for look in curve["looks"])
    return (
        f"{curve['dataset']:10} {curve['method']:18} RMSE {rmse:.3f} (lowest {best:.3f}) after "
        f"{step} steps, {seconds:.0f} s"
    )


def draw(curves: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Draw RMSE over seconds, one panel for each data set; dashed, the best published."""
    from experiments import figures

    datasets = list(dict.fromkeys(curve["dataset"] for curve in curves))
    plt = figures.plt
    figure, axes = plt.subplots(
        1, len(datasets), figsize=(3.2 * len(datasets), 3), squeeze=False, layout="constrained"
    )
    for axis, dataset in zip(axes.flat, datasets, strict=True):
        for curve in (curve for curve in curves if curve["dataset"] == dataset):
            _, seconds, rmse = zip(*curve["looks"], strict=True)
            axis.plot(seconds, rmse, label=curve["method"])
        if dataset in published.NAMES:
            axis.axhline(published.best(published.NAMES[dataset]), color="#888888", ls="--", lw=1)
        axis.set(title=dataset, xlabel="seconds of training", xscale="log")
    axes[0, 0].set_ylabel("RMSE")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=len(labels), loc="outside upper center")
    figure.savefig(path)
    plt.close(figure)


def make_text(curves: list[dict[str, Any]]) -> str:
    """Return the Markdown table: seconds to each threshold, and the last error."""
    lines = [
        "| data set | method | seconds to its row's error | seconds to the best published "
        "| last RMSE | steps | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for curve in curves:
        cells = []
        for threshold in thresholds_of(curve).values():
            reached = None if threshold is None else seconds_to(curve, threshold)
            goal = "-" if threshold is None else f"not to {threshold:.2f}"
            cells.append(goal if reached is None else f"{reached:.0f} (to {threshold:.2f})")
        step, seconds, rmse = curve["looks"][-1]
        last = [f"{rmse:.3f}", str(step), f"{seconds:.0f}"]
        lines.append("| " + " | ".join([curve["dataset"], curve["method"], *cells, *last]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.main(main)
