"""How fast images are taken by C-STORE: our node beside Orthanc and DCMTK, with one client for all of them.

Every round starts every program anew with an empty storage and ends it again, so that one runs at a time, storage stays
bounded, and what else the machine does hits all alike. The first images of a program are not counted.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from os import environ
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID, generate_uid

from pacs_node.bench.peers import LARGEST_DCMTK_PDU, LOOPBACK, Server, installed, orthanc, serve, storescp
from pacs_node.bench.resident import forget_peak, peak_bytes, resident_bytes
from pacs_node.bench.rows import Grid
from pacs_node.bench.spread import Spread
from pacs_node.errors import Retriable

__all__ = ["ASSOCIATIONS", "IngestRow", "Volley", "client_name", "ingest_table", "measure_ingest"]

ASSOCIATIONS = (1, 4)
WARM_UP = 2  # images
MIB, MEGA = 2**20, 1e6
CALLING_AE = "BENCH"
PATIENCE_S = 600.0
NODE, ORTHANC = "pacs-node serve, reception alone", "Orthanc"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One program to send to."""

    what: str
    start: Callable[[Path], AbstractContextManager[Server]]
    needs: str = ""
    note: str = ""


CANDIDATES = (
    Candidate(NODE, lambda folder: serve(folder, receive_only=True), note="fsync; processing held off"),
    Candidate("pacs-node serve, processing meanwhile", serve, note="fsync; the network has the same cores"),
    Candidate(ORTHANC, orthanc, "Orthanc", "its defaults: SQLite, fsync of every file"),
    Candidate("DCMTK storescp --fork", storescp, "storescp", "a process for each association, no fsync, no index"),
)


@dataclass
class IngestRow:
    """What one program did with one number of associations.

    Attributes
    ----------
    images : in each sample.
    image_bytes : size of one image.
    seconds : of all images of a sample; None where it was not measured.
    above_idle_bytes : largest resident set while it received, above that after the start, of the worst sample; None if
        unknown.
    missing : why there is no figure.
    """

    what: str
    associations: int
    images: int
    image_bytes: int
    note: str = ""
    seconds: Spread | None = None
    above_idle_bytes: int | None = None
    missing: str = ""

    @property
    def images_per_s(self) -> float | None:
        return None if self.seconds is None else self.images / self.seconds.median

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"images_per_s": self.images_per_s}


@dataclass
class Volley:
    """Files of equal size whose SOP Instance UIDs are overwritten in place before each sending."""

    folder: Path
    files: list[Path] = field(default_factory=list)
    _places: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, ds: Dataset, count: int, folder: Path) -> "Volley":
        """``count`` files of one uncompressed data set."""
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(_new_uid())
        first = folder / "0.dcm"
        ds.save_as(first, enforce_file_format=True)
        content, uid = first.read_bytes(), str(ds.SOPInstanceUID).encode()
        places = [content.find(uid), content.rfind(uid)]  # in the meta information and in the data set
        files = [first, *(folder / f"{number}.dcm" for number in range(1, count))]
        for path in files[1:]:
            path.write_bytes(content)
        return cls(folder, files, places)

    @property
    def image_bytes(self) -> int:
        return self.files[0].stat().st_size

    def renew(self) -> None:
        """Give every file a new UID, so that no receiver has it already."""
        for path in self.files:
            uid = _new_uid().encode()
            with path.open("r+b") as stream:
                for place in self._places:
                    stream.seek(place)
                    stream.write(uid)


def _new_uid() -> str:
    """Always 44 characters, as the former one."""
    return "2.25." + str(int(str(generate_uid(prefix=None)).rpartition(".")[2]) % 10**38 + 10**38)[:39]


def client_name() -> str:
    """What sends: DCMTK's storescu where it is installed, else pynetdicom's."""
    return "pynetdicom storescu" if installed("storescu") else "DCMTK storescu"


def _client(files: Sequence[Path], port: int, called: str) -> list[str]:
    names = [str(path) for path in files]
    program = shutil.which("storescu")
    if program is None:
        own = [sys.executable, "-m", "pynetdicom", "storescu", "-q", "-cx", "-aet", CALLING_AE, "-aec", called]
        return [*own, "--max-pdu", str(LARGEST_DCMTK_PDU), LOOPBACK, str(port), *names]
    pdu = ["--max-pdu", str(LARGEST_DCMTK_PDU)]
    return [program, "-R", "-xe", "-aet", CALLING_AE, "-aec", called, *pdu, LOOPBACK, str(port), *names]


