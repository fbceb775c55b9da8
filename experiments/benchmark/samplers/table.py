"""The results in markdown: rates side by side, then methods, then the cost of size."""

import statistics
from typing import Any

from experiments.benchmark.samplers import scaling

__all__ = ["render"]

_SIDE_BY_SIDE = ("ula", "mlp", "cd", "mala", "hmc", "gibbs")
_NAMES = {
    "ula": "ULA", "mlp": "ULA", "cd": "CD-10", "mala": "MALA", "hmc": "HMC-10",
    "gibbs": "block Gibbs",
    "gaussian": "Gaussian-100", "small": "MLP-small", "medium": "MLP-medium", "large": "MLP-large",
    "banana": "banana", "funnel": "funnel-10", "double_well": "double well-8", "rbm": "RBM 64 x 32",
    "normal_1": "N(0, I), d = 1", "normal_10": "N(0, I), d = 10", "normal_100": "N(0, I), d = 100",
    "scales": "variances 0.01 to 1, d = 100", "rotated": "condition 100, rotated, d = 30",
    "logistic": "logistic regression, d = 11",
}  # fmt: skip
_UNITS = {"cd": "gradients/s", "gibbs": "sweeps/s"}

Result = dict[str, Any]


def render(
    results: list[Result], libraries: dict[str, Any], points: list[Result], ours: str
) -> str:
    """Return the tables of what was measured."""
    parts = [_environment(libraries)]
    rates = [result for result in results if result["benchmark"] in _SIDE_BY_SIDE]
    if rates:
        parts.append(_side_by_side(rates, libraries, ours))
    effective = [result for result in results if result["benchmark"] == "ess"]
    if effective:
        parts.append(_effective(effective))
    gradients = [result for result in results if result["benchmark"] == "gradients"]
    if gradients:
        parts.append(_by_gradients(gradients))
    evidence = [result for result in results if result["benchmark"] == "log_z"]
    if evidence:
        parts.append(_evidence(evidence))
    if points:
        parts.append(_slopes(points))
    return "\n\n".join(parts)


def _environment(libraries: dict[str, Any]) -> str:
    devices = sorted({told["device"] for told in libraries.values() if "device" in told})
    names = [
        f"{name} ({'not installed' if 'missing' in told else told['version'] or 'this project'})"
        for name, told in libraries.items()
    ]
    clock = "CPU seconds on one core" if devices == ["cpu"] else f"seconds on {', '.join(devices)}"
    return f"Libraries: {', '.join(names)}. Float32, {clock}, compilation apart."


def _side_by_side(results: list[Result], libraries: dict[str, Any], ours: str) -> str:
    keys = list(dict.fromkeys(_key(result) for result in results))
    rows = [["", "target", "chains", "a second", *libraries]]
    for key in keys:
        found = {result["library"]: result for result in results if _key(result) == key}
        benchmark, case, num_chains = key
        row = [_NAMES[benchmark], _NAMES[case], f"{num_chains:,}" if num_chains else "-"]
        row.append(_UNITS.get(benchmark, "chain-steps/s"))
        for name, told in libraries.items():
            row.append(_rate_cell(told, found.get(name), found.get(ours)))
        rows.append(row)
    return _markdown(rows)


def _key(result: Result) -> tuple[str, str, int]:
    return result["benchmark"], result["case"], result["num_chains"]


def _rate_cell(told: Any, result: Result | None, ours: Result | None) -> str:
    """Tell the best rate and, of a peer, how many times as fast ours is, round by round."""
    if "missing" in told:
        return "not installed"
    if result is None:
        return "-"
    if result["reason"]:
        return f"wrong: {result['reason']}"
    text = _number(max(_rates(result)))
    if ours is None or ours is result or not ours["seconds"]:
        return text
    ratios = [a / b for a, b in zip(_rates(ours), _rates(result), strict=True)]
    return f"{text} ({statistics.median(ratios):.2f})"


