"""Files that are whole or as they were, put in place at the end; and locks on files."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import IO

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

CAN_LOCK = fcntl is not None
"""Whether this system has locks; where it has none, nothing keeps two processes apart."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Give the path of a file to write, which takes the place of ``path`` when all went well.

    If writing fails, as on a full disk, or is killed, what was there before stays as it is. What is
    no ordinary file, as a pipe, is written to as it is.

    Args:
        path: the file; its folder has to exist.

    Raises:
        OSError: as writing does; its message names ``path``.

    Examples:
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


def lock(file: IO[bytes] | int, *, is_shared: bool = False, waits: bool = True) -> None:
    """Lock an open file or folder until it is closed; where a system has no locks, do nothing.

    Args:
        file: an open file, or the descriptor of a file or a folder.
        is_shared: keep out those that write alone.
        waits: wait for others to close it.

    Raises:
        BlockingIOError: another has it, and ``waits`` is ``False``.
    """
    if CAN_LOCK:
        kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
        fcntl.flock(file, kind if waits else kind | fcntl.LOCK_NB)
