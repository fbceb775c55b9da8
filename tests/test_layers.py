"""Imports go down the layers only, and what is public is documented."""

import ast
import importlib
import inspect
import pathlib
import pkgutil
import sys

import pytest

import mnar_ebm

ROOT = pathlib.Path(mnar_ebm.__file__).parent

LAYERS = (
    ("types", "_checks", "kinds", "numerics", "programs", "moved"),
    ("compilation", "devices", "files", "memory"),
    ("samplers", "nets", "likelihoods", "data", "diagnostics"),
    ("missingness", "negative_phases", "training"),
    ("_settings", "settings", "config"),
    ("models",),
    ("objectives",),
    ("inference",),
    ("metrics", "boltzmann", "markov"),
    ("recipes",),
    ("tilted",),
    ("debiasing",),
    ("run",),
    ("screening",),
    ("estimator",),
    ("__main__",),
)
LAYER_OF = {name: layer for layer, names in enumerate(LAYERS) for name in names}
MODULES = [
    name for _, name, _ in pkgutil.walk_packages([str(ROOT)], prefix="mnar_ebm.") if "." in name
]
ALLOWED = {
    "mnar_ebm.samplers": {"jax", "chex", "mnar_ebm.numerics.uniform", *sys.stdlib_module_names},
    "mnar_ebm.nets": {"jax", "flax", "mnar_ebm.numerics.logistic", *sys.stdlib_module_names},
}


def path_of(module):
    """Return the file of a module."""
    parts = module.split(".")[1:]
    path = ROOT.joinpath(*parts)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports_of(module):
    """Return the full names that a module imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path_of(module).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room_of(module):
    """Return the first name below the package: ``samplers`` of ``mnar_ebm.samplers.base``."""
    return module.split(".")[1]


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module):
    room = room_of(module)
    for name in imports_of(module):
        assert not name.startswith("experiments"), name
        if not name.startswith("mnar_ebm."):
            continue
        other = room_of(name)
        assert other == room or LAYER_OF[other] <= LAYER_OF[room], f"{module} imports {name}"
        if other != room and LAYER_OF[other] == LAYER_OF[room]:
            back = (inner for inner in MODULES if room_of(inner) == other)
            assert not any(room_of(n) == room for m in back for n in imports_of(m) if "mnar" in n)


def test_every_room_has_a_layer():
    assert {room_of(module) for module in MODULES} == set(LAYER_OF)


@pytest.mark.parametrize("module", MODULES)
def test_samplers_and_nets_know_little(module):
    for package, allowed in ALLOWED.items():
        if module.startswith(package):
            own = (package, "mnar_ebm.types")
            for name in imports_of(module):
                parents = {name.rsplit(".", count)[0] for count in range(name.count(".") + 1)}
                assert name.startswith(own) or parents & allowed, name


@pytest.mark.parametrize("module", MODULES)
def test_files_stay_small(module):
    assert len(path_of(module).read_text().splitlines()) <= 350


@pytest.mark.parametrize("module", MODULES)
def test_public_names_are_documented(module):
    loaded = importlib.import_module(module)
    for name in getattr(loaded, "__all__", ()):
        value = getattr(loaded, name)
        if inspect.isfunction(value) or inspect.isclass(value):
            assert value.__doc__, f"{module}.{name}"


def test_an_import_upwards_is_seen(monkeypatch):
    monkeypatch.setitem(LAYER_OF, "types", len(LAYERS))
    with pytest.raises(AssertionError, match="imports mnar_ebm.types"):
        test_imports_go_down_only("mnar_ebm.models.vae")
