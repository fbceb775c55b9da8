"""CSV files: text in, text out, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from mnar_ebm import data

MIXED = 'height,"weight, kg",age\n 1.50,7e1,NA\n+1.600,,30\n?,080, n/a \n'


@pytest.fixture
def write(tmp_path):
    """Return a function that writes text to a file and gives its path."""

    def write(text):
        path = tmp_path / "people.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_observed_cells_keep_their_text(write, tmp_path):
    """Every observed cell and the header go out as they came in."""
    csv = data.read_csv(write(MIXED))
    np.testing.assert_array_equal(
        csv.x, [[1.5, 70, np.nan], [1.6, np.nan, 30], [np.nan, 80, np.nan]]
    )
    data.write_completed(tmp_path / "out.csv", csv, np.full((3, 3), 1 / 3))
    expected = (
        'height,"weight, kg",age\n 1.50,7e1,0.333333\n+1.600,0.333333,30\n0.333333,080,0.333333\n'
    )
    assert (tmp_path / "out.csv").read_text() == expected


@pytest.mark.parametrize(
    "token",
    [
        "",
        " ",
        "NA",
        "na",
        "N/A",
        "#N/A",
        "<NA>",
        "NaN",
        "nan",
        "NULL",
        "None",
        "?",
        ".",
        ".a",
        ".Z",
    ],
)
def test_marks_of_a_missing_value(write, token):
    """All are missing, whatever the case of their letters."""
    csv = data.read_csv(write(f"a,b\n1,{token}\n"))
    np.testing.assert_array_equal(csv.x, [[1, np.nan]])
    assert csv.text[0, 1] == token


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.3"),
        (-1234.56789, "-1234.57"),
        (1e-9, "1e-09"),
        (20240115.4, "20240115"),
        (0.0, "0"),
        (np.nan, "nan"),
    ],
)
def test_imputed_numbers_are_readable(write, tmp_path, value, text):
    """Six digits, or as many as reach the unit."""
    csv = data.read_csv(write("a,b\n1,\n"))
    data.write_completed(tmp_path / "out.csv", csv, np.array([[0.0, value]]))
    assert (tmp_path / "out.csv").read_text() == f"a,b\n1,{text}\n"


def test_imputed_numbers_tell_their_column_apart(write, tmp_path):
    """A time in seconds, or a Julian day: digits as the spread of the column asks."""
    csv = data.read_csv(write("a,b\n,\n"))
    x, scale = np.array([[1.7e9 + 123.456789, 2459000.5123456]]), np.array([1000.0, 0.01])
    data.write_completed(tmp_path / "out.csv", csv, x, scale)
    assert (tmp_path / "out.csv").read_text() == "a,b\n1700000123,2459000.51235\n"
    table = data.long_table(csv, x[None], scale)
    assert table.iloc[0].tolist()[2:] == ["1700000123", "2459000.51235"]


@pytest.mark.parametrize(
    "text", ["\ufeffa,b\n1,2\n", "a,b\r\n1,2\r\n", "a,b\n\n1,2\n\n", '"a","b"\n"1","2"', "a,b\r1,2"]
)
def test_files_of_other_programs(write, text):
    """A byte-order mark, other line ends, blank lines and quotes are read."""
    csv = data.read_csv(write(text))
    assert csv.columns == ("a", "b")
    np.testing.assert_array_equal(csv.x, [[1, 2]])


@pytest.mark.parametrize(
    "text",
    [
        "1,85,6600\n2,66,2660\n3,90,4000\n",  # an id first
        "0.1,0.5,0.9\n0.2,0.1,0.4\n",
        "0,1\n1,0\n1,1\n",
        "18,25,31\n20,19,44\n51,33,27\n",
        "31\n47\n52\n",
        "1\n2\n3\n",
        "NA\n47\n52\n",
    ],
)
def test_a_row_is_not_taken_for_a_header(write, text):
    """Numbers that may be cells of their columns are a row, also if they go up."""
    with pytest.raises(ValueError, match="expected a header line of column names, got"):
        data.read_csv(write(text))


@pytest.mark.parametrize(
    "text",
    [
        "0,1,2\n0,0,1\n1,2,0\n",  # as pandas names columns
        "0,1\n0.3,-1.2\n-0.8,0.4\n",
        "0\n0.3\n-0.8\n",
        "2019,2020\n31,47\n52,18\n",
        "400,410,420\n0.1,0.3,0.2\n0.3,0.2,0.1\n",
    ],
)
def test_numbers_that_are_names(write, text):
    """No row is like them."""
    csv = data.read_csv(write(text))
    assert csv.columns == tuple(text.splitlines()[0].split(",")) and len(csv.x) == 2


@pytest.mark.parametrize(
    "header",
    [
        "0,1,2",
        "2019.0,2020.0,2021.0",
        "10,0,-10",
        "Week 1,Week 2,pH 7",
        '"Dose; oral\n(mg)","Week 1\n(kg)",age',
        "nan,na,none",
    ],
)
def test_names_that_are_accepted(write, header):
    """Numbers that go up or down, blanks, breaks of lines and other separators."""
    csv = data.read_csv(write(f"{header}\n1,2,3\n"))
    assert len(csv.columns) == 3 and csv.x.tolist() == [[1, 2, 3]]
    assert data.read_csv(write("Week 1\n5\n6\n")).columns == ("Week 1",)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "people.csv: expected a header line, got an empty file"),
        ("a,b\n", "at least one row below the header, got none"),
        ("a,b,a\n1,2,3\n", "expected distinct column names, got 'a' 2 times"),
        ("a;b\n1;2\n", "expected cells separated by ',', got ';'"),
        ('"a";"b"\n1;2\n', r"line 1: ',' expected after '\"' \(expected cells separated by ','\)"),
        ("\na;b\n1;2\n", "expected cells separated by ',', got ';'"),
        ("a b\n1 2\n", "expected cells separated by ',', got ' '"),
        ("A_YEAST  0.58  0.61\nB_YEAST  0.43  0.67\n", "expected cells separated by ',', got ' '"),
        ("0.58,0.61,0.47\n0.43,0.67,0.48\n", "a header line of column names, got numbers: 0.58, 0"),
        ("6,148,72\n1,85,66\n", "expected a header line of column names, got numbers: 6, 148"),
        ("5.1,?,0.2\n4.9,3.0,0.2\n", "expected a header line of column names, got numbers: 5.1"),
        (",a\n0,1\n", r"got none for column 1 \(an index of pandas is left out by to_csv\(index"),
        ("a,,b\n0,1,2\n", "expected a name for every column, got none for column 2"),
        ("a\tb\n1\t2\n", r"expected cells separated by ',', got '\\t'"),
        ("a,b\n1,2\n1,2,3\n", "people.csv, line 3: expected 2 cells, got 3"),
        ("a,b\n1,2\n1\n", "line 3: expected 2 cells, got 1"),
        ("a,b\n1,2\n3,tall\n4,short\n", "line 3, column 'b': expected a finite.*got 'tall'"),
        ("a,b\n1,2\n-inf,2\n", "line 3, column 'a': expected a finite.*got '-inf'"),
        ("a,b\n1,1e999\n", "line 2, column 'b': expected a finite.*got '1e999'"),
        ("a,b\n1,1_000\n", "line 2, column 'b': expected a finite.*got '1_000'"),
        ('a,b\n1,"2\n', "people.csv, line 2: unexpected end of data"),
        (b"a,b\n1,\xff\n", "people.csv: expected text in UTF-8"),
    ],
)
def test_read_csv_refuses(write, text, match):
    """One line names the file, the line, the column and the value."""
    with pytest.raises(ValueError, match=match) as error:
        data.read_csv(write(text))
    assert "\n" not in str(error.value)


def test_read_csv_needs_a_file(tmp_path):
    """A missing file and a folder are named."""
    with pytest.raises(ValueError, match="none.csv: No such file"):
        data.read_csv(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="Is a directory"):
        data.read_csv(tmp_path)


def test_a_table_is_made_of_what_was_read():
    """A path is no CSV that was read."""
    with pytest.raises(TypeError, match="csv: expected a Csv, as read_csv returns, got str"):
        data.to_table("t.csv", "t")


def test_a_column_without_a_value_is_refused_for_training_only(write):
    """To impute, it is fine."""
    path = write("a,b\n1,NA\n2,\n")
    assert np.isnan(data.read_csv(path).x[:, 1]).all()
    with pytest.raises(ValueError, match="people.csv: expected a value in column 'b', got none"):
        data.read_csv(path, require_observed=True)
    with pytest.raises(ValueError, match="people: expected a value in column 'b', got none"):
        data.to_table(data.read_csv(path), "people")


def test_align_follows_the_model_and_writes_in_the_files_order(write, tmp_path):
    """Values are in the model's order; the file keeps its own."""
    csv = data.align(data.read_csv(write("c,a,b\n3,,2\n")), ["a", "b", "c"])
    np.testing.assert_array_equal(csv.x, [[np.nan, 2, 3]])
    assert data.to_table(data.read_csv(write("a\n1")), "t").columns == ("a",)
    data.write_completed(tmp_path / "out.csv", csv, np.array([[10.0, 20.0, 30.0]]))
    assert (tmp_path / "out.csv").read_text() == "c,a,b\n3,10,2\n"
    table = data.long_table(csv, np.array([[[10.0, 20, 30]], [[11.0, 20, 30]]]))
    assert table.to_csv(index=False) == "draw,row,c,a,b\n1,0,3,10,2\n2,0,3,11,2\n"


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        (["a", "b", "d"], "the model's 3 columns, got 2; missing: d; unexpected: none"),
        (["a"], "the model's 1 columns, got 2; missing: none; unexpected: b"),
        (["a", "x"], "the model's 2 columns, got 2; missing: x; unexpected: b"),
        ([f"name{i}" for i in range(99)], r"missing: name0, .* \.\.\.; unexpected: a, b$"),
    ],
)
def test_align_refuses_other_columns(write, columns, match):
    """Names are compared, not counts alone."""
    csv = data.read_csv(write("a,b\n1,2\n"))
    with pytest.raises(ValueError, match=match):
        data.align(csv, columns)


