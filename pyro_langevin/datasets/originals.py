"""Where recorded data come from: every original with its address, checksum, licence and source."""

from __future__ import annotations

import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

try:
    import pooch
except ImportError:  # an optional extra: files that lie on this machine need no download
    pooch = None


@dataclass(frozen=True)
class Original:
    """A recorded file or folder as its authors publish it.

    Attributes:
        file: Its name here: a file, or the folder that the traces of an archive are unpacked to.
        url: Address of one unchanging version: a full commit hash, or a numbered record of an archive.
        sha256: Checksum of what lies at that address.
        licence: What may be done with it.
        citation: What to cite.
        members: Of a zip archive: the folder inside it that becomes ``file``.
    """

    file: str
    url: str
    sha256: str
    licence: str
    citation: str
    members: str | None = None

    def fetch(self) -> Path:
        """The file or folder in the user's cache, downloaded once; its licence and citation are then printed.

        They go to standard error, as do the messages of pooch, so that what a program prints stays its own.

        Raises:
            FileNotFoundError: If it cannot be downloaded: no pooch, or no network.
            ValueError: If what is found at the address has another checksum.
        """
        by_hand = f"or put {self.file} into a folder and name that in PYRO_LANGEVIN_DATA"
        if pooch is None:
            raise FileNotFoundError(
                f"recorded data: expected pooch, to download {self.file} from {self.url}, got no such package; "
                f"pip install 'pyro-langevin[datasets]', {by_hand}"
            )
        cache = Path(pooch.os_cache("pyro_langevin"))
        path = cache / self.file
        if self.members is not None and path.exists():  # unpacked as a whole or not at all
            return path
        new = not path.exists()
        name = self.file if self.members is None else f"{self.file}.zip"
        try:
            download = Path(pooch.retrieve(self.url, f"sha256:{self.sha256}", fname=name, path=cache))
        except OSError as error:  # what goes wrong with a connection derives from it
            raise FileNotFoundError(
                f"recorded data: expected to download {self.file} from {self.url}, got {error}; "
                f"try again with a network, {by_hand}"
            ) from None  # the chain of a library's own errors is five pages long and says no more
        except ValueError as error:
            raise ValueError(
                f"recorded data: expected {self.file} with sha256 {self.sha256} at {self.url}, got another file "
                f"({error}); try again, {by_hand}"
            ) from error
        if self.members is not None:
            _unpack(download, self.members, path)
        if new:
            print(f"{self.file}: {self.url}\nlicence: {self.licence}\ncite: {self.citation}", file=sys.stderr)
        return path


def _unpack(archive: Path, members: str, folder: Path) -> None:
    """Unpack one folder of a zip archive; what is interrupted leaves nothing that looks complete."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as work, zipfile.ZipFile(archive) as opened:
        chosen = [name for name in opened.namelist() if name.startswith(f"{members}/")]
        if not chosen:
            raise ValueError(f"recorded data: expected a folder {members} in {archive}, got {opened.namelist()[:5]}")
        opened.extractall(work, chosen)
        (Path(work) / members).rename(folder)


#: Every recorded file that the loaders read and that has a public original, by name.
ORIGINALS = {
    original.file: original
    for original in (
        Original(
            file="NGRIP_10yr.csv",
            url="https://raw.githubusercontent.com/terhardt/DO-progression/"
            "88076b6f0a33f95779fce997fae0fa10f5eddeb6/data/NGRIP_10yr.csv",
            sha256="0e92d2bc9c2208bbaa71e275811aee8ae2b03d66bacc5fde6a2dbe2639b8eb15",
            licence="MIT (of the repository)",
            citation="Erhardt et al. 2019, Climate of the Past 15, 811-825, doi:10.5194/cp-15-811-2019; isotopes: "
            "NGRIP members 2004, Nature 431, 147-151, and Gkinis et al. 2014, Earth Planet. Sci. Lett. 405, 132-141",
        ),
        Original(
            file="kinsoft_sim_level1",
            url="https://zenodo.org/records/5701310/files/sim_dataset_Fig2.zip?download=1",
            sha256="07af3ab1b7e7427ab93b423fbc302cac112ea4487391c5cfdbc9b6668827344c",
            licence="CC-BY-4.0",
            citation="Götz et al. 2022, Nature Communications 13, 5402, doi:10.1038/s41467-022-33023-3; data "
            "doi:10.5281/zenodo.5701310",
            members="sim_level1_final_publish",
        ),
        Original(
            file="lfads_lorenz.h5",
            url="https://raw.githubusercontent.com/felixp8/lfads-nlb-tutorials/"
            "01048f277dc986bb9b8e69e942465b5f36bf3e4e/data/lfads_lorenz.h5",
            sha256="c55b9b38d38054c2f43909a195058d1d242dc291f607a2d45fab4d85977ab54d",
            licence="MIT (of the repository)",
            citation="Pei 2022, github.com/felixp8/lfads-nlb-tutorials; the task: Sussillo et al. 2016, "
            "arXiv:1608.06315",
        ),
        Original(
            file="mocap35.mat",
            url="https://raw.githubusercontent.com/uncbiag/neuro_shooting/"
            "1b13e147417f455df63028d8633fea1e4de238c3/data/mocap35.mat",
            sha256="105484f138487f10209cce883d26e2e030d10a6df6f10159f4e6e253f9b03b8d",
            licence="free for all uses, not to be sold by itself (mocap.cs.cmu.edu)",
            citation="CMU Graphics Lab Motion Capture Database, subject 35, supported by NSF EIA-0196217; the task: "
            "Yildiz et al. 2019, ODE2VAE, NeurIPS 32; file: Vialard et al. 2020, NeurIPS 33",
        ),
    )
}
