"""The benchmark of samplers: it runs, its oracles are right, and a wrong sampler is not timed."""

import importlib
import itertools
import json
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import markdown
from experiments.benchmark.samplers import (
    checks,
    effective_size,
    jax_loops,
    reference,
    scaling,
    table,
    targets,
    timing,
    worker,
)

langevin = importlib.import_module("mnar_ebm.samplers.langevin")
OURS = {"mnar_ebm": {"version": None, "device": "cpu"}}


class InProcess:
    """A library in this process, asked as one in another is."""

    name = "mnar_ebm"

    def __init__(self):
        """Import the library."""
        self.worker = worker.Worker(self.name, share=0.02)

    def ask(self, do, **request):
        """Answer as the process would."""
        answer = getattr(self.worker, do)(**request)
        return {"measurements": answer} if do == "prepare" else answer


def measured(benchmark="mala"):
    """Check our sampler and time it if it passes; return the result and its line of the table."""
    (result,) = timing.measure([InProcess()], benchmark, "gaussian", 8, 2, lambda text: None)
    text = table.render([result], OURS, [], "mnar_ebm")
    (line,) = [line for line in text.splitlines() if "Gaussian-100" in line]
    return result, line


# The command.


@pytest.mark.slow
def test_the_command_leaves_tables_and_results(spawn, tmp_path):
    """With one library at a tiny size; the text around the markers stays."""
    begin = "<!-- benchmark: python -m experiments.benchmark.samplers -->"
    (tmp_path / "page.md").write_text(f"before\n{begin}\nold\n<!-- end of benchmark -->\nafter\n")
    command = ("benchmark.samplers", "--workdir=here", "--docs=page.md", "--libraries=mnar_ebm")
    size = ("--benchmarks=ula,hmc", "--num_chains=8,16", "--num_rounds=2", "--share=0.02")
    process = spawn(*command, *size, cwd=tmp_path)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    page = (tmp_path / "page.md").read_text()
    assert page.startswith(f"before\n{begin}\n") and "old" not in page
    assert page.endswith("<!-- end of benchmark -->\nafter\n")
    for row in itertools.product(("ULA", "HMC-10"), (8, 16)):
        assert "| {} | Gaussian-100 | {} |".format(*row) in page
    record = json.loads((tmp_path / "here" / "results.json").read_text())
    assert [result["reason"] for result in record["results"]] == [""] * 4
    for result in record["results"]:
        assert len(result["seconds"]) == 2 and min(result["seconds"]) > 0


def test_a_file_without_markers_is_refused(tmp_path):
    """It is named, and left as it is."""
    path = tmp_path / "page.md"
    path.write_text("a end b begin c")
    with pytest.raises(ValueError, match="page.md: expected the markers begin and end"):
        markdown.replace_between(path, "begin", "end", "new")
    assert path.read_text() == "a end b begin c"


# What is timed, and what is not.


def test_a_right_sampler_is_timed(quick_compile):
    """MALA passes its check, and its rate stands in the table."""
    result, line = measured()
    assert result["reason"] == "" and len(result["seconds"]) == 2
    assert "wrong" not in line and line.split("|")[-2].strip()[0].isdigit()


def test_a_wrong_sampler_is_told_and_not_timed(quick_compile, monkeypatch):
    """MALA that takes the acceptance ratio the wrong way round."""
    right = langevin.log_acceptance_ratio
    monkeypatch.setattr(langevin, "log_acceptance_ratio", lambda *args: -right(*args))
    result, line = measured()
    assert "expected 0.7" in result["reason"] or "variance off" in result["reason"]
    assert result["seconds"] == [] and f"wrong: {result['reason']}" in line.replace("\\|", "|")


def test_a_sampler_that_raises_is_a_line_of_the_table(monkeypatch):
    """The error's first line stands where the rate would."""

    def broken(*args):
        raise RuntimeError("no such kernel\nat all")

    child = InProcess()
    monkeypatch.setattr(child.worker.library, "chains", broken)
    (result,) = timing.measure([child], "ula", "gaussian", 8, 2, lambda text: None)
    assert result["reason"] == "RuntimeError: no such kernel" and result["seconds"] == []


def test_a_library_that_is_not_installed(monkeypatch):
    """Its module does not import, and the table says so."""
    monkeypatch.setitem(sys.modules, "torchebm", None)
    monkeypatch.delitem(sys.modules, "experiments.benchmark.samplers.torchebm_", raising=False)
    with pytest.raises(ImportError):
        worker.Worker("torchebm", share=0.02)
    results = [
        {"library": "mnar_ebm", "benchmark": "ula", "case": "gaussian", "num_chains": 8}
        | {"reason": "", "seconds": [0.5, 0.25], "amounts": [1.0, 1.0]}
    ]
    text = table.render(results, OURS | {"torchebm": {"missing": "ImportError"}}, [], "mnar_ebm")
    assert text.splitlines()[-1].endswith("| 4 | not installed |")


