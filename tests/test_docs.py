"""The pages: their code runs, their pictures are there, and they name all that is public."""

import pathlib
import re

import pytest

from mnar_ebm import samplers

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))


def blocks(path):
    """Return the Python of a page, block by block."""
    return re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)


def test_the_code_of_the_samplers_page_runs():
    pytest.importorskip("blackjax", reason="blackjax is not installed")
    found = blocks(ROOT / "docs" / "samplers.md")
    assert len(found) >= 4
    namespace = {}
    for block in found:
        exec(block, namespace)


def test_the_samplers_of_the_readme_run():
    block = next(block for block in blocks(ROOT / "README.md") if "samplers.sample(" in block)
    namespace = {}
    exec(block, namespace)
    assert namespace["draws"].shape == (64, 1000, 2)


@pytest.mark.parametrize("name", samplers.__all__)
def test_every_sampler_is_on_the_page(name):
    assert re.search(rf"\b{name}\b", (ROOT / "docs" / "samplers.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pictures_and_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert local
    for target in local:
        assert (page.parent / target).exists(), target
