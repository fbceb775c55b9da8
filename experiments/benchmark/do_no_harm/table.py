"""From the records to a Markdown table, and what it says about each criterion."""

import collections
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments import markdown
from experiments.benchmark.do_no_harm import designs, files, gaps, methods, plebiscite
from experiments.benchmark.records import Record

MEAN_RATIO, MOST_RATIO, MOST_OF_ORACLE = 1.03, 1.10, 1.05
COVERAGE = (0.86, 0.94)
MOST_BIAS = 0.06

_SHOWN = {"no_self_censoring": "no self-censoring", "self_masking": "self-masking"}
_HEADER = ("ratio", "worst seed", "coverage of 90 %", "bias", "wrong levels", "taken", "seconds")


class Row(NamedTuple):
    """What was found for one design; means over seeds, None where there is none.

    Attributes:
        name: of the design.
        family: of the design.
        errors: by method, the RMSE, or the share of wrong levels where no number is missing.
        is_share: whether it is the latter.
        ratios: our error over the better of MICE and missForest, of each seed with all three.
        of_oracle: our error over the oracle's, mean over seeds with both.
        gain: 1 - our error over that of MICE, mean over seeds with both.
        of_miceforest: our error over that of miceforest, of each seed with both.
        their_coverage: of the 90 % intervals of miceforest.
        coverage: of our 90 % intervals.
        bias: of ours, the largest over columns.
        wrong: by method, the share of wrong levels.
        taken: the mechanisms that ours took, with how often.
        seconds: of ours.
    """

    name: str
    family: str
    errors: Mapping[str, float]
    is_share: bool
    ratios: Sequence[float]
    of_oracle: float | None
    gain: float | None
    of_miceforest: Sequence[float]
    their_coverage: float | None
    coverage: float | None
    bias: float | None
    wrong: Mapping[str, float]
    taken: Mapping[str, int]
    seconds: float | None

    @property
    def ratio(self) -> float | None:
        """Mean over the seeds of our error over the better of MICE and missForest."""
        return _mean(self.ratios)


def make_text(records: Sequence[Record]) -> str:
    """Return table, criteria, what the designs are and the plebiscite, of all records."""
    rows = make_rows(records)
    parts = []
    if rows:
        parts += [_facts(records), _table(rows), "\n".join(_criteria(rows))]
        parts += [_legend(rows)] if any(row.name in designs.DESIGNS for row in rows) else []
    survey = [record for record in records if record["design"] == plebiscite.DESIGN.name]
    if survey:
        parts.append(_plebiscite(survey))
    return "\n\n".join(parts) if parts else "no records"