# Its oracles.


@pytest.mark.parametrize("name", ["banana", "double_well"])
def test_second_moments_of_the_targets(name):
    """By quadrature in one or two dimensions; the wells are independent."""
    target = targets.TARGETS[name]
    if name == "double_well":
        grid = np.linspace(-4, 4, 8001)
        density = np.exp([target.logdensity({}, np.array([x]), np) for x in grid])
        np.testing.assert_allclose(density @ grid**2 / density.sum(), target.square[0], rtol=1e-8)
        return
    a, b = np.meshgrid(np.linspace(-70, 70, 1401), np.linspace(-10, 160, 1701), indexing="ij")
    density = np.exp(target.logdensity({}, np.stack([a, b], axis=-1), np))
    second = [(density * axis**2).sum() / density.sum() for axis in (a, b)]
    np.testing.assert_allclose(second, target.square, rtol=1e-3)


def test_log_z_of_the_eight_gaussians():
    """By a sum over a fine grid; exact masses have no error, and equal ones do."""
    axis = np.linspace(-7, 7, 701)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    density = np.exp(targets.EightGaussians.logdensity(grid, np))
    log_z = math.log(density.sum() * (axis[1] - axis[0]) ** 2)
    np.testing.assert_allclose(log_z, targets.EightGaussians.log_z, rtol=1e-6)
    mass_error = targets.EightGaussians.mass_error
    assert mass_error(grid, density / density.sum()) < 1e-3
    assert abs(mass_error(targets.EightGaussians.centres, np.full(8, 1 / 8)) - 5 / 24) < 1e-12


def test_law_of_the_small_machine():
    """By a sum over both layers."""
    machine = targets.Machine.random(3, 2)
    law = np.zeros(8)
    for index, v in enumerate(itertools.product((0, 1), repeat=3)):
        for h in map(np.array, itertools.product((0, 1), repeat=2)):
            reverse = np.array(v[::-1])  # the first unit is the lowest bit
            law[index] += np.exp(
                reverse @ machine.visible_bias
                + h @ machine.hidden_bias
                + reverse @ machine.weights @ h
            )
    np.testing.assert_allclose(machine.visible_law(), law / law.sum(), rtol=1e-6)


def test_the_network_by_hand_is_the_network_by_autodiff():
    """Energies and gradients in NumPy and in JAX."""
    target = targets.mlp("small")
    x = np.random.default_rng(0).normal(size=(5, target.dim))
    energy, gradient = reference.mlp_energy(target.constants, x)
    logdensity = jax_loops.logdensity_fn(target)
    values, grads = jax.vmap(jax.value_and_grad(logdensity))(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(-values, energy, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(-grads, gradient, rtol=1e-3, atol=1e-5)


def test_gradients_to_accuracy_of_independent_draws():
    """A hundred of them have b² = 0.01."""
    squares = np.random.default_rng(0).normal(size=(4, 2000, 2)) ** 2
    found = effective_size.gradients_to_accuracy(squares, num_gradients=3.0)
    assert abs(found / 300 - 1) < 0.2  # the error of an effective sample size


@pytest.mark.parametrize(
    ("errors", "is_right"), [([0.1, -0.1, 0.05, -0.06], True), ([0.5, 0.52, 0.48, 0.51], False)]
)
def test_a_biased_log_z_is_wrong(errors, is_right):
    """By the spread of its runs."""
    reason, numbers = checks.evidence(np.array(errors), np.zeros(4))
    assert (reason == "") == is_right and numbers["mean_error"] == np.mean(errors)


def test_slopes_of_proportional_costs(tmp_path):
    """They are 1, and the figure is drawn."""
    points = [
        {"sampler": sampler, "axis": axis, "num_chains": c, "dim": d, "num_steps": t}
        | {"seconds": 1e-9 * c * d * t}
        for sampler in scaling.SAMPLERS
        for axis, c, d, t in scaling.points(share=1.0)
    ]
    for slope in scaling.slopes(points).values():
        np.testing.assert_allclose(slope, 1)
    scaling.draw(points, tmp_path / "cost.png")
    assert (tmp_path / "cost.png").stat().st_size > 1000
    assert "10,000 chains x 1,000 dimensions, seconds a step | 0.010 |" in table.render(
        [], OURS, points, "mnar_ebm"
    )
