"""The examples in the docstrings of the samplers and their diagnostics print what they say."""

import doctest
import importlib
import pkgutil

import pytest

from mnar_ebm import samplers

MODULES = [samplers.__name__, "mnar_ebm.diagnostics"] + [
    module.name for module in pkgutil.iter_modules(samplers.__path__, samplers.__name__ + ".")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted and not outcome.failed
