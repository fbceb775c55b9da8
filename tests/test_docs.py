"""The pages run, show what is there, and leave out no public name; their figures can be drawn."""

import doctest
import importlib
import os
import pathlib
import re
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import mnar_ebm
from mnar_ebm import MNARImputer, run, samplers
from mnar_ebm.missingness import MECHANISMS

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
WALKED = [
    ROOT / name
    for name in ("README.md", "docs/tutorial.md", "docs/extending.md", "docs/guides/own_csv.md")
] + [ROOT / f"docs/guides/{name}.md" for name in ("multiple_imputation", "sensitivity")]
PACKAGE = ROOT / "mnar_ebm"
WITH_EXAMPLES = [
    pytest.param(
        ".".join(path.relative_to(ROOT).with_suffix("").parts),
        marks=[pytest.mark.slow] * (path.name == "imputer.py"),  # it fits
    )
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8") and "samplers" not in path.parts
]
SAMPLERS = (ROOT / "docs/samplers.md").read_text(encoding="utf-8")


def python_blocks(text):
    """Return the code between ```python and ```."""
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_page_of_the_samplers_runs(quick_compile):
    """Its blocks run from top to bottom in one namespace, and give what they say."""
    pytest.importorskip("blackjax", reason="blackjax is not installed (extra dev)")
    pytest.importorskip("arviz", reason="arviz is not installed (extra dev)")
    names = {}
    for block in python_blocks(SAMPLERS):
        exec(compile(block, "docs/samplers.md", "exec"), names)
    assert names["chains"].draws.shape == (4, 1000, 2)
    assert names["states"].position.shape == (200, 2)
    for estimate in (names["info_of_weights"], names["between"], names["crowd"]):
        # log ∫ exp(logdensity) - log 2π = log (2π / 2) - log 2π
        assert abs(estimate.log_z + jnp.log(2)) < 5 * estimate.log_z_standard_error
    assert names["summary"]["rhat"] < 1.1


@pytest.mark.slow
def test_the_page_of_boltzmann_machines_runs():
    """Its machine says more of held-out digits than it did at first; the bracket holds log Z."""
    names = {}
    page = (ROOT / "docs/boltzmann.md").read_text(encoding="utf-8")
    for block in python_blocks(page):
        exec(compile(block, "docs/boltzmann.md", "exec"), names)
    assert names["after"] > names["before"] + 3
    for side in names["found"]:
        assert abs(side.log_z - names["log_z"]) < 4 * side.standard_error


@pytest.mark.slow
def test_the_page_of_energies_runs():
    """Its model has the law of the moons, and what it is asked is answered within its errors."""
    names = {}
    page = (ROOT / "docs/energies.md").read_text(encoding="utf-8")
    for block in python_blocks(page):
        exec(compile(block, "docs/energies.md", "exec"), names)
    log_z, fresh = names["log_z"], names["fresh"]
    assert abs(names["learned"] - log_z) < 0.1
    for side in names["between"]:
        assert abs(side.log_z - log_z) < 5 * side.log_z_standard_error
    truth = names["truth"].log_prob(np.asarray(fresh, float)).mean()
    assert abs(names["scores"].mean() - truth) < 0.1
    assert names["share"] < 0.05 + 5 * 0.007 and names["is_outlier"].all()
    assert names["filled"].draws.shape == (100, 2) and names["filled"].ess_share > 0.01


@pytest.mark.slow
def test_the_page_of_markov_fields_runs(quick_compile):
    """Its graph has four cliques; draws of both kinds have its law, and couplings are found."""
    names = {}
    page = (ROOT / "docs/markov.md").read_text(encoding="utf-8")
    for block in python_blocks(page):
        exec(compile(block, "docs/markov.md", "exec"), names)
    assert names["cliques"] == [(1, 2, 3), (3, 4), (4, 5, 6), (6, 7)]
    table = names["table"]
    assert abs(table.sum() - 1) < 1e-5
    assert jnp.allclose(names["on"], table @ names["states"], atol=1e-5)
    for draws in (names["independent"], names["chains"]):
        far = names["shares"](draws) - table
        assert (abs(far) < 5 * jnp.sqrt(table / len(draws)) + 1e-4).all()
    assert (abs(names["learned"] - names["truth"]) < 4 * names["errors"]).all()


