"""Many images of mixed sizes through a PACS and the node, unattended: does all come back, and does memory stay flat?"""

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from io import BytesIO, StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread

from pacs_node.bench.archives import Archive
from pacs_node.bench.plot import Panel, as_svg
from pacs_node.bench.radiographs import MIXED, formed, renewed
from pacs_node.bench.resident import ResidentSample
from pacs_node.bench.rows import Grid
from pacs_node.config import NodeSettings, Settings
from pacs_node.errors import Retriable
from pacs_node.records import FloatImage
from pacs_node.service import node_status

__all__ = ["Arrival", "Soak", "SoakReport", "make_pool", "samples_csv", "soak_svg", "soak_table"]

BATCH = 8  # images that the archive sends over one association
POLL_S = 0.2
STALLED_S = 300.0  # without a companion or a refusal: something is stuck
SETTLE_S = 30.0  # for the queue's last writes after the last companion
COMPARED = 100  # images at each end of the run
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Arrival:
    """One companion that came back.

    Attributes
    ----------
    seconds : since the run began.
    waited_s : since its radiograph was sent to the node.
    side : px, the longer side of the radiograph.
    """

    seconds: float
    waited_s: float
    side: int


@dataclass
class SoakReport:
    """What a long run reached.

    Attributes
    ----------
    planned, sent : images.
    doubled : companions that came more than once, or of nothing that was sent.
    left : files in the node's incoming, outbox and quarantine at the end.
    queued : tasks that the node still had.
    samples : the node's memory over the run.
    """

    planned: int
    archive: str
    sent: int = 0
    doubled: int = 0
    seconds: float = 0.0
    stopped: str = ""
    arrivals: list[Arrival] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    queued: int = 0
    samples: list[ResidentSample] = field(default_factory=list)

    def problems(self) -> list[str]:
        """Everything that must not be; empty after a good run."""
        found = [self.stopped] if self.stopped else []
        if len(self.arrivals) != self.planned:
            found.append(f"{len(self.arrivals)} of {self.planned} companions came back")
        if self.doubled:
            found.append(f"{self.doubled} companions came twice, or of nothing that was sent")
        found += [f"{count} files are left in {name}/" for name, count in self.left.items() if count]
        return [*found, f"{self.queued} tasks are left in the queue"] if self.queued else found

    def pace_s(self) -> tuple[float, float] | None:
        """Seconds from companion to companion at the start and at the end, of up to a hundred each; None if too few."""
        some = min(COMPARED, len(self.arrivals) // 2)
        if some < 2:
            return None
        times = [arrival.seconds for arrival in self.arrivals]
        return (times[some - 1] - times[0]) / (some - 1), (times[-1] - times[-some]) / (some - 1)

    def resident_mib(self) -> tuple[float, float, float] | None:
        """Medians over the second and the last tenth of the run, and the peak; None where nothing was sampled.

        The first tenth is left out: memory rises to what the largest image needs, once.
        """
        sizes = [sample.resident_bytes / MIB for sample in self.samples]
        tenth = max(1, len(sizes) // 10)
        if not sizes:
            return None
        return float(np.median(sizes[tenth : 2 * tenth] or sizes)), float(np.median(sizes[-tenth:])), max(sizes)

    def as_json(self) -> dict[str, Any]:
        """With what follows from it."""
        more = {"problems": self.problems(), "pace_s": self.pace_s(), "resident_mib": self.resident_mib()}
        return asdict(self) | more


def make_pool(pictures: Sequence[FloatImage], count: int, folder: Path, tell: Callable[[int], object]) -> list[Path]:
    """Files that a run draws on: every form of `MIXED` in turn, each with the next picture.

    Parameters
    ----------
    count : files at most as many as the run sends.
    tell : is told after each file how many there are.
    """
    files = []
    for number in range(count):
        form = MIXED[number % len(MIXED)]
        ds = formed(pictures[number % len(pictures)], form, number)
        path = folder / f"pool-{number}.dcm"
        ds.save_as(path, enforce_file_format=True)
        files.append(path)
        tell(number + 1)
    return files


class Soak:
    """One run; `run` may be left by an exception, and `report` then holds what was reached.

    Parameters
    ----------
    archive : Archive
    data_dir : of the node.
    pool : from `make_pool`.
    count : images.
    in_flight : images that are sent and not back at any time; bounds the disk.
    keep : leave radiographs and companions in the archive.
    """

    def __init__(  # noqa: PLR0913 (a run is that many decisions, and each has its name)
        self, archive: Archive, data_dir: Path, pool: Sequence[Path], *, count: int, in_flight: int, keep: bool
    ) -> None:
        self.report = SoakReport(count, archive.what)
        self._archive = archive
        self._settings = Settings(node=NodeSettings(data_dir=data_dir))
        self._pool = pool
        self._in_flight = in_flight
        self._keep = keep
        self._waiting: dict[str, tuple[str, float, int]] = {}  # SOP Instance UID -> key, when sent, side
        self._started = time.monotonic()
        self._refused = 0

    def run(self, tell: Callable[[int], object]) -> None:
        """Send and collect until all is back, or nothing comes any more.

        Parameters
        ----------
        tell : is told how many companions are back.

        Raises
        ------
        Retriable
            The archive or the node does not take or answer any more.
        """
        self._started = last = time.monotonic()
        report = self.report
        while len(report.arrivals) + self._refused < report.planned:
            batch = min(BATCH, self._in_flight, report.planned - report.sent)
            if 0 < batch <= self._in_flight - len(self._waiting):
                self._send(batch)
            if self._collect():
                last = time.monotonic()
                tell(len(report.arrivals))
            elif time.monotonic() - last > STALLED_S:
                raise Retriable(f"nothing came back for {STALLED_S:.0f} s")
            else:
                time.sleep(POLL_S)
        report.seconds = time.monotonic() - self._started

    def settle(self) -> None:
        """Wait for the node's last writes after a whole run, and look at what it still holds."""
        deadline = time.monotonic() + (0.0 if self.report.stopped else SETTLE_S)
        status = node_status(self._settings)
        while (status.queue or status.files["outbox"]) and time.monotonic() < deadline:
            time.sleep(POLL_S)
            status = node_status(self._settings)
        self.report.left, self.report.queued = status.files, sum(status.queue.values())
        if not self.report.seconds:
            self.report.seconds = time.monotonic() - self._started

    def _send(self, count: int) -> None:
        batch = []
        for _ in range(count):
            number = self.report.sent
            ds = renewed(dcmread(self._pool[number % len(self._pool)]), number)
            content = BytesIO()
            ds.save_as(content, enforce_file_format=True)
            key = self._archive.upload(content.getvalue())
            batch.append(key)
            self._waiting[str(ds.SOPInstanceUID)] = (key, time.monotonic(), max(int(ds.Rows), int(ds.Columns)))
            self.report.sent += 1
        self._archive.forward(batch)

    def _collect(self) -> bool:
        """Whether anything came, or was refused."""
        now = time.monotonic()
        new = self._archive.returned()
        for companion in new:
            sent = self._waiting.pop(companion.source_sop_instance_uid, None)
            if sent is None:
                self.report.doubled += 1
                continue
            key, when, side = sent
            self.report.arrivals.append(Arrival(now - self._started, now - when, side))
            if not self._keep:
                self._archive.forget(key)
                self._archive.forget(companion.key)
        quarantine = self._settings.node.data_dir / "quarantine"
        before, self._refused = self._refused, sum(1 for _ in quarantine.glob("*.dcm"))
        return bool(new) or self._refused > before


def soak_table(report: SoakReport) -> Grid:
    """The figures that matter, for people."""
    sides = sorted(arrival.side for arrival in report.arrivals) or [0]
    left = ", ".join(f"{name} {count}" for name, count in report.left.items())
    rows: list[tuple[object, object]] = [
        ("images sent", f"{report.sent} of {report.planned}, {sides[0]} to {sides[-1]} px, by {report.archive}"),
        ("companions back", f"{len(report.arrivals)}, more than once: {report.doubled}"),
        ("files left", f"{left}; tasks queued {report.queued}"),
        ("time", f"{report.seconds / 60:.1f} min, {report.seconds / max(1, len(report.arrivals)):.2f} s an image"),
    ]
    if pace := report.pace_s():
        some = min(COMPARED, len(report.arrivals) // 2)
        rows.append((f"an image, first and last {some}", f"{pace[0]:.2f} s, {pace[1]:.2f} s"))
    if resident := report.resident_mib():
        told = f"{resident[0]:.0f} in the second tenth, {resident[1]:.0f} in the last, {resident[2]:.0f} at most"
        rows.append(("resident memory of the node, MiB", told))
    return Grid(f"{report.planned} images of mixed sizes through the node", ("what", "value"), rows)


def samples_csv(report: SoakReport) -> str:
    """Memory and processor time of the node over the run, one line a sample."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("seconds", "resident_mib", "processor_s", "companions"))
    times = [arrival.seconds for arrival in report.arrivals]
    for sample in report.samples:
        back = int(np.searchsorted(times, sample.seconds, side="right"))
        size = f"{sample.resident_bytes / MIB:.1f}"
        writer.writerow((f"{sample.seconds:.1f}", size, f"{sample.processor_s:.1f}", back))
    return text.getvalue()


def soak_svg(report: SoakReport) -> str:
    """Memory over time, and the time from companion to companion as a mean over the sixteen forms.

    Raises
    ------
    ValueError
        Too few companions came for a curve.
    """
    memory = [(sample.seconds / 60, sample.resident_bytes / MIB) for sample in report.samples]
    times = [arrival.seconds for arrival in report.arrivals]
    every = len(MIXED)
    marks = [0, *range(every, len(times), every)] if len(times) > 2 * every else list(range(len(times)))
    pace = [(float(to), (times[to] - times[since]) / (to - since)) for since, to in pairwise(marks)]
    if not memory or not pace:
        raise ValueError("too few companions for a curve")
    title = f"{len(times)} images of 1024 to 4096 px, 8 to 16 bits, several transfer syntaxes"
    return as_svg(
        [
            Panel(f"Resident memory of the node: {title}", "minutes", "MiB", memory),
            Panel("Time from companion to companion", "companion", "s", pace, as_dots=len(pace) > 1),
        ]
    )
