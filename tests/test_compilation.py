"""Where compiled programs are kept: where one says, where JAX was told, or where caches are."""

import os
import subprocess
import sys
import time
import zlib

import jax
import platformdirs
import pytest

from mnar_ebm import cache_compilations

RUN = """
import sys, jax, jax.monitoring
from mnar_ebm import cache_compilations
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name.split("/")[-1]))
cache_compilations(sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.jit(lambda x: (x @ x).sum())(jax.numpy.ones((3, 3)))
print(events.count("cache_hits"), events.count("cache_misses"))
"""


@pytest.fixture
def settings():
    """Give back the settings that all tests share."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_the_folder_is_the_one_that_was_named(settings, tmp_path):
    """Else the one that JAX was told of, else one among the user's caches; it is made."""
    named = cache_compilations(tmp_path / "some" / "where")
    assert named.is_dir() and jax.config.jax_compilation_cache_dir == str(named)
    assert cache_compilations() == named
    jax.config.update("jax_compilation_cache_dir", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(platformdirs, "user_cache_dir", lambda *_, **__: str(tmp_path / "caches"))
        assert cache_compilations() == tmp_path / "caches"


def test_a_second_process_compiles_nothing_again(tmp_path):
    """What the first compiled, it reads."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("JAX_")}

    def run():
        command = [sys.executable, "-c", RUN, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return [int(count) for count in done.stdout.split()]

    hits, misses = run()
    assert hits == 0 and misses > 0
    assert run() == [misses, 0]


def test_what_a_killed_process_left_is_deleted(settings, tmp_path):
    """If it is old, and new since the last time; whole entries and those of others stay."""
    whole, old = zlib.compress(b"program" * 1000), time.time() - 100.0
    contents = {"whole": whole, "half": whole[:20], "none": b"", "other": b"(\xb5/\xfd no zlib"}
    for name, content in contents.items():
        (tmp_path / f"{name}-cache").write_bytes(content)
        os.utime(tmp_path / f"{name}-cache", (old, old))
    (tmp_path / "now-cache").write_bytes(whole[:20])
    cache_compilations(tmp_path)
    left = {path.name for path in tmp_path.glob("*-cache")}
    assert left == {"whole-cache", "other-cache", "now-cache"}
    (tmp_path / "long-cache").write_bytes(whole[:20])
    os.utime(tmp_path / "long-cache", (old - 1000, old - 1000))  # looked at before
    cache_compilations(tmp_path)
    assert (tmp_path / "long-cache").exists()


def test_without_a_folder_it_says_so(settings, tmp_path):
    """A file is in its place."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        cache_compilations(tmp_path / "file" / "folder")
