"""A file is whole or as it was."""

import errno
import os
import stat

import pytest

from mnar_ebm.files import replacing


def test_a_file_is_replaced_when_all_is_written(tmp_path):
    """With its mode and through links; nothing is left beside it."""
    path, link = tmp_path / "t.csv", tmp_path / "link.csv"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    with replacing(link) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link.csv", "t.csv"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), ValueError("x")])
def test_what_was_there_stays_where_writing_fails(tmp_path, error):
    """And the message of the disk names the file."""
    path = tmp_path / "t.csv"
    path.write_text("the only copy")
    with pytest.raises(type(error)) as raised, replacing(path) as part:
        part.write_text("half")
        raise error
    assert path.read_text() == "the only copy" and os.listdir(tmp_path) == ["t.csv"]
    if isinstance(error, OSError):
        assert str(path) in str(raised.value) and raised.value.errno == errno.ENOSPC


def test_a_pipe_is_written_to(tmp_path):
    """It cannot be replaced."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with replacing(path) as part, open(part, "w") as file:
        file.write("a,b")
    assert os.read(reader, 10) == b"a,b"
    os.close(reader)
