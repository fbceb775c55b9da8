"""The notebooks run, are in step with their scripts, and leave a machine's own JAX as it is."""

import importlib.util
import pathlib
import subprocess
import sys
import tomllib
import types

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (extra dev)")
jupytext = pytest.importorskip("jupytext", reason="jupytext is not installed (extra dev)")

ROOT = pathlib.Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "colab").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
NUM_FIGURES = {"quickstart": 2, "imputer": 3, "samplers": 2, "debiasing": 2, "vae": 6}


def code_cells(path):
    """Return the source of each code cell."""
    notebook = nbformat.read(path, as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def essence(notebook):
    """Return what a script and its notebook share: the cells, and what the notebook asks for."""
    asks = {name: notebook.metadata.get(name) for name in ("accelerator", "colab", "kernelspec")}
    return asks, [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_every_script_has_a_notebook():
    """And every notebook a script."""
    scripts = [path.stem for path in sorted((ROOT / "colab").glob("*.py"))]
    assert scripts == [path.stem for path in NOTEBOOKS] == sorted(NUM_FIGURES)


@each_notebook
def test_a_notebook_is_in_step_with_its_script(path):
    """Cell by cell; it is valid, and without outputs."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    script = jupytext.read(path.with_suffix(".py"))
    assert essence(notebook) == essence(script), "jupytext --to ipynb --update colab/*.py"
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None


@each_notebook
def test_a_notebook_begins_as_all_do(path):
    """With a badge, and the same cells that install, tell devices and precision, and set FAST."""
    install, settings = code_cells(path)[:2]
    assert [install, settings] == code_cells(NOTEBOOKS[0])[:2]
    for word in ("jax_default_matmul_precision", "device_count", "FAST"):
        assert word in settings
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    address = project.get("urls", {}).get("Repository", "")
    _, is_hosted, where = address.partition("github.com/")
    target = f"github/{where}/blob/main/colab/{path.name}" if is_hosted else ""
    badge = f"colab-badge.svg)](https://colab.research.google.com/{target})"
    assert badge in nbformat.read(path, as_version=4).cells[0].source


def install(monkeypatch, *, in_colab, is_installed):
    """Run the install cell; return the commands that it would have run."""
    commands = []
    google = types.ModuleType("google.colab")
    google.files = types.SimpleNamespace(upload=lambda: {"mnar_ebm-0.1.0-py3-none-any.whl": b""})
    if in_colab:
        monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
        monkeypatch.setitem(sys.modules, "google.colab", google)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: is_installed or None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    exec(compile(code_cells(NOTEBOOKS[0])[0], "install", "exec"), {})
    return commands


@pytest.mark.parametrize(("in_colab", "is_installed"), [(False, False), (True, True)])
def test_nothing_is_installed_unasked(monkeypatch, in_colab, is_installed):
    """Neither outside of Colab, nor where the package is there."""
    assert install(monkeypatch, in_colab=in_colab, is_installed=is_installed) == []


def test_the_jax_of_the_machine_stays(monkeypatch):
    """What is uploaded is installed, with jax and jaxlib held at the versions that are there."""
    (command,) = install(monkeypatch, in_colab=True, is_installed=False)
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    kept = [f"{name}=={importlib.metadata.version(name)}" for name in ("jax", "jaxlib")]
    assert command[4:] == ["-q", "mnar_ebm-0.1.0-py3-none-any.whl", *kept]


@pytest.fixture
def quickly(quick_compile, monkeypatch, tmp_path):
    """Small sizes, an empty folder, figures that are counted and not shown; settings restored."""
    shown = []
    plt.close("all")  # what other tests left open
    monkeypatch.setenv("MNAR_EBM_FAST", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        plt, "show", lambda: shown.append(len(plt.get_fignums())) or plt.close("all")
    )
    precision = jax.config.jax_default_matmul_precision
    yield shown
    jax.config.update("jax_default_matmul_precision", precision)
    plt.close("all")


@pytest.mark.slow
@each_notebook
def test_a_notebook_runs(path, quickly, capsys):
    """From top to bottom, at small size; what it finds is finite, and right where it can be."""
    names = {"__name__": "__main__"}
    for number, source in enumerate(code_cells(path)):
        exec(compile(source, f"{path.name}, code cell {number}", "exec"), names)
    assert quickly == [1] * NUM_FIGURES[path.stem]
    assert "matrix products in float32" in capsys.readouterr().out
    CHECKS[path.stem](names)


def check_quickstart(names):
    """Both tables are complete, and the file has what was observed."""
    assert np.isfinite(names["imputed"].mean).all()
    completed = np.genfromtxt("completed.csv", delimiter=",", skip_header=1)
    own = names["own"]
    assert np.isfinite(completed).all() and completed.shape == own.x.shape
    assert (completed == own.x)[own.mask].all()


def check_imputer(names):
    """Frames keep their dtypes; the pooled intervals hold their estimates."""
    assert (names["completed"].dtypes == names["survey"].dtypes).all()
    assert not names["completed"].isna().any(axis=None)
    assert (names["low"] < names["pooled"].estimate).all()
    assert (names["pooled"].estimate < names["high"]).all()


def check_samplers(names):
    """Three estimates of log Z agree with the truth, and chains are where they should be."""
    for estimate in names["found"].values():
        error = abs(float(estimate.log_z) - np.log(20 * np.pi))
        assert error < 5 * float(estimate.log_z_standard_error)
    for chains in names["chains"].values():
        assert np.isfinite(chains.draws).all()


def check_debiasing(names):
    """The fit to the follow-up is reported, and draws of the model come in rows."""
    assert names["report"].unbiased.num_rows == 100
    assert np.isfinite(names["after"].x).all()


def check_vae(names):
    """The bound rises with the draws; gaps are filled by bits, and what was seen stays."""
    bounds, filled, seen = names["bounds"], names["filled"], names["seen"]
    assert np.isfinite(list(bounds.values())).all() and bounds[5000] > bounds[1]
    is_seen = ~np.isnan(seen)
    assert (filled.draws[:, 0][is_seen] == seen[is_seen]).all()
    assert set(np.unique(filled.draws)) == {0.0, 1.0}


CHECKS = {
    "quickstart": check_quickstart,
    "imputer": check_imputer,
    "samplers": check_samplers,
    "debiasing": check_debiasing,
    "vae": check_vae,
}