def _rates(result: Result) -> list[float]:
    return [
        amount / seconds
        for amount, seconds in zip(result["amounts"], result["seconds"], strict=True)
    ]


def _effective(results: list[Result]) -> str:
    header = ["target", "library", "method", "min-ESS/s", "min-ESS of 4,000", "R-hat"]
    rows = [[*header, "largest |z|", "gradients to b² < 0.01"]]
    for result in results:
        numbers = result["numbers"]
        row = [_NAMES[result["case"]], result["library"], result["method"], _speed(result)]
        for name, form in (
            ("min_ess", ".0f"), ("rhat", ".2f"), ("max_z", ".1f"),
            ("gradients_to_accuracy", ",.0f"),
        ):  # fmt: skip
            value = numbers.get(name, float("nan"))
            hidden = value != value or (result["reason"] and name == "gradients_to_accuracy")
            row.append("-" if hidden else f"{value:{form}}")
        rows.append(row)
    return _markdown(rows)


def _by_gradients(results: list[Result]) -> str:
    """Tell the means over seeds and, behind ±, their standard errors."""
    methods = list(dict.fromkeys((one["library"], one["method"]) for one in results))
    rows = [["min-ESS of x and x² a gradient", *(" ".join(method) for method in methods)]]
    for case in dict.fromkeys(one["case"] for one in results):
        row = [_NAMES[case]]
        for method in methods:
            found = [
                r for r in results if (r["case"], r["library"], r["method"]) == (case, *method)
            ]
            row.append(_gradient_cell(found[0]) if found else "-")
        rows.append(row)
    return _markdown(rows)


def _gradient_cell(result: Result) -> str:
    if result["reason"]:
        return f"wrong: {result['reason']}"
    numbers = result["numbers"]
    return f"{numbers['ess_per_gradient']:.4f} ± {numbers['standard_error']:.4f}"


def _evidence(results: list[Result]) -> str:
    header = ["log Z of 8 Gaussians", "method", "mean error", "sd", "in s.e.", "TV of mode masses"]
    rows = [[*header, "seconds a run"]]
    for result in results:
        numbers = result["numbers"]
        row = [result["library"], result["method"]]
        for name, form in (
            ("mean_error", "+.4f"),
            ("sd", ".4f"),
            ("z", "+.1f"),
            ("mode_mass_tv", ".3f"),
        ):
            row.append(f"{numbers[name]:{form}}" if name in numbers else "-")
        failed = bool(result["reason"])
        row.append(f"wrong: {result['reason']}" if failed else f"{min(result['seconds']):.4f}")
        rows.append(row)
    return _markdown(rows)


def _speed(result: Result) -> str:
    if result["reason"]:
        return f"wrong: {result['reason']}"
    return _number(statistics.median(_rates(result)))


def _slopes(points: list[Result]) -> str:
    """Tell the slope over each whole sweep and, in brackets, between its last two points."""
    found = scaling.slopes(points)
    rows = [["slope of log cost", *(sampler.upper() for sampler in scaling.SAMPLERS)]]
    for axis, name in scaling.AXES.items():
        cells = [found.get((sampler, axis)) for sampler in scaling.SAMPLERS]
        rows.append([name, *("-" if c is None else f"{c[0]:.2f} ({c[1]:.2f})" for c in cells)])
    largest = {
        point["sampler"]: point["seconds"] / point["num_steps"]
        for point in points
        if point["axis"] == "large" and point["num_chains"] == 10_000
    }
    if largest:
        cells = [f"{largest[sampler]:.3f}" for sampler in scaling.SAMPLERS]
        rows.append(["10,000 chains x 1,000 dimensions, seconds a step", *cells])
    return _markdown(rows)


def _number(value: float) -> str:
    """Tell three significant digits, with thousands and millions by letter."""
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _markdown(rows: list[list[str]]) -> str:
    header, *body = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
