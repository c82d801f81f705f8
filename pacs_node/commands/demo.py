"""`pacs-node demo`: simulated radiograph -> loopback PACS -> node -> companion -> one picture."""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydicom import Dataset
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pacs_node.audit import EventKind
from pacs_node.commands.audit import newest_events
from pacs_node.commands.terminal import print_json, say, stderr, stdout
from pacs_node.demo import DATA, LoopbackPacs, contrast_left, running_node, send_to_node
from pacs_node.errors import DiskFull, Retriable
from pacs_node.imaging.read import read_radiograph
from pacs_node.preview import write_preview
from pacs_node.records import FloatImage

__all__ = ["run"]

WAIT_S = 300.0  # one image takes seconds on two cores; this only ends a demo that will never end
SUCCESS = 0x0000


def run(out: Path, *, seed: int, as_json: bool) -> int:
    """Write ``radiograph.dcm``, ``companion.dcm`` and ``before_after.png`` into ``out`` and say where they are.

    Raises
    ------
    Retriable
        The node did not start, did not take the radiograph, or no companion came.
    """
    from training.sample_dicom import sample_soft, write_sample  # noqa: PLC0415 (the one way up that the contracts allow)

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskFull(f"{out} cannot be made: {error.strerror}") from error
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    steps = Progress(*columns, console=stderr(), transient=True)
    with steps:
        task = steps.add_task("simulating a radiograph")
        ds = write_sample(out / "radiograph.dcm", seed)
        steps.update(task, description="starting a PACS and a node on this machine")
        facts = _round_trip(ds, out, lambda told: steps.update(task, description=told))
        steps.update(task, description="drawing the picture")
        facts |= _compare(out, sample_soft(seed))
    if as_json:
        print_json(facts)
    else:
        _tell(facts)
    return 0


def _round_trip(ds: Dataset, out: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Send the radiograph through a node of its own; the companion is then in ``out``."""
    with tempfile.TemporaryDirectory(prefix="pacs-node-demo-") as name:
        folder = Path(name)
        with LoopbackPacs(folder).listening() as pacs, running_node(folder, pacs.port) as port:
            tell("sending the radiograph")
            started = time.perf_counter()
            status = send_to_node(ds, port)
            if status != SUCCESS:
                raise Retriable(f"the node answered 0x{status:04X} to the radiograph")
            tell("waiting for the companion")
            companion = _awaited(pacs, folder)
            seconds = time.perf_counter() - started
            shutil.copyfile(companion, out / "companion.dcm")
    return {"seconds": round(seconds, 2)}


def _awaited(pacs: LoopbackPacs, folder: Path) -> Path:
    """The companion, or what the node wrote down about why there is none."""
    deadline = time.monotonic() + WAIT_S
    while (companion := pacs.wait(1.0)) is None:
        for event in newest_events(folder / DATA, limit=100):
            if event.kind in (EventKind.REJECTED, EventKind.FAILED):
                raise Retriable(f"the demo's node gave up ({event.reason}): {event.note}")
        if time.monotonic() > deadline:
            raise Retriable(f"no companion came within {WAIT_S:.0f} s")
    return companion


def _compare(out: Path, soft: FloatImage) -> dict[str, Any]:
    """Draw the picture and measure the companion against the simulated image without bone."""
    source = read_radiograph(out / "radiograph.dcm").pixels
    companion = read_radiograph(out / "companion.dcm").pixels
    picture = out / "before_after.png"
    write_preview(picture, source, companion, source - companion)
    return {
        "radiograph": str(out / "radiograph.dcm"),
        "companion": str(out / "companion.dcm"),
        "picture": str(picture),
        "rib_contrast_left_percent": round(100 * contrast_left(source, companion, soft), 1),
    }


def _tell(facts: dict[str, Any]) -> None:
    console = stdout()
    console.print(f"The companion came back from the node after {facts['seconds']} s.")
    console.print(f"Bone contrast left: {facts['rib_contrast_left_percent']} % of the simulated radiograph's.")
    console.print(f"Before and after: {facts['picture']}", markup=False)
    console.print(f"DICOM files:      {facts['radiograph']}, {facts['companion']}", markup=False)
    say("Research use only: simulated image, not for diagnosis.")
