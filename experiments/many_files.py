"""Many files, completed one after the other: what memory holds is one of them."""

import glob
import pathlib


def is_pattern(path: str) -> bool:
    """Return whether a path stands for many files, as ``in/*.parquet`` does."""
    return glob.has_magic(path) and not pathlib.Path(path).exists()


def pairs(
    pattern: str, folder: pathlib.Path, overwrite: bool
) -> tuple[list[tuple[pathlib.Path, pathlib.Path]], int]:
    """Return every file with where its answer goes, and how many have theirs already.

    An answer is put in its place when it is whole (``mnar_ebm.files``): what was killed goes on
    with the files that have none, and several processes may share the work, each with a pattern of
    its own.

    Args:
        pattern: of the files.
        folder: where answers go, by the names of the files.
        overwrite: make those again that are there.

    Raises:
        ValueError: no file has such a name, two have one name, or the folder is a file.
    """
    found = sorted(pathlib.Path(one) for one in glob.glob(pattern, recursive=True))
    found = [one for one in found if one.is_file()]
    if not found:
        raise ValueError(f"--input: expected files like {pattern}, found none")
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"--input: expected a name for each file, got {twice[0]} more than once")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output: expected a folder for many files, got the file {folder}")
    if any(one.parent.resolve() == folder.resolve() for one in found):
        raise ValueError(f"--output: expected another folder than that of the input, got {folder}")
    due = [(one, folder / one.name) for one in found]
    due = [(one, target) for one, target in due if overwrite or not target.exists()]
    return due, len(found) - len(due)
