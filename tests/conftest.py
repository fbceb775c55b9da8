"""What all tests share: compiled programs, and a way to compile fast."""

import os

import jax
import pytest


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Compile a program once for the whole session: the same bits, in a fraction of the time.

    The workers of pytest-xdist, and the commands that tests start, share what they compile; so do
    sessions, if a person names a folder by ``JAX_COMPILATION_CACHE_DIR``.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    settings = {
        "jax_compilation_cache_dir": os.environ.get(
            "JAX_COMPILATION_CACHE_DIR", str(folder / "compiled")
        ),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Compile fast rather than well, before any fixture of a test is made, unless it runs long.

    Most programs run once, for less time than it takes to optimise them.
    """
    is_short = item.get_closest_marker("slow") is None and "well_compiled" not in item.fixturenames
    asks = not {"quick_compile", "quick_compile_all"}.isdisjoint(item.fixturenames)
    jax.config.update("jax_disable_most_optimizations", is_short or asks)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Let go of a module's programs: a process has room for some ten thousands of memory maps."""
    yield
    jax.clear_caches()


@pytest.fixture
def well_compiled():
    """Compile well in a test that is not slow: one that runs for longer than it compiles."""


@pytest.fixture(scope="module")
def quick_compile_all():
    """Compile fast in a whole module, slow tests too (``pytest_runtest_setup`` sees the name)."""


@pytest.fixture
def quick_compile():
    """Compile fast in a slow test, too: one that compiles much, runs little and minds no bit."""
