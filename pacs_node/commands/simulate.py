"""`pacs-node simulate`: pairs of radiographs with and without bone, from drawn people, from CT, or from both."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress, track

from pacs_node.commands.errors import ExitCode
from pacs_node.commands.interrupt import resumable
from pacs_node.commands.terminal import print_json, say, stderr, stdout
from pacs_node.errors import ConfigError
from training.readers.durable import write_atomically
from training.simulate.ct.scan import Refused
from training.simulate.sheet import preview_sheet
from training.simulation import (
    ANATOMIES,
    Order,
    Source,
    Wish,
    body_file,
    draw_people,
    form_all,
    people_of,
    plan,
    read_pair,
    written,
)

if TYPE_CHECKING:
    from training.scans import Shelf

__all__ = ["Request", "run"]

NOTE = "simulation.json"  # what the folder holds, so that it is not filled with two kinds of pairs
SHOWN = 12  # pairs on the sheet at most


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for; ``ct`` is a folder of scans, ``preview`` the sheet to write."""

    count: int
    folder: Path
    source: Source
    ct: Path | None
    preview: Path | None
    seed: int
    size: int
    workers: int
    motion: float


def run(request: Request, *, as_json: bool) -> int:
    """Simulate what the folder lacks, and say what was left out; 1 when a scan was refused.

    Raises
    ------
    ConfigError
        There is no usable CT, or the folder holds pairs of another kind.
    """
    with resumable(request.folder):
        request.folder.mkdir(parents=True, exist_ok=True)
        wish = Wish(request.source, (), request.seed, request.size, request.motion)
        refused: dict[str, str] = {}
        if request.source != "procedural":
            wish, refused = _with_scans(request, wish, quiet=as_json)
        _claim(request.folder, wish)
        orders = plan(wish, request.count)
        missing = [order for order in orders if not written(request.folder, order)]
        seconds = _form(request, wish, missing, quiet=as_json)
        if request.preview is not None:
            preview_sheet([read_pair(request.folder, order.name) for order in orders[:SHOWN]], request.preview)
    for name, reason in refused.items():
        say(f"left out {name}: {reason}")
    _show(request, orders, seconds, refused, as_json=as_json)
    return ExitCode.FAILED if refused else ExitCode.DONE


def _with_scans(request: Request, wish: Wish, *, quiet: bool) -> tuple[Wish, dict[str, str]]:
    """Draw the poses that are needed; a scan that is refused is left out and the rest planned anew."""
    from training.scans import Shelf  # noqa: PLC0415 - torch, only where there is CT

    if request.ct is None:
        raise ConfigError(f"--source {request.source} needs --ct FOLDER with CT of the thorax (NIfTI or DICOM)")
    shelf = Shelf.of(request.ct)
    (request.folder / ANATOMIES).mkdir(exist_ok=True)
    while shelf.scans:
        wish = replace(wish, scans=tuple(sorted(shelf.scans)))
        if _project(request, wish, shelf, quiet=quiet):
            return wish, shelf.refused
    reasons = "; ".join(f"{name}: {reason}" for name, reason in shelf.refused.items())
    raise ConfigError(f"{request.ct} holds no CT that can be used{f' ({reasons})' if reasons else ''}")


def _project(request: Request, wish: Wish, shelf: "Shelf", *, quiet: bool) -> bool:
    """Draw the poses that are needed; False where a scan was refused, which is then off the shelf."""
    from training.scans import draw_poses  # noqa: PLC0415 - torch, only where there is CT

    for scan, poses in _poses(wish, request).items():
        found = shelf.scans[scan]
        try:
            drawn = draw_poses(found, poses, request.folder / ANATOMIES, wish.map_size)
            bar = track(drawn, f"projecting {found.name}", len(poses), console=stderr(), disable=quiet)
            told = tuple({note for _, notes in bar for note in notes})
        except Refused as error:
            shelf.refused[found.name] = str(error)
            del shelf.scans[scan]
            return False
        for note in told:
            say(f"{found.name}: {note}")
    return True


def _poses(wish: Wish, request: Request) -> dict[str, list[int]]:
    """Numbers of the poses of each scan that pairs still need and the cache lacks."""
    needed: dict[str, set[int]] = {}
    for order in plan(wish, request.count):
        for body in (order.body, order.bones):
            made = written(request.folder, order) or body_file(request.folder, body, wish.map_size).exists()
            if body[0] != "person" and not made:
                needed.setdefault(body[0], set()).add(body[1])
    return {scan: sorted(numbers) for scan, numbers in sorted(needed.items())}


def _claim(folder: Path, wish: Wish) -> None:
    note, facts = folder / NOTE, json.loads(json.dumps(asdict(wish)))
    if note.is_file():
        try:
            earlier = json.loads(note.read_text(encoding="utf-8"))
        except ValueError:
            earlier = None
        if earlier != facts:
            raise ConfigError(f"{folder} holds pairs of another seed, size, source or CT: choose another folder")
    write_atomically(note, json.dumps(facts, indent=1).encode())


def _form(request: Request, wish: Wish, missing: Sequence[Order], *, quiet: bool) -> list[float]:
    """Draw and form behind a bar; seconds of each pair."""
    people = people_of(missing)
    with Progress(console=stderr(), disable=quiet or not missing) as bar:
        drawing = bar.add_task("drawing people", total=len(people), visible=bool(people))
        for _ in draw_people(request.folder, wish, people, request.workers):
            bar.advance(drawing)
        forming = bar.add_task("forming pairs", total=len(missing))
        seconds = []
        for spent in form_all(request.folder, wish, missing, request.workers):
            seconds.append(spent)
            bar.advance(forming)
    return seconds


def _show(
    request: Request, orders: Sequence[Order], seconds: Sequence[float], refused: dict[str, str], *, as_json: bool
) -> None:
    mean = sum(seconds) / len(seconds) if seconds else None
    if as_json:
        facts = {"folder": str(request.folder), "pairs": [order.name for order in orders], "formed": len(seconds)}
        sheet = str(request.preview) if request.preview else None
        print_json(facts | {"seconds_a_pair": mean, "refused": refused, "preview": sheet})
        return
    spent = f", {mean:.1f} s each from the cache" if mean is not None else ""
    told = f"{len(orders)} pairs in {request.folder}, {len(seconds)} formed now{spent}"
    stdout().print(told, markup=False)
    if request.preview is not None:
        stdout().print(f"sheet: {request.preview}", markup=False)