def test_the_samplers_of_the_readme_run():
    """The block that the README shows for samplers gives draws of the shape that it says."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = [b for b in python_blocks(readme) if "import samplers" in b]
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    assert names["draws"].shape == (64, 1000, 2)


@pytest.mark.slow
@pytest.mark.parametrize("page", WALKED, ids=lambda page: page.stem)
def test_a_page_that_a_person_walks_through_runs(page, quick_compile, monkeypatch, tmp_path):
    """Its blocks run in one namespace, here with few steps, few draws and no screening."""
    few = {"num_steps": 20, "tilt_steps": 20, "num_imputation_samples": 50, "latent_dim": 2}

    def train(config, table):
        return run.train(config.replace(**few), table)

    class Imputer(MNARImputer):
        def fit(self, x, y=None):
            self.set_params(mechanism="mcar", max_iter=40, num_models=2, num_samples=50)
            return super().fit(x, y)

    monkeypatch.setattr(mnar_ebm, "train", train)
    monkeypatch.setattr(mnar_ebm, "MNARImputer", Imputer)
    monkeypatch.setitem(MECHANISMS, "tails", None)  # taken back afterwards
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in python_blocks(page.read_text(encoding="utf-8")):
        if "import samplers" not in block:
            exec(compile(block, page.name, "exec"), names)
    CHECKS.get(page.stem, lambda names: None)(names)


def check_shown(names):
    """What is drawn is a set of completed tables; what is asked is answered for each size."""
    assert names["completed"].shape == names["table"].x.shape and names["draws"].shape[0] == 20
    assert "gamma = " in str(names["found"])


def check_several(names):
    """Tables are completed 20 times, and two means pooled."""
    shape = names["table"].x.shape
    assert names["imputed"].draws.shape == (shape[0], 20, shape[1])
    assert names["pooled"].estimate.shape == (2,)


def check_tutorial(names):
    """Answers are lower than the truth; what was not asked is known from what was refused."""
    csv, asked = names["csv"], names["asked"]
    assert (~asked).sum() == names["is_out_of_work"].sum()
    assert np.nanmean(csv.x[:, 2]) < names["income"][asked].mean() - 3
    assert names["draws"].shape == (20, 800, 3)


def check_tails(names):
    """The mechanism of one's own was fitted."""
    moved = names["tailed"].params.mechanism["b"]
    assert moved.shape == (13,) and (moved != 0).any()
    assert names["tailed"].config.model.mechanism == "tails"


CHECKS = {
    "README": check_shown,
    "tutorial": check_tutorial,
    "multiple_imputation": check_several,
    "extending": check_tails,
    "sensitivity": lambda names: names["found"].plot(),
}
"""What is to hold of a page's names when its blocks have run."""


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_of_docstrings_run(module):
    """As they stand, but for those of samplers, which have a test of their own."""
    found = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert found.attempted and not found.failed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_image_exists(page):
    """What a page shows is in the repository."""
    images = re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    missing = [image for image in images if not (page.parent / image).is_file()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    """In the repository, or to a page that the site makes of a file elsewhere in it."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    links = re.findall(r"(?<!!)\[[^]]*\]\((?!https?:)([^)#]+)[^)]*\)", text)
    made = {(ROOT / "docs" / name).resolve() for name in ("benchmarks.md", "colab.md")}
    made.add((ROOT / "docs/reference/mnar_ebm/index.md").resolve())
    targets = [(page.parent / link).resolve() for link in links]
    assert not [one for one in targets if not one.exists() and one not in made]


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    """With a page for every public module, and an entry for what it holds."""
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed (extra docs)")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    found = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert found.returncode == 0 and not found.stderr, found.stderr
    page = (tmp_path / "reference/mnar_ebm/data/reasons/index.html").read_text(encoding="utf-8")
    assert "mnar_ebm.data.reasons.read_codes" in page
    text = (tmp_path / "reference/mnar_ebm/samplers/hmc/index.html").read_text(encoding="utf-8")
    assert all(name in text for name in ("hmc", "step_size"))


def test_every_sampler_is_on_the_page():
    """Every public name of ``mnar_ebm.samplers`` is mentioned, as code."""
    text = re.sub(r"^```.*?^```$", "", SAMPLERS, flags=re.DOTALL | re.MULTILINE)
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`]+`", text))))
    assert not set(samplers.__all__) - words
