"""Text that a command puts between two markers of a Markdown file."""

import pathlib


def replace_between(path: pathlib.Path, begin: str, end: str, text: str) -> None:
    """Replace the lines between two markers of a file; the markers stay.

    Args:
        path: the file.
        begin: the first marker, on a line of its own.
        end: the second.
        text: what is to stand between them.

    Raises:
        ValueError: the markers are not there, in this order.
    """
    before, found_begin, rest = path.read_text(encoding="utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"{path}: expected the markers {begin} and {end}, found none")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
