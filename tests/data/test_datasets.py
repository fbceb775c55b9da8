"""Named data sets: shapes, published numbers, and the TFDS builders."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mnar_ebm import data

SOURCES = Path(__file__).parents[2] / "../shared/data"


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Return the folder where TFDS puts prepared copies; any use of the network fails."""

    def refuse(*_):
        raise AssertionError("a data set asked for the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "prepared"))
    return tmp_path / "prepared"


@pytest.fixture
def sources():
    """Return the folder of benchmark files."""
    if not SOURCES.is_dir():
        pytest.skip("the folder of benchmark files, ../shared/data, is not here")
    return SOURCES


@pytest.fixture
def tiny(tmp_path):
    """Return a folder with a small red.csv and small images."""
    (tmp_path / "uci").mkdir()
    (tmp_path / "uci" / "red.csv").write_text("b,a,quality\n0.1,1e-9,5\n3,2,six\n0.7,0,5\n")
    (tmp_path / "mnist").mkdir()
    rng = np.random.default_rng(0)
    for part, rows in (("train", 5), ("t10k", 3)):
        for kind, shape in (("images-idx3", (rows, 28, 28)), ("labels-idx1", (rows,))):
            array = rng.integers(0, 10, shape, dtype=np.uint8)
            header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">i4").tobytes()
            path = tmp_path / "mnist" / f"{part}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(header + array.tobytes()))
    return tmp_path


def mean_imputation_rmse(table):
    """Return the RMSE of missing cells at their column's observed mean, in units of truth's sd."""
    error = (np.nanmean(table.x, axis=0) - table.truth) / table.truth.std(axis=0)
    return np.sqrt(np.mean(error[~table.mask] ** 2))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("breast_cancer", (569, 30)),
        ("wine", (178, 13)),
        ("diabetes", (442, 10)),
        ("digits", (1797, 64)),
    ],
)
def test_embedded_tables(name, shape):
    """Complete truth in original units, masked by the protocol."""
    table = data.load(name)
    assert table.x.shape == shape and len(table.columns) == shape[1]
    np.testing.assert_array_equal(table.mask, data.mask_above_mean(table.truth))
    np.testing.assert_array_equal(table.x[table.mask], table.truth[table.mask])
    assert np.isnan(table.x[~table.mask]).all()
    assert table.truth.max() > 3  # not standardised


def test_breast_cancer_is_the_papers_table():
    """Mean imputation has RMSE 1.82 in Table 1 of Ipsen, Mattei and Frellsen (2021)."""
    assert abs(mean_imputation_rmse(data.load("breast_cancer")) - 1.8198) < 1e-3


@pytest.mark.parametrize(
    ("name", "num_columns", "rmse"),
    [("banknote", 4, 1.7257), ("concrete", 9, 1.8466), ("red", 11, 1.8382), ("breast", 30, 1.8198)],
)
def test_uci_tables_are_the_papers(name, num_columns, rmse, sources, prepared):
    """The columns and the mask are those behind Table 1 of Ipsen, Mattei and Frellsen (2021)."""
    table = data.load(name, sources)
    assert table.x.shape[1] == len(table.columns) == num_columns
    assert abs(mean_imputation_rmse(table) - rmse) < 1e-3
    assert list(prepared.glob(f"uci_table/{name}-*/1.0.0/dataset_info.json"))


def test_uci_table_is_exact_and_drops_its_target(tiny, prepared):
    """All 64 bits, in the file's order of rows and columns, prepared or read again."""
    for _ in range(2):
        table = data.load("red", tiny)
        assert table.columns == ("b", "a")
        np.testing.assert_array_equal(table.truth, [[0.1, 1e-9], [3, 2], [0.7, 0]])


def test_images(tiny, prepared):
    """Pixels in [0, 1] and in the file's order; both splits have labels."""
    from mnar_ebm.data.datasets import builders

    table = data.load("mnist", tiny)
    pixels = builders.read_idx(tiny / "mnist" / "train-images-idx3-ubyte.gz")
    np.testing.assert_array_equal(table.truth, pixels.reshape(5, 784) / 255)
    assert table.columns[:2] == ("pixel_0_0", "pixel_0_1")
    images, labels = builders.load_images("mnist", tiny, "test")
    assert images.shape == (3, 28, 28, 1) and labels.shape == (3,)


def test_a_changed_source_is_prepared_anew(tiny, prepared):
    """The copy of the old file is not served."""
    before = data.load("red", tiny).truth
    path = tiny / "uci" / "red.csv"
    path.write_text(path.read_text().replace("0.7", "0.8"))
    after = data.load("red", tiny).truth
    assert before[2, 0] == 0.7 and after[2, 0] == 0.8


def test_a_race_to_prepare_is_harmless(tiny, prepared, monkeypatch, capfd):
    """The loser of the final rename reads the winner's copy; nothing is printed."""
    from mnar_ebm.data.datasets import builders

    prepare = builders.UciTable.download_and_prepare

    def lose(self, **kwargs):
        prepare(self, **kwargs)
        raise FileExistsError

    monkeypatch.setattr(builders.UciTable, "download_and_prepare", lose)
    assert data.load("red", tiny).truth.shape == (3, 2)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "path", "content", "match"),
    [
        ("red", "uci/red.csv", None, "red: expected the file .*red.csv.*doi.org/10.24432/C56S3T"),
        ("red", "uci/red.csv", b"a,quality\n1,5\nx,5\n", "line 3, column 'a'.*got 'x'"),
        ("mnist", "mnist/t10k-labels-idx1-ubyte.gz", None, "mnist: expected the file .*t10k-label"),
        (
            "mnist",
            "mnist/train-images-idx3-ubyte.gz",
            b"no",
            "train-images.*expected a gzipped idx",
        ),
    ],
)
def test_missing_and_malformed_sources(name, path, content, match, tiny, prepared):
    """One line says which file, and where to get it."""
    (tiny / path).unlink()
    if content is not None:
        (tiny / path).write_bytes(content)
    with pytest.raises(ValueError, match=match) as error:
        data.load(name, tiny)
    assert "\n" not in str(error.value)


def test_unknown_names_and_missing_folder():
    """The message lists what is known, or says what to pass."""
    with pytest.raises(ValueError, match=re.escape(", ".join(data.names()))):
        data.load("iris")
    with pytest.raises(ValueError, match="banknote: .* pass --data_dir"):
        data.load("banknote")


def test_every_name_has_a_loader():
    """The list that needs no TFDS agrees with the builders."""
    from mnar_ebm.data.datasets import builders

    assert set(data.ON_DISK) == {*builders.UCI, *builders.IMAGES, "cifar10"}
    assert len(set(data.names())) == len(data.names())


def test_tfds_is_imported_only_when_needed():
    """Embedded tables and CSV files do without it."""
    code = "import sys; from mnar_ebm import data; data.load('wine'); print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "mnar_ebm.data.csv_files" in modules and "tensorflow_datasets" not in modules
