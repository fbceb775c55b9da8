"""Programs that were compiled before are read from a folder: a second process starts in seconds."""

import contextlib
import os
import pathlib
import time
import zlib

import jax
import platformdirs

MIN_SECONDS = 0.3
"""Least compile time that is worth keeping: smaller programs compile as fast as they load."""

WRITING_SECONDS = 60.0
"""Age from which no process is still writing an entry."""


def cache_compilations(folder: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """Keep what JAX compiles in a folder, for all processes that name it. Returns the folder.

    The commands do so; the library by itself writes nothing. Processes may share the folder: what
    one of them reads half-written, it compiles. What a process that was killed left half-written
    JAX would never replace: it is deleted, if it is a minute old. What another version of JAX, or
    another kind of processor, has compiled is never read. The folder grows; it may be deleted.

    Args:
        folder: ``None``: the one that JAX is told of (``JAX_COMPILATION_CACHE_DIR``), if any, or
            ``mnar_ebm`` in the user's folder of caches.

    Raises:
        OSError: the folder cannot be made.

    Examples:
        >>> import tempfile
        >>> from mnar_ebm import cache_compilations
        >>> folder = cache_compilations(tempfile.mkdtemp())
        >>> folder.is_dir()
        True
    """
    told: str | None = jax.config.values["jax_compilation_cache_dir"]
    if folder is None and told:
        return pathlib.Path(told)
    path = pathlib.Path(folder or platformdirs.user_cache_dir("mnar_ebm", appauthor=False))
    path.mkdir(parents=True, exist_ok=True)
    _drop_half_written(path)
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_SECONDS)
    return path


def _drop_half_written(folder: pathlib.Path) -> None:
    """Delete entries that are cut off, of those that are new since this was done last."""
    stamp, now = folder / "checked", time.time()
    since = stamp.stat().st_mtime if stamp.exists() else 0.0
    for entry in folder.glob("*-cache"):
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            written = entry.stat().st_mtime
            if since - WRITING_SECONDS <= written < now - WRITING_SECONDS and _is_cut_off(entry):
                entry.unlink()
    stamp.touch()


def _is_cut_off(entry: pathlib.Path) -> bool:
    """Return whether what zlib has compressed does not end; other entries are not looked into."""
    content, stream = entry.read_bytes(), zlib.decompressobj()
    if not content:
        return True
    try:
        stream.decompress(content)
    except zlib.error:
        return False
    return not stream.eof
