"""Tables in Markdown files, kept between two markers so that a command can write them anew."""

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from mnar_ebm.files import replacing

__all__ = ["around", "replace_between", "table", "tell"]


def replace_between(path: pathlib.Path, begin: str, end: str, text: str) -> None:
    """Replace what a file says between two markers, which stay.

    Args:
        path: the file.
        begin: the marker that opens the part.
        end: the marker that closes it.
        text: what the part is to say, without the line ends around it.

    Raises:
        ValueError: the file lacks a marker, or has them in the other order.
        OSError: the file cannot be read or written.
    """
    before, after = around(path, begin, end)
    with replacing(path) as part:
        part.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def tell(text: str, path: str | None, begin: str, end: str) -> None:
    """Print a text, and put it between two markers of a file, if there is one to put it into.

    Args:
        text: what to tell.
        path: of the file.
        begin: the marker that opens the part.
        end: the marker that closes it.

    Raises:
        ValueError: the file lacks a marker, or has them in the other order.
        OSError: the file cannot be read or written.
    """
    print(text)
    if path is not None:
        replace_between(pathlib.Path(path), begin, end, text)


def around(path: pathlib.Path, begin: str, end: str) -> tuple[str, str]:
    """Return what a file says before the first marker and after the second.

    Raises:
        ValueError: the file lacks a marker, or has them in the other order.
        OSError: the file cannot be read.
    """
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{path}: expected the markers {begin} and {end}, found none")
    return before, after


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table.

    Args:
        header: names of the columns.
        rows: of cells, as many as there are columns.

    Returns:
        Its lines, without a line end after the last.
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines)
