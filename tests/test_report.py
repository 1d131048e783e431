"""The report: one whole file with everything inside, names escaped, warnings on top, nothing half-written."""

import base64
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from draws import THREE, TWO, Truth, as_data_tree, as_inference_data, make_groups

from pyro_langevin.diagnostics import summary_record
from pyro_langevin.report import atomic, write_report
from pyro_langevin.report.tables import figure_text, number

ONE = Truth(np.zeros((1, 1)), np.zeros((1, 1)), n_series=2)
SMALL = Truth(TWO.rates, TWO.location, n_series=12)
VOID = {"meta", "img", "link", "br", "input"}


class Page(HTMLParser):
    """Parses a page, checks that its tags close in order, and keeps text, pictures and addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.pictures: list[bytes] = []
        self.addresses: list[str] = []
        self.seen: set[str] = set()
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        for key, value in attrs:
            if key in ("src", "href"):
                kind, _, data = value.partition("base64,")
                if kind == "data:image/png;":
                    self.pictures.append(base64.b64decode(data, validate=True))
                else:
                    self.addresses.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def page_of(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("truth", "pictures"), [(ONE, 6), (SMALL, 7), (THREE, 7)], ids=["one", "two", "three"]
)
def test_page_is_whole_and_works_offline(tmp_path, truth, pictures):
    path = write_report(as_inference_data(make_groups(truth, n_draws=5)), tmp_path / "report.html")
    page = page_of(path)
    assert len(page.pictures) == pictures  # up to three series, and four more
    assert all(picture.startswith(b"\x89PNG") for picture in page.pictures)
    assert page.addresses == []
    assert "script" not in page.seen
    assert os.listdir(tmp_path) == ["report.html"]
    assert plt.get_fignums() == []


def test_states_and_provenance_are_said(tmp_path):
    idata = as_data_tree(make_groups(SMALL))
    text = " ".join(page_of(write_report(idata, tmp_path / "r.html")).text)
    record = summary_record(idata)
    for state in record["states"]:
        assert number(state["occupancy"]["mean"]) in text
        assert number(state["dwell_mean"]["hdi_high"]) in text
    assert "2 states" in text
    assert "12 series" in text
    assert "at most 0.0500 s" in text
    assert "10, 11, 12" in text
    assert "torch 2.13.0" in text
    assert "mfpt[A→B]" in text
    assert "barrier[B→A]" in text


def test_warnings_stand_before_everything_else(tmp_path):
    idata = as_inference_data(make_groups(SMALL), warned=("Training stopped early.",))
    page = write_report(idata, tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.index("Training stopped early.") < page.index("<h2>States</h2>")
    assert "One warning" in page
    assert "No check failed" not in page
    clean = write_report(as_inference_data(make_groups(SMALL)), tmp_path / "r.html").read_text(
        encoding="utf-8"
    )
    assert "No check failed" in clean
    assert 'class="warnings"' not in clean


def test_names_from_the_data_are_escaped(tmp_path):
    groups = make_groups(SMALL)
    name = "<img src=x onerror=y> & $cost"
    for place in ("observed_data", "states"):
        groups[place] = groups[place].assign_coords(channel=[name])
    names = ["<script>alert(1)</script>"] + [f"s{i}" for i in range(1, 12)]
    for place in ("observed_data", "constant_data", "occupancy", "posterior", "sample_stats"):
        groups[place] = groups[place].assign_coords(series=names)
    groups["kinetics"].attrs["time_unit"] = "<i>s</i>"
    idata = as_inference_data(groups, warned=("<b>bold</b>",))
    idata.attrs["x_version"] = "<u>1</u>"
    page = page_of(write_report(idata, tmp_path / "r.html"))
    assert page.addresses == []
    assert not page.seen & {"script", "b", "i", "u"}
    text = " ".join(page.text)
    for raw in (name, "<b>bold</b>", "<i>s</i>", "<u>1</u>"):
        assert raw in text


def test_series_that_change_state_most_are_shown(tmp_path):
    groups = make_groups(SMALL)
    state = groups["occupancy"]["p_state"].mean("chain").values[:-1].argmax(-1)
    changes = (np.diff(state, axis=-1) != 0).sum(-1)
    text = " ".join(page_of(write_report(as_inference_data(groups), tmp_path / "r.html")).text)
    shown = [int(name) for name in re.findall(r"Series s(\d+):", text)]
    assert len(shown) == 3
    assert shown == sorted(shown)
    assert min(changes[s] for s in shown) >= np.sort(changes)[-3]


def test_many_channels_show_the_clearest_and_say_so(tmp_path):
    location = np.tile(TWO.location, (1, 15)) * np.linspace(0.1, 1.0, 15)
    truth = Truth(TWO.rates, location, n_series=4)
    groups = make_groups(truth, n_draws=5)
    del groups["landscape"]
    page = page_of(write_report(as_inference_data(groups), tmp_path / "r.html"))
    assert "Of 15 channels" in " ".join(page.text)
    assert len(page.pictures) == 6  # without a landscape


def test_an_error_leaves_the_older_report_whole(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("older")

    def full_disk(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_report(as_inference_data(make_groups(ONE, n_draws=2)), path)
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == ["report.html"]


def test_interruption_leaves_no_part_behind(tmp_path, monkeypatch):
    def interrupted(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_text(tmp_path / "a.html", "text")
    assert os.listdir(tmp_path) == []


def test_report_is_as_readable_as_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    atomic.write_text(tmp_path / "a.html", "text")
    assert (tmp_path / "a.html").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_missing_folder_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_report(as_inference_data(make_groups(ONE, n_draws=2)), tmp_path / "none" / "r.html")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (17.3159, "17.3"),
        (0.7181, "0.718"),
        (1234.5, "1234"),
        (0.000691, "0.000691"),
        (2.5e-7, "2.50e-07"),
        (3.2e6, "3.20e+06"),
        (-1.0, "-1.00"),
        (None, "–"),
        (np.nan, "–"),
        (np.inf, "–"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_dwell_without_an_event_is_a_lower_end():
    assert figure_text({"mean": None, "hdi_low": 10.4, "hdi_high": 1e9}) == "over 10.4"
    assert figure_text({"mean": None, "hdi_low": None, "hdi_high": None}) == "–"
    assert (
        re.sub("<.*?>", "", figure_text({"mean": 1.5, "hdi_low": 1.0, "hdi_high": 2.0}))
        == "1.50 (1.00 to 2.00)"
    )
