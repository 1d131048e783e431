"""Tables: files are read as they come, and what is wrong with them is said in one line with its place."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from pyro_langevin.observations import ObservationError
from pyro_langevin.tables import TableError, TableWarning, read_table
from pyro_langevin.tables.transform import Transform

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(text: str, name: str = "data.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return to_file


FORMS = {
    "CSV": "t,x,y\n0,1.5,2\n1,,4\n2,2.5,nan\n",
    "CSV with blanks and CRLF": "t, x, y\r\n0, 1.5, 2\r\n1, , 4\r\n2, 2.5, NA\r\n",
    "TSV": "t\tx\ty\n0\t1.5\t2\n1\t\t4\n2\t2.5\tNaN\n",
    "semicolons": "t;x;y\n0;1.5;2\n1;;4\n2;2.5;null\n",
    "blanks": "t   x  y\n0 1.5   2\n1 NA  4\n2 2.5 NA\n",
    "quoted": '"t","x","y"\n0,"1.5",2\n1,,4\n2,2.5,\n',
    "comments, and a header among them": "# by hand, on a day\n%t\tx\ty\n0\t1.5\t2\n\n1\t\t4\n2\t2.5\t\n",
    "comments before a header": "% a\n# b, c: prose\n\nt,x,y\n0,1.5,2\n# pause\n1,,4\n2,2.5,\n",
    "byte order mark": "\ufefft,x,y\n0,1.5,2\n1,,4\n2,2.5,\n",
    "trailing commas": "t,x,y\n0,1.5,2,\n1,,4,,\n2,2.5,\n",
    "empty rows": "t,x,y\n0,1.5,2\n,,\n1,,4\n2,2.5,\n,,\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_observations(write: Write, form: str) -> None:
    observations = read_table(write(FORMS[form]), time="t", values=["x", "y"], time_unit="s")
    assert observations.times.tolist() == [[0.0, 1.0, 2.0]]
    assert observations.values.tolist() == [[[1.5, 2.0], [0.0, 4.0], [2.5, 0.0]]]
    assert observations.mask.tolist() == [[[True, True], [False, True], [True, False]]]
    assert observations.channels == ["x", "y"] and observations.series_names == ["data"]


def test_decimal_commas(write: Write) -> None:
    text = "t;x\n0,0;1,5\n0,1;\n0,2;-2,5e1\n"
    observations = read_table(write(text), time="t", values="x", decimal=",")
    assert observations.times.tolist() == [[0.0, 0.1, 0.2]]
    assert observations.values[0, :, 0].tolist() == [1.5, 0.0, -25.0]
    unnamed = read_table(write("0,5\t1,5\n1\t2\n"), time="1", values="2", decimal=",")
    assert unnamed.times.tolist() == [[0.5, 1.0]]
    with pytest.raises(TableError, match="line 2, column 'x': .* got '1.234,5'"):
        read_table(write("t;x\n0;1.234,5\n1;2\n"), time="t", values="x", decimal=",")
    with pytest.raises(TableError, match="expected '.' or ','"):
        read_table(write(text), time="t", values="x", decimal=";")


def test_signs_of_missing_values(write: Write, tmp_path: Path) -> None:
    path = write("t,x\n-999,1\n0,-999.0\n1,N.D.\n2,-99\n")
    observations = read_table(path, time="t", values="x", missing=["n.d.", "-999"])
    assert observations.times[0, 0] == -999  # of values only
    assert observations.mask[0, :, 0].tolist() == [True, False, False, True]
    once = read_table(write("t,x\n0,1\n1,9999\n2,3\n"), time="t", values="x", transform="log(x)", missing="9999")
    assert once.mask[0, :, 0].tolist() == [True, False, True]
    pytest.importorskip("pyarrow")
    pd.DataFrame({"t": [0, 1, 2], "x": [1.0, -999.0, 3.0]}).to_parquet(tmp_path / "a.parquet")
    numbers = read_table(tmp_path / "a.parquet", time="t", values="x", missing="-999")
    assert numbers.mask[0, :, 0].tolist() == [True, False, True]


DATES = {
    "days": ("2024-02-28", "2024-02-29", "2024-03-02"),
    "with a time": ("2024-02-28 12:00", "2024-02-29 12:00:00.0", "2024-03-02T12:00:00,000"),
    "zones": ("2024-02-28 12:00+00:00", "2024-02-29 14:00+02:00", "2024-03-02 12:00Z"),
}


@pytest.mark.parametrize("form", DATES)
def test_dates_are_counted_from_the_first(write: Write, form: str) -> None:
    text = "t;x\n" + "".join(f"{date};{row}\n" for row, date in enumerate(DATES[form]))
    observations = read_table(write(text), time="t", values="x", time_unit="d", decimal=",")
    assert observations.times.tolist() == [[0.0, 1.0, 3.0]] and observations.time_unit == "d"
    seconds = read_table(write(text), time="t", values="x")
    assert seconds.times.tolist() == [[0.0, 86400.0, 3 * 86400.0]] and seconds.time_unit == "s"
    assert read_table(write(text), time="t", values="x", time_unit="hours").times[0, 1] == 24.0
    with pytest.raises(TableError, match="expected a unit to count dates in, .*, got 'frame'"):
        read_table(write(text), time="t", values="x", time_unit="frame")


def test_dates_in_netcdf(tmp_path: Path) -> None:
    times = np.datetime64("2024-03-01", "ns") + np.arange(3) * np.timedelta64(90, "s")
    xr.Dataset({"y": ("time", [1.0, 2.0, 4.0])}, coords={"time": times}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    observations = read_table(tmp_path / "a.nc", time="time", values="y", time_unit="min")
    assert observations.times.tolist() == [[0.0, 1.5, 3.0]]


def test_a_gap_as_between_series_is_told(write: Write) -> None:
    text = "id,t,x\n" + "".join(f"{i},{3600 * i + k / 10},{k % 3}\n" for i in range(3) for k in range(20))
    with pytest.warns(TableWarning, match=r"line 22: 3598 after the row before, .* 0.1 apart \(2 such places\)"):
        read_table(write(text), time="t", values="x")
    assert read_table(write(text), time="t", values="x", series="id").n_series == 3


def test_columns_without_header_are_numbered(write: Write) -> None:
    observations = read_table(write("0 1\n1 3\n2 4\n"), time="1", values="2")
    assert observations.values[0, :, 0].tolist() == [1, 3, 4]


def test_latin_1_and_odd_line_marks(write: Write) -> None:
    path = write("t,x \xb5m\n0,1\n1,2\n", encoding="latin-1")
    assert read_table(path, time="t", values="x \xb5m").n_times == 2
    path = write("# page\x0cbreak\x85\nt,x\n0,1\n1,a\n", encoding="latin-1")
    with pytest.raises(TableError, match="line 4"):
        read_table(path, time="t", values="x")


def test_one_file_per_series(write: Write) -> None:
    head = "%t (s)\tI\tFRET E\n"
    paths = [
        write(head + "0.0\t5\t0.1\n0.2\t4\t0.2\n0.4\t4\t0.9\n", "trace_1.txt"),
        write(head + "0.0\t5\t0.5\n0.2\t4\t0.3\n", "trace_2.txt"),
    ]
    for time in ("t (s)", "%t (s)"):
        observations = read_table(paths, time=time, values="FRET E")
        assert observations.lengths.tolist() == [3, 2]
        assert observations.series_names == ["trace_1", "trace_2"] and observations.channels == ["FRET E"]


def test_series_column(write: Write) -> None:
    path = write("id,t,x\nb,0,1\na,5,2\nb,1,3\na,6,4\na,8,5\n")
    observations = read_table(path, time="t", values="x", series="id")
    assert observations.series_names == ["b", "a"] and observations.lengths.tolist() == [2, 3]
    assert observations.times[1].tolist() == [5, 6, 8]
    two = read_table([path, path], time="t", values="x", series="id")
    assert two.series_names == ["data/b", "data/a", "data/b", "data/a"]


def test_time_range(write: Write) -> None:
    path = write("t,x\n" + "".join(f"{t},{t * t}\n" for t in range(10)))
    observations = read_table(path, time="t", values="x", time_range=(2, 5))
    assert observations.times.tolist() == [[2, 3, 4, 5]]
    with pytest.raises(TableError, match="between 20 and 30, got 0 to 9"):
        read_table(path, time="t", values="x", time_range=(20, 30))
    with pytest.raises(TableError, match="earliest time first"):
        read_table(path, time="t", values="x", time_range=(5, 2))


def test_transform_replaces_the_values(write: Write) -> None:
    path = write("age,Ca,d O\n0,1,4\n10,,9\n20,7.5,16\n")
    observations = read_table(path, time="age", values="Ca", transform="-log(Ca), sqrt(`d O`) / 2")
    assert observations.channels == ["-log(Ca)", "sqrt(d O) / 2"]
    np.testing.assert_allclose(observations.values[0, :, 0], [0, 0, -np.log(7.5)], rtol=1e-6)
    assert observations.mask[0, :, 0].tolist() == [True, False, True]
    np.testing.assert_allclose(observations.values[0, :, 1], [1, 1.5, 2])


def test_undefined_results_are_counted_and_missing(write: Write) -> None:
    path = write("t,x\n0,1\n1,0\n2,-1\n3,\n4,3\n")
    with pytest.warns(TableWarning, match="2 values are undefined"):
        observations = read_table(path, time="t", values="x", transform="log(x)")
    assert observations.mask[0, :, 0].tolist() == [True, False, False, False, True]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("-log(a)", -np.log(2.0)),
        ("a + b * 2 - 1e1", 2.0 + 6.0 - 10.0),
        ("(a + b) * 2 / a ** 3", 10.0 / 8.0),
        ("log10(b) + exp(-a) + sqrt(abs(-b))", np.log10(3.0) + np.exp(-2.0) + np.sqrt(3.0)),
        ("+a", 2.0),
        ("-a ** 2", -4.0),
    ],
)
def test_arithmetic(expression: str, value: float) -> None:
    result, undefined = Transform.parse(expression).evaluate({"a": np.array([2.0]), "b": np.array([3.0])})
    assert result.shape == (1, 1) and result[0, 0] == pytest.approx(value) and undefined == 0


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "a.real",
        "a[0]",
        "(lambda: a)()",
        "[a for a in b]",
        "open(a)",
        "log(a, 2)",
        "log(x=a)",
        "a if a else b",
        "a and b",
        "a < b",
        "a % b",
        "~a",
        "a * True",
        "a * 1j",
        "'a'",
        "f'{a}'",
        "3 + 4",
        "a +",
        "",
        "a; b",
        "(" * 200 + "a" + ")" * 200,
        "a" + " + a" * 400,
    ],
)
def test_only_arithmetic_is_evaluated(expression: str) -> None:
    with pytest.raises(TableError, match="expected arithmetic like") as error:
        Transform.parse(expression)
    assert "\n" not in str(error.value)


def test_huge_powers_end_at_once() -> None:
    result, undefined = Transform.parse("a * 9 ** 9 ** 9").evaluate({"a": np.array([1.0])})
    assert np.isnan(result).all() and undefined == 1


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        parsed = Transform.parse(text)
    except TableError:
        return
    parsed.evaluate({name: np.array([0.5, 2.0]) for name in parsed.columns})


REFUSED = {
    "missing column": ("time,Calcium\n0,1\n1,2\n", "expected a column 't', got 'time', 'Calcium'"),
    "near miss": ("T,x\n0,1\n1,2\n", "did you mean 'T'"),
    "text": (
        "t,x\n0,1\n\n1,two\n2,3\n",
        r"data.csv, line 4, column 'x': expected a finite number, got 'two'",
    ),
    "infinite": ("t,x\n0,1\n1,inf\n2,3\n", "line 3, column 'x': expected a finite number, got 'inf'"),
    "text in times": ("t,x\n0,1\nnoon,2\n", "line 3, column 't'"),
    "no time": ("t,x\n0,1\n,2\n2,3\n", "line 3, column 't': expected a time"),
    "empty": ("", "empty file"),
    "comments only": ("# a\n\n", "empty file"),
    "header only": ("t,x\n", "rows below the header, got none"),
    "unsorted": ("t,x\n0,1\n2,2\n1,3\n", "line 4, column 't'.* unsorted times: 1 after 2 .*sort the rows"),
    "two series unasked": ("t,x\n0,1\n1,2\n0,3\n1,4\n", "name the column that tells the series apart"),
    "repeated": ("t,x\n0,1\n1,2\n1,3\n", "line 4.*repeated times: 1 after 1 .*average"),
    "too few fields": ("t,x\n0,1\n1\n", "line 3: expected 2 fields separated by commas, got 1"),
    "too many fields": ("t,x\n0,1\n1,2,3\n", "line 3: expected 2 fields separated by commas, got 3"),
    "dates the other way round": (
        "t,x\n31.03.2024,1\n01.04.2024,2\n",
        r"line 2, column 't': expected a finite number, or a date like 2024-03-31.*, got '31.03.2024'",
    ),
    "a date that is none": ("t,x\n2024-03-31,1\n2024-02-31,2\n", "line 3, column 't': expected a date .*'2024-02-31'"),
    "decimal comma": ("t;x\n0;1,5\n1;2,5\n", r"'1,5'; if it is a decimal comma, give decimal=','"),
    "sign of a missing value": ("t,x\n0,1\n1,n.d.\n2,3\n", r"give missing='n.d.' \(--missing 'n.d.'\)"),
    "text, and a slip in a name": ("T,x\n0,one\n", "expected a column 't', got 'T', 'x'; did you mean 'T'"),
    "repeated name": ("t,x,x\n0,1,2\n1,2,3\n", "'x' twice"),
    "one endless field": ("t,x\n0,1\n" + "7" * 140_000 + ",2\n", "line 3: expected 2 fields"),
    "binary": ("t,x\0\n0,1", "binary data"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_files_are_refused_in_one_line(write: Write, case: str) -> None:
    text, message = REFUSED[case]
    with pytest.raises(TableError, match=message) as error:
        read_table(write(text), time="t", values="x")
    assert "\n" not in str(error.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path, tmp_path / "none.parquet", tmp_path / "none.nc"):
        with pytest.raises(TableError, match="expected a readable file"):
            read_table(path, time="t", values="x")
    with pytest.raises(TableError, match="at least one file"):
        read_table([], time="t", values="x")


def test_wrong_choices(write: Write) -> None:
    path = write("t,x\n0,1\n1,2\n")
    with pytest.raises(TableError, match="expected a column 'y'"):
        read_table(path, time="t", values="x", transform="x + y")
    with pytest.raises(TableError, match="one character"):
        read_table(path, time="t", values="x", delimiter="::")
    with pytest.raises(TableError, match="expected a column 't', got 't,x'"):
        read_table(path, time="t", values="x", delimiter=";")
    constant = write("t,x\n0,1\n1,1\n")
    with pytest.raises(ObservationError, match="constant 1 in channel 'x'"):
        read_table(constant, time="t", values="x")


def test_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"t": [0, 1, 2], "x": [1.0, np.nan, 3.0], "s": ["a", "b", "c"]})
    frame.to_parquet(tmp_path / "plain.parquet")
    frame.set_index("t").to_parquet(tmp_path / "indexed.parquet")
    for name in ("plain", "indexed"):
        observations = read_table(tmp_path / f"{name}.parquet", time="t", values="x")
        assert observations.mask[0, :, 0].tolist() == [True, False, True]
    with pytest.raises(TableError, match="row 1, column 's': expected a finite number, got 'a'"):
        read_table(tmp_path / "plain.parquet", time="t", values="s")
    (tmp_path / "broken.parquet").write_text("t,x\n")
    with pytest.raises(TableError, match="expected a Parquet file") as error:
        read_table(tmp_path / "broken.parquet", time="t", values="x")
    assert "\n" not in str(error.value)


def test_netcdf(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(2, 5, 3))
    data = xr.Dataset(
        {"y": (("series", "time", "channel"), values), "x": (("series", "time"), values[..., 0])},
        coords={"time": np.arange(5) * 0.5, "series": ["p", "q"], "channel": ["a", "b", "c"]},
    )
    path = tmp_path / "data.nc"
    data.to_netcdf(path, engine="h5netcdf")
    observations = read_table(path, time="time", values="y", series="series")
    assert observations.series_names == ["p", "q"] and observations.channels == ["y[a]", "y[b]", "y[c]"]
    np.testing.assert_allclose(observations.values, values, rtol=1e-6)
    one = read_table(path, time="time", values=["y[b]", "x"], series="series")
    np.testing.assert_allclose(one.values, values[..., [1, 0]], rtol=1e-6)
    assert one.times[0].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    with pytest.raises(TableError, match="expected a column 'tme', got .*did you mean 'time'"):
        read_table(path, time="tme", values="y")
    (tmp_path / "broken.nc").write_text("t,x\n")
    with pytest.raises(TableError, match="expected a NetCDF file") as error:
        read_table(tmp_path / "broken.nc", time="t", values="x")
    assert "\n" not in str(error.value)


def test_netcdf_with_times_per_series(tmp_path: Path) -> None:
    times = np.array([[0.0, 1.0, 3.0], [0.0, 0.5, np.nan]])
    values = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, np.nan]])
    data = xr.Dataset({"t": (("series", "row"), times), "y": (("series", "row"), values)})
    data.to_netcdf(tmp_path / "data.nc", engine="h5netcdf")
    observations = read_table(tmp_path / "data.nc", time="t", values="y", series="series")
    assert observations.lengths.tolist() == [3, 2] and observations.series_names == ["0", "1"]
    assert torch.equal(observations.times[0], torch.as_tensor(times[0]))
