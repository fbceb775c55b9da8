"""Many files are completed one after the other; those that are there stay."""

import pytest

from experiments import many_files


@pytest.fixture
def folder(tmp_path):
    """Make a folder with three files, one of them below another folder."""
    (tmp_path / "in/more").mkdir(parents=True)
    for name in ("b.csv", "a.csv", "more/c.csv"):
        (tmp_path / "in" / name).write_text("x,y\n1,\n")
    return tmp_path


def test_each_has_a_place_and_what_is_there_stays(folder):
    out = folder / "out"
    due, num_done = many_files.pairs(f"{folder}/in/*.csv", out, overwrite=False)
    assert [(one.name, target) for one, target in due] == [
        ("a.csv", out / "a.csv"),
        ("b.csv", out / "b.csv"),
    ]
    assert num_done == 0
    out.mkdir()
    (out / "a.csv").write_text("done")
    due, num_done = many_files.pairs(f"{folder}/in/*.csv", out, overwrite=False)
    assert [one.name for one, _ in due] == ["b.csv"] and num_done == 1
    due, num_done = many_files.pairs(f"{folder}/in/**/*.csv", out, overwrite=True)
    assert [one.name for one, _ in due] == ["a.csv", "b.csv", "c.csv"] and num_done == 0


def test_a_file_whose_name_looks_like_a_pattern_is_one_file(folder):
    (folder / "in/a[1].csv").write_text("x\n")
    assert not many_files.is_pattern(f"{folder}/in/a[1].csv")
    assert many_files.is_pattern(f"{folder}/in/*.csv")


@pytest.mark.parametrize(
    ("pattern", "out", "said"),
    [
        ("in/*.parquet", "out", "expected files like .*, found none"),
        ("in/*.csv", "in", "expected another folder"),
        ("in/*.csv", "in/a.csv", "expected a folder for many files, got the file"),
        ("*/*/*.csv", "out", "expected a name for each file, got c.csv more than once"),
    ],
)
def test_what_has_no_place_is_refused(folder, pattern, out, said):
    (folder / "in/other").mkdir()
    (folder / "in/other/c.csv").write_text("x\n")
    with pytest.raises(ValueError, match=said):
        many_files.pairs(f"{folder}/{pattern}", folder / out, overwrite=False)
