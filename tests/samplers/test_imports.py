"""The samplers need jax and chex only, so that they can be used on anybody's log-density."""

import subprocess
import sys

HEAVY = ("flax", "distrax", "optax", "tensorflow")


def loaded_by(statement):
    """Return the heavy packages that a fresh interpreter holds after a statement."""
    code = f"import sys; {statement}; print(*(name for name in {HEAVY} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_samplers_load_no_heavy_package():
    """Importing the samplers leaves them all out."""
    assert loaded_by("import mnar_ebm.samplers") == []


def test_the_check_sees_a_heavy_package():
    """The check bites."""
    assert loaded_by("sys.modules['flax'] = sys") == ["flax"]
