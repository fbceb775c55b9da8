"""A file of records, one JSON object a line, that a killed run leaves fit to go on with."""

import json
import os
import pathlib
from typing import Any

from mnar_ebm.files import lock

Record = dict[str, Any]


def read(path: pathlib.Path) -> list[Record]:
    """Return the records, none if there is no file; a damaged last line is left out.

    Raises:
        ValueError: another line is damaged.
    """
    if not path.exists():
        return []
    with path.open("rb") as file:
        lock(file, is_shared=True)
        lines = _whole_lines(file.read())
    records = []
    for number, line in enumerate(lines, start=1):
        record = _parse(line)
        if record is None:
            raise ValueError(f"{path}: expected a record in line {number}, got {line[:40]!r}")
        records.append(record)
    return records


def append(path: pathlib.Path, record: Record) -> None:
    """Write a record after the last whole line, and have it on the disk before all is well."""
    with path.open("a+b") as file:
        lock(file)
        file.seek(0)
        file.truncate(sum(map(len, _whole_lines(file.read()))))
        file.write(json.dumps(record).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _whole_lines(text: bytes) -> list[bytes]:
    """Return the lines with their ends, but for a last one that was not written to its end."""
    lines = text.splitlines(keepends=True)
    if lines and not (lines[-1].endswith(b"\n") and _parse(lines[-1]) is not None):
        del lines[-1]
    return lines


def _parse(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
