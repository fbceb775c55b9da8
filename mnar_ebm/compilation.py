"""Programs that were compiled before are read from a folder: a second process starts in seconds."""

import os
import pathlib

import jax
import platformdirs

MIN_SECONDS = 0.3
"""Least time that compiling takes of what is kept: small programs are as soon compiled as read."""


def cache_compilations(folder: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """Keep what JAX compiles in a folder, for all processes that name it. Returns the folder.

    The commands do so; the library by itself writes nothing. Processes may share the folder: what
    one of them reads half-written, it compiles. What another version of JAX, or another kind of
    processor, has compiled is never read. The folder grows; it may be deleted at any time.

    Args:
        folder: ``None``: the one that JAX is told of (``JAX_COMPILATION_CACHE_DIR``), if any, or
            ``mnar_ebm`` in the user's folder of caches.

    Raises:
        OSError: the folder cannot be made.

    Example:
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
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_SECONDS)
    return path
