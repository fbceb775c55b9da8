"""From records to metrics.json and a Markdown table beside the published one."""

import json
import pathlib
from collections.abc import Sequence

import numpy as np

from experiments import published
from experiments.benchmark.imputation import methods
from experiments.benchmark.records import Record


def collect(done: Sequence[Record], workdir: pathlib.Path) -> list[Record]:
    """Write ``metrics.json`` of the records of jobs, and return one record for each result.

    A record has data set, mask, label and, over the seeds, the mean and the standard error of
    every metric.
    """
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for found in done:
        for label, result in found["results"].items():
            runs = groups.setdefault((found["dataset"], found["mask"], label), [])
            seconds = {name: found[name] for name in ("seconds", "cpu_seconds")}
            runs.append(result | seconds | {"method": found["method"]})
    records = [_summary(*group, runs) for group, runs in groups.items()]
    (workdir / "metrics.json").write_text(json.dumps(records, indent=2) + "\n")
    return records


def _summary(dataset: str, mask: str, label: str, runs: list[Record]) -> Record:
    record: Record = {"dataset": dataset, "mask": mask, "label": label, "num_seeds": len(runs)}
    record["method"] = runs[0]["method"]
    for name in ("rmse", "crps", "coverage_90", "bound", "seconds", "cpu_seconds"):
        values = [run[name] for run in runs]
        record[name] = None if None in values else _mean_and_error(values)
    return record


def _mean_and_error(values: list[float]) -> list[float | None]:
    """Return mean and standard error over seeds; of one seed there is no error."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
    return [float(np.mean(values)), None if error is None else float(error)]


def make_text(records: Sequence[Record]) -> str:
    """Return a Markdown table of RMSE for each mask, and one of everything else."""
    masks = dict.fromkeys(record["mask"] for record in records)
    parts = [_rmse_table([r for r in records if r["mask"] == mask], mask) for mask in masks]
    return "\n\n".join([*parts, _detail_table(records)])


def _rmse_table(records: Sequence[Record], mask: str) -> str:
    datasets = list(dict.fromkeys(record["dataset"] for record in records))
    labels = list(dict.fromkeys(record["label"] for record in records))
    lines = [
        f"RMSE, mask `{mask}`",
        "",
        _line(["method", *datasets]),
        "|" + "---|" * (1 + len(datasets)),
    ]
    if mask == "above_mean" and any(name in published.NAMES for name in datasets):
        lines += [
            _line([f"{name} (published)", *_published(name, datasets)])
            for name in published.TABLE_1
        ]
    by_place = {(record["dataset"], record["label"]): record["rmse"] for record in records}
    for label in labels:
        repeats = methods.METHODS[_method_of(records, label)].published
        note = f" (repeats {repeats})" if repeats and mask == "above_mean" else ""
        lines.append(
            _line([label + note, *(_cell(by_place.get((name, label))) for name in datasets)])
        )
    return "\n".join(lines)


def _method_of(records: Sequence[Record], label: str) -> str:
    return next(record["method"] for record in records if record["label"] == label)


def _published(method: str, datasets: Sequence[str]) -> list[str]:
    row = published.TABLE_1[method]
    return [
        _cell(list(row[published.NAMES[name]])) if name in published.NAMES else "-"
        for name in datasets
    ]


def _detail_table(records: Sequence[Record]) -> str:
    header = ["method", "data set", "mask", "seeds", "CRPS", "coverage of 90 %", "bound"]
    header += ["seconds", "CPU seconds"]
    lines = [_line(header), "|" + "---|" * len(header)]
    for record in records:
        cells = [_cell(record[name]) for name in ("crps", "coverage_90", "bound")]
        cells += [_cell(record[name], 0) for name in ("seconds", "cpu_seconds")]
        place = [record[name] for name in ("label", "dataset", "mask")]
        lines.append(_line([*place, str(record["num_seeds"]), *cells]))
    return "\n".join(lines)


def _cell(value: Sequence[float | None] | None, digits: int = 2) -> str:
    if value is None:
        return "-"
    mean, error = value
    return f"{mean:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
