"""Text between two markers of a file, as a command makes it."""

import pathlib

__all__ = ["replace"]


def replace(path: pathlib.Path, begin: str, end: str, text: str) -> None:
    """Replace the lines between two markers.

    Args:
        path: the file, in UTF-8.
        begin: the marker before the lines; it stays.
        end: the marker after them; it stays.
        text: the new lines.

    Raises:
        ValueError: the file lacks a marker.
        OSError: it cannot be read or written.
    """
    old = path.read_text(encoding="utf-8")
    if begin not in old or end not in old.split(begin, 1)[1]:
        raise ValueError(f"{path}: expected the markers {begin} and {end}, found none")
    before, rest = old.split(begin, 1)
    after = rest.split(end, 1)[1]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
