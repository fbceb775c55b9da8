"""The tables of the benchmark of Markov random fields, of its records."""

from typing import Any

from experiments import markdown


def make_text(records: list[dict[str, Any]], failed: list[str] = ()) -> str:
    """Return the Markdown tables."""
    tori = [record for record in records if "energy" in record]
    learned = [record for record in records if "of truth" in record]
    races = {record["name"]: record for record in records if "rates" in record}
    parts = [torus_table(tori), couplings_table(learned), race_table(races)]
    return "\n\n".join([*filter(None, parts), *failed])


def torus_table(records: list[dict[str, Any]]) -> str:
    """Return the table of energy and magnetisation."""
    names = {
        "energy": "energy a spin",
        "magnetisation": "magnetisation",
        "square": "its square",
        "small_energy": "energy a spin, 4 x 4",
        "small_square": "square of the magnetisation, 4 x 4",
    }
    header = ["mean of", "seed", "exact", "found", "standard errors apart", "ESS", "R-hat"]
    rows = []
    for name, words in names.items():
        for record in records:
            one = record[name]
            exact, far = "none", "-"
            if one["exact"] is not None:
                exact = f"{one['exact']:.5f}"
                far = f"{(one['mean'] - one['exact']) / one['error']:+.1f}"
            found = f"{one['mean']:.5f} ± {one['error']:.5f}"
            ess, rhat = f"{one['ess']:.0f}", f"{one['rhat']:.3f}"
            rows.append([words, record["seed"], exact, found, far, ess, rhat])
    return markdown.table(header, rows)


def couplings_table(records: list[dict[str, Any]]) -> str:
    """Return the table of distances, the largest and the root of the mean square."""
    header = ["seed", "exact and pcd", "exact and pseudo", "pcd and pseudo", "exact and truth"]
    header += ["pcd and truth", "pseudo and truth", "standard error", "seconds"]
    rows = []
    for record in records:
        pairs = [record[name] for name in header[1:4]] + list(record["of truth"].values())
        errors, seconds = record["mean_error"].values(), record["phase_seconds"].values()
        cells = [f"{most:.2f} ({typical:.2f})" for most, typical in pairs]
        cells.append(" and ".join(f"{value:.4f}" for value in errors))
        rows.append([record["seed"], *cells, ", ".join(f"{value:.0f}" for value in seconds)])
    return markdown.table(header, rows)


def race_table(races: dict[str, dict[str, Any]]) -> str:
    """Return the table of sweeps a second."""
    header = ["chains", *(f"{name} {one['version']}".strip() for name, one in races.items())]
    rows = []
    for count in next(iter(races.values()))["rates"] if races else ():
        rates = [one["rates"][count] for one in races.values()]
        rows.append([count, *(f"{rate:,.0f}" for rate in rates)])
        if len(races) > 1:
            rows[-1].append(f"{rates[0] / rates[1]:.1f}")
    return markdown.table(header + ["ratio"] * (len(races) > 1), rows)