def test_outputs_refuse_other_shapes_and_clashing_names(write, tmp_path):
    """An imputation has the file's shape; the added columns need their names."""
    csv = data.read_csv(write("a,row\n1,2\n"))
    with pytest.raises(ValueError, match=r"expected values of shape \(1, 2\), got \(2, 2\)"):
        data.write_completed(tmp_path / "out.csv", csv, np.ones((2, 2)))
    with pytest.raises(ValueError, match="column 'row' is in the way"):
        data.long_table(csv, np.ones((1, 1, 2)))


def test_numbers_are_read_to_the_last_bit(write):
    """What float64 can tell apart stays apart."""
    x = np.random.default_rng(0).lognormal(0, 20, (300, 3))
    csv = data.read_csv(write(pd.DataFrame(x, columns=list("abc")).to_csv(index=False)))
    np.testing.assert_array_equal(csv.x, x)


def test_a_blank_line_of_a_single_column_is_a_gap(write):
    """No row is lost, the last one neither; before the header there is none."""
    csv = data.read_csv(write("\nage\n31\n\n47\n\n"))
    np.testing.assert_array_equal(csv.x[:, 0], [31.0, np.nan, 47.0, np.nan])


def test_a_blank_line_among_rows_is_told(write):
    """It may be a row that was lost before; at the end it is none."""
    assert len(data.read_csv(write("a,b\n1,2\n3,4\n\n\n")).x) == 2
    with pytest.raises(ValueError, match="line 3: expected a row, got a blank line"):
        data.read_csv(write("a,b\n1,2\n\n3,4\n"))