def make_rows(records: Sequence[Record]) -> list[Row]:
    """Return a row for each design but the plebiscite, in the order of ``DESIGNS``, then others."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record["design"] != plebiscite.DESIGN.name:
            groups.setdefault(record["design"], []).append(record)
    names = [*designs.DESIGNS, *sorted(groups.keys() - designs.DESIGNS.keys())]
    return [_row(groups[name]) for name in names if name in groups]


def _row(group: Sequence[Record]) -> Row:
    by_method: dict[str, dict[int, Record]] = {}
    for record in group:
        by_method.setdefault(record["method"], {})[record["seed"]] = record
    is_share = all(record["rmse"] is None for record in group)
    errors = {
        method: {seed: one["wrong" if is_share else "rmse"] for seed, one in seeds.items()}
        for method, seeds in by_method.items()
    }
    ours = by_method.get("imputer", {})

    def ratios(*others: str) -> list[float]:
        """Return our error over the least of those of others, of each seed with all."""
        told = [errors.get(name, {}) for name in ("imputer", *others)]
        shared = sorted(set.intersection(*map(set, told)))
        best = {seed: min(one[seed] for one in told[1:]) for seed in shared}
        return [told[0][seed] / best[seed] for seed in shared if best[seed] > 0]

    def mean(what: str, method: str = "imputer") -> float | None:
        own = by_method.get(method, {}).values()
        return _mean([one[what] for one in own if one[what] is not None])

    of_mice = _mean(ratios("mice"))
    wrong = {
        method: [one["wrong"] for one in seeds.values() if one["wrong"] is not None]
        for method, seeds in by_method.items()
    }
    return Row(
        name=group[0]["design"],
        family=group[0]["family"],
        errors={
            method: float(np.mean(list(seeds.values())))
            for method, seeds in errors.items()
            if len(seeds) >= len(ours)
        },
        is_share=is_share,
        ratios=ratios("mice", "missforest"),
        of_oracle=_mean(ratios("oracle")),
        gain=None if of_mice is None else 1.0 - of_mice,
        of_miceforest=ratios("miceforest"),
        their_coverage=mean("coverage_90", "miceforest"),
        coverage=mean("coverage_90"),
        bias=mean("bias"),
        wrong={method: float(np.mean(shares)) for method, shares in wrong.items() if shares},
        taken=collections.Counter(one["mechanism"] for one in ours.values()),
        seconds=mean("seconds"),
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _facts(records: Sequence[Record]) -> str:
    simulated = [record for record in records if record["family"] in designs.FAMILIES]
    of = simulated or records
    num_rows = " or ".join(map(str, sorted({record["rows"] for record in of})))
    num_seeds = len({record["seed"] for record in of})
    return (
        f"{num_rows} rows, {num_seeds} seed{'s' if num_seeds > 1 else ''}. RMSE on missing numbers "
        "in standard deviations of the true columns, or, with a percent sign, the share of wrong "
        "levels where no number is missing. Ratio: `imputer` over the better of `mice` and "
        "`missforest`. Bias: of the completed column's mean that is farthest off, in standard "
        "deviations. Wrong levels: `imputer` / `mice` / `missforest`."
    )


def _table(rows: Sequence[Row]) -> str:
    shown = [name for name in methods.METHODS if any(name in row.errors for row in rows)]
    return markdown.table(
        ["design", "family", *shown, *_HEADER],
        [[row.name, _SHOWN.get(row.family, row.family), *_cells(row, shown)] for row in rows],
    )


def _cells(row: Row, shown: Sequence[str]) -> list[str]:
    wrong = [row.wrong.get(name) for name in ("imputer", "mice", "missforest")]
    is_beside = not row.is_share and any(share is not None for share in wrong)
    return [
        *(_number(row.errors.get(name), is_share=row.is_share) for name in shown),
        _number(row.ratio),
        _number(max(row.ratios, default=None)),
        _number(row.coverage),
        _number(row.bias, 3),
        " / ".join(_number(share, is_share=True) for share in wrong) if is_beside else "-",
        ", ".join(f"{name} {count}" for name, count in sorted(row.taken.items())) or "-",
        _number(row.seconds, 0),
    ]


def _number(value: float | None, digits: int = 2, *, is_share: bool = False) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.0f}%" if is_share else f"{value:.{digits}f}"


def _criteria(rows: Sequence[Row]) -> list[str]:
    """Return a line for each criterion of what was run, with the designs that miss it."""
    ignorable, others, selves, own = (
        [row for row in rows if row.family == family]
        for family in (*designs.FAMILIES, files.FAMILY)
    )
    lines = _of_ignorable("ignorable", ignorable) if ignorable else []
    if others:
        lines.append(
            f"- no self-censoring, at most {MOST_OF_ORACLE} times the error of the oracle: "
            + _missed(others, lambda row: row.of_oracle, lambda value: value <= MOST_OF_ORACLE)
        )
    if selves:
        lines.append(f"- self-masking, gain over `mice`: {_gained(selves)}")
    if ignorable:
        lines.append(f"- ignorable, beside `miceforest`: {_beside_miceforest(ignorable)}")
    return lines + (_of_ignorable("files, as if ignorable", own) if own else [])


def _of_ignorable(what: str, rows: Sequence[Row]) -> list[str]:
    """Return a line for each criterion of designs whose gaps may be ignored."""
    ratios = [row.ratio for row in rows if row.ratio is not None]
    ratio = _mean(ratios)
    low, high = COVERAGE
    if ratio is None:
        total = "not run"
    else:
        is_met = "met" if ratio <= MEAN_RATIO else "missed"
        total = f"{is_met} by {ratio:.3f} ({len(ratios)} designs)"
    return [
        f"- {what}, mean ratio at most {MEAN_RATIO}: {total}",
        f"- {what}, no ratio above {MOST_RATIO:.2f}: "
        + _missed(rows, lambda row: row.ratio, lambda value: value <= MOST_RATIO),
        f"- {what}, coverage from {low} to {high}: "
        + _missed(rows, lambda row: row.coverage, lambda value: low <= value <= high),
        f"- {what}, bias below {MOST_BIAS}: "
        + _missed(rows, lambda row: row.bias, lambda value: value < MOST_BIAS, "{:.3f}"),
    ]


def _gained(rows: Sequence[Row]) -> str:
    """Return what was gained over MICE, in the mean and by design."""
    gains = {row.name: row.gain for row in rows if row.gain is not None}
    if not gains:
        return "not run"
    each = ", ".join(f"{name} {gain:.0%}" for name, gain in gains.items())
    without = ", ".join(name for name, gain in gains.items() if gain <= 0)
    return f"{_mean([*gains.values()]):.0%} in the mean ({each}); no gain: {without or 'none'}"


def _beside_miceforest(rows: Sequence[Row]) -> str:
    """Return our error over theirs, and what their intervals cover, where they ran."""
    ran = [row for row in rows if row.of_miceforest]
    if not ran:
        return "not run"
    each = [_mean(row.of_miceforest) for row in ran]
    covered = _mean([row.their_coverage for row in ran if row.their_coverage is not None])
    seeds = max(len(row.of_miceforest) for row in ran)
    return (
        f"{_mean(each):.3f} of its error in the mean, {max(each):.2f} at most "
        f"({len(ran)} designs, {seeds} seed{'s' * (seeds > 1)}); its 90 % intervals cover "
        f"{_number(covered)}"
    )


def _missed(
    rows: Sequence[Row],
    read: Callable[[Row], float | None],
    is_met: Callable[[float], bool],
    form: str = "{:.2f}",
) -> str:
    """Return the designs that miss a criterion with their values, or that all meet it."""
    found = [(row.name, value) for row in rows if (value := read(row)) is not None]
    if not found:
        return "not run"
    missed = [f"{name} {form.format(value)}" for name, value in found if not is_met(value)]
    if missed:
        return f"missed by {', '.join(missed)} ({len(missed)} of {len(found)})"
    return f"met ({len(found)} designs)"


def _legend(rows: Sequence[Row]) -> str:
    """Return what each design is."""
    known = [designs.DESIGNS[row.name] for row in rows if row.name in designs.DESIGNS]
    lines = [f"- `{design.name}`: {design.description}" for design in known]
    return "\n".join(
        [
            "Designs, by what makes a cell missing: Φ is the normal distribution function, a makes "
            f"the rate {gaps.RATE}, and x1 to x3 of x1 to x6 have gaps if nothing else is said.",
            "",
            *lines,
        ]
    )


def _plebiscite(records: Sequence[Record]) -> str:
    """Return a table of the share that attends and is for independence."""
    rows: list[list[Any]] = [["the vote", f"{plebiscite.TRUTH:.3f}", "-", "-"]]
    rows += [[name, f"{value:.3f}", "-", "-"] for name, value in plebiscite.PUBLISHED.items()]
    for method in methods.METHODS:
        own = [record for record in records if record["method"] == method]
        if not own:
            continue
        ends = [_mean([one[end] for one in own if one[end] is not None]) for end in ("low", "high")]
        interval = "-" if None in ends else " to ".join(_number(end, 3) for end in ends)
        taken = collections.Counter(one["mechanism"] for one in own if one["mechanism"])
        told = ", ".join(f"{name} {count}" for name, count in sorted(taken.items())) or "-"
        rows.append([method, _number(_mean([one["estimate"] for one in own]), 3), interval, told])
    text = "Slovenian plebiscite: share that attends and is for independence, means over seeds"
    return f"{text}\n\n" + markdown.table(["method", "estimate", "95 % interval", "taken"], rows)
