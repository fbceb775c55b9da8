"""Files that are whole or as they were: written beside, synced, and put in place at the end."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Give the path of a file to write, which takes the place of ``path`` when all went well.

    If writing fails, as on a full disk, or is killed, what was there before stays as it is. What is
    no ordinary file, as a pipe, is written to as it is.

    Args:
        path: the file; its folder has to exist.

    Raises:
        OSError: as writing does; its message names ``path``.

    Example:
        >>> import tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "table.csv"
        >>> with replacing(path) as part:
        ...     _ = part.write_text("a,b")
        >>> path.read_text()
        'a,b'
    """
    target = pathlib.Path(path).resolve()
    if target.exists() and not target.is_file():
        yield target
        return
    part = target.with_name(f".part-{os.getpid()}-{target.name}")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, part)
        os.replace(part, target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
    finally:
        part.unlink(missing_ok=True)
