"""Recorded data are found where the user put them, or fetched from their pinned original; never another file."""

from __future__ import annotations

import functools
import hashlib
import re
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pyro_langevin.datasets import files, originals
from pyro_langevin.datasets.files import data_file
from pyro_langevin.datasets.originals import ORIGINALS, Original

CONTENT = b"age,dust\n1,2\n"


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder and its address on this machine; the cache is empty, and no folder of the user's own is named."""
    pytest.importorskip("pooch")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PYRO_LANGEVIN_DATA", raising=False)
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Silent, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def registered(monkeypatch: pytest.MonkeyPatch, path: Path, url: str, members: str | None = None) -> Original:
    original = Original(
        file="record",
        url=f"{url}/{path.name}",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        licence="a licence",
        citation="a citation",
        members=members,
    )
    monkeypatch.setitem(ORIGINALS, "record", original)
    return original


def test_a_file_is_fetched_once_and_told_of_once(
    served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, url = served
    (folder / "data.csv").write_bytes(CONTENT)
    registered(monkeypatch, folder / "data.csv", url)
    path = data_file("record")
    assert path.read_bytes() == CONTENT
    told = capsys.readouterr()
    assert "licence: a licence\ncite: a citation" in told.err and told.out == ""
    (folder / "data.csv").unlink()  # from now on it comes from the cache
    assert data_file("record") == path
    assert capsys.readouterr().err == ""


def test_the_folder_of_the_user_comes_first(
    served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, url = served
    (folder / "data.csv").write_bytes(CONTENT)
    registered(monkeypatch, folder / "data.csv", url)
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv("PYRO_LANGEVIN_DATA", str(own))
    assert own not in data_file("record").parents  # not there: fetched
    (own / "record").write_text("mine")
    capsys.readouterr()
    assert data_file("record") == own / "record"
    assert capsys.readouterr().err == ""


def test_an_archive_becomes_a_folder(served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, url = served
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("inner/trace_1.txt", "1")
        archive.writestr("inner/trace_2.txt", "2")
        archive.writestr("__MACOSX/inner/._trace_1.txt", "x")
    registered(monkeypatch, folder / "all.zip", url, members="inner")
    path = data_file("record")
    assert sorted(file.name for file in path.iterdir()) == ["trace_1.txt", "trace_2.txt"]
    assert data_file("record") == path
    monkeypatch.setitem(ORIGINALS, "record", replace(ORIGINALS["record"], members="other"))
    assert data_file("record") == path  # unpacked already
    (path / "trace_1.txt").unlink()
    (path / "trace_2.txt").unlink()
    path.rmdir()
    with pytest.raises(ValueError, match="expected a folder other"):
        data_file("record")


def test_another_file_is_refused(served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, url = served
    (folder / "data.csv").write_bytes(CONTENT)
    original = registered(monkeypatch, folder / "data.csv", url)
    (folder / "data.csv").write_bytes(CONTENT + b"3,4\n")
    with pytest.raises(ValueError, match=f"expected record with sha256 {original.sha256}"):
        data_file("record")
    (folder / "data.csv").write_bytes(CONTENT)
    assert data_file("record").read_bytes() == CONTENT  # nothing of the other file was kept


def test_what_is_missing_is_told_with_its_remedy(served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, url = served
    (folder / "data.csv").write_bytes(CONTENT)
    original = registered(monkeypatch, folder / "data.csv", url)
    monkeypatch.setitem(ORIGINALS, "record", replace(original, url=f"{url}/gone.csv"))
    with pytest.raises(FileNotFoundError, match="try again with a network, or put record into a folder"):
        data_file("record")
    monkeypatch.setattr(originals, "pooch", None)
    with pytest.raises(FileNotFoundError, match=re.escape("pip install 'pyro-langevin[datasets]'")):
        data_file("record")
    with pytest.raises(FileNotFoundError, match="put it there"):
        data_file("no_such_record")
    for name in files._BY_HAND:
        with pytest.raises(FileNotFoundError, match="Rasmussen"):
            data_file(name)


def test_originals_are_pinned() -> None:
    for name, original in ORIGINALS.items():
        assert name == original.file and re.fullmatch("[0-9a-f]{64}", original.sha256)
        assert re.search(r"/[0-9a-f]{40}/|zenodo\.org/records/\d+/", original.url)
        assert original.licence and "doi" in original.citation or original.file in ("lfads_lorenz.h5", "mocap35.mat")


def test_local_copies_are_the_originals() -> None:
    for original in ORIGINALS.values():
        try:
            path = data_file(original.file)
        except FileNotFoundError as error:
            pytest.skip(str(error))
        if path.is_file():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == original.sha256