def _send(files: Sequence[Path], associations: int, server: Server) -> float:
    """Seconds until every client has its last answer and has ended."""
    commands = [_client(files[first::associations], server.port, server.ae_title) for first in range(associations)]
    started = time.perf_counter()
    clients = [
        subprocess.Popen(  # noqa: S603 (the client by its path, arguments of our own)
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environ | {"TCP_NODELAY": "1"}
        )
        for command in commands
    ]
    try:
        said = [client.communicate(timeout=PATIENCE_S)[0] for client in clients]
    except subprocess.TimeoutExpired:
        raise Retriable(f"sending to {server.ae_title} took longer than {PATIENCE_S:.0f} s") from None
    finally:
        for client in clients:
            client.kill()
    seconds = time.perf_counter() - started
    failed = [text for client, text in zip(clients, said, strict=True) if client.returncode]
    if failed:
        raise Retriable(
            f"{server.ae_title} did not take the images: {failed[0].decode(errors='replace')[-200:].strip()}"
        )
    return seconds


def measure_ingest(
    volley: Volley, rounds: int, tell: Callable[[str], object], candidates: Sequence[Candidate] = CANDIDATES
) -> list[IngestRow]:
    """Send the same images, under new UIDs every time, to every program that is installed.

    Parameters
    ----------
    volley : its folder also holds the programs' storage; there must be room for three times the images.
    rounds : samples of each row.
    tell : is told what is done next.

    Raises
    ------
    Retriable
        A program did not start, or did not take an image.
    """
    rows = {(each.what, count): _empty_row(each, count, volley) for each in candidates for count in ASSOCIATIONS}
    there = [each for each in candidates if not rows[each.what, 1].missing]
    seconds: dict[tuple[str, int], list[float]] = {}
    for number in range(rounds if there else 0):
        shift = number % len(there)
        for each in [*there[shift:], *there[:shift]]:  # nobody is always first
            tell(f"round {number + 1} of {rounds}: {each.what}")
            with TemporaryDirectory(dir=volley.folder) as name, each.start(Path(name)) as server:
                idle = resident_bytes(server.pid)
                for count in ASSOCIATIONS:
                    taken, peak = _sample(volley, count, server)
                    above = None if idle is None or peak is None else peak - idle
                    seconds.setdefault((each.what, count), []).append(taken)
                    row = rows[each.what, count]
                    row.above_idle_bytes = _largest(row.above_idle_bytes, above)
    for key, samples in seconds.items():
        rows[key].seconds = Spread.of(samples)
    return list(rows.values())


def _empty_row(candidate: Candidate, associations: int, volley: Volley) -> IngestRow:
    missing = installed(candidate.needs) if candidate.needs else ""
    size = volley.image_bytes
    return IngestRow(candidate.what, associations, len(volley.files), size, candidate.note, missing=missing)


def _sample(volley: Volley, associations: int, server: Server) -> tuple[float, int | None]:
    """Seconds for all images, and the server's largest resident set meanwhile."""
    volley.renew()
    _send(volley.files[:WARM_UP], 1, server)
    volley.renew()
    before = server.stored()
    forget_peak(server.pid)
    seconds = _send(volley.files, associations, server)
    peak, after = peak_bytes(server.pid), server.stored()
    if before is not None and after is not None and after - before != len(volley.files):
        raise Retriable(f"{server.ae_title} holds {after - before} of {len(volley.files)} images that it took")
    return seconds, peak


def _largest(former: int | None, new: int | None) -> int | None:
    return max((each for each in (former, new) if each is not None), default=None)


def ingest_table(rows: Sequence[IngestRow]) -> Grid:
    """Rows of `measure_ingest` with their ratio to Orthanc's."""
    first = rows[0]
    title = f"C-STORE of {first.images} images of {first.image_bytes / MEGA:.1f} MB to each"
    orthancs = {row.associations: row.images_per_s for row in rows if row.what == ORTHANC}
    columns = ("receiver", "associations", "images/s", "quartiles", "MB/s", "times Orthanc", "MiB above idle", "note")
    return Grid(title, columns, [_cells(row, orthancs.get(row.associations)) for row in rows])


def _cells(row: IngestRow, orthancs: float | None) -> tuple[object, ...]:
    rate = row.images_per_s
    if rate is None or row.seconds is None:
        return (row.what, row.associations, "not measured", "", "", "", "", row.missing)
    low, high = row.images / row.seconds.high, row.images / row.seconds.low
    ratio = "" if orthancs is None else f"{rate / orthancs:.2f}"
    # DCMTK works in child processes, which are not seen from outside
    above = "" if row.above_idle_bytes is None or "DCMTK" in row.what else f"{row.above_idle_bytes / MIB:.0f}"
    megabytes = f"{rate * row.image_bytes / MEGA:.0f}"
    return (row.what, row.associations, f"{rate:.1f}", f"{low:.1f} to {high:.1f}", megabytes, ratio, above, row.note)
