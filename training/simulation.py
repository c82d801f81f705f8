"""A folder of simulated pairs to look at, to train on or to measure with: `pacs-node simulate`.

Pair k is a function of the seed, the sources and k alone, so a folder can be filled in several goes.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from training.simulate.anatomy import draw_anatomy, load_anatomy, save_anatomy
from training.simulate.canvas import FloatArray
from training.simulate.pair import Studio, form_pair

__all__ = [
    "ANATOMIES",
    "Order",
    "Source",
    "Wish",
    "body_file",
    "draw_people",
    "form_all",
    "people_of",
    "plan",
    "read_pair",
    "written",
]

Source = Literal["procedural", "ct", "mix"]
ANATOMIES = "anatomy"  # folder of the maps, beside the pairs
OVERSAMPLED = 1.5  # maps have more pixels than the picture, so that zooming in does not blur it
OWN_BONES = 0.5
FULL_SCALE, GREY = 65535, 32768


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be simulated.

    Attributes
    ----------
    scans : identities of the CT scans, sorted; empty for ``procedural``.
    size : rows and columns of the pictures, px.
    motion : see `form_pair`.
    """

    source: Source
    scans: tuple[str, ...]
    seed: int
    size: int
    motion: float = 0.0

    @property
    def map_size(self) -> int:
        """Rows and columns of the anatomies' maps, px."""
        return int(self.size * OVERSAMPLED)


@dataclass(frozen=True, slots=True)
class Order:
    """One pair: its name, and the anatomies of body and bones as (scan or "person", number)."""

    index: int
    name: str
    body: tuple[str, int]
    bones: tuple[str, int]


def plan(wish: Wish, count: int) -> list[Order]:
    """The first ``count`` pairs of a wish; people and poses grow in number with the pairs."""
    return [_order(wish, index) for index in range(count)]


def _order(wish: Wish, index: int) -> Order:
    rng = np.random.default_rng([wish.seed, index, 0x9A17])
    body = _pick(wish, index, rng)
    if wish.source == "mix":  # one of the two from CT, the other from anywhere
        other = _pick(wish, index, rng)
        bones = other if (other[0] == "person") != (body[0] == "person") else _pick(wish, index, rng)
    else:
        bones = body if rng.random() < OWN_BONES else _pick(wish, index, rng)
    return Order(index, f"{wish.source}_{wish.seed:04d}-{index:05d}", body, bones)


def _pick(wish: Wish, index: int, rng: np.random.Generator) -> tuple[str, int]:
    """A person or a pose of a scan."""
    person = wish.source == "procedural" or (wish.source == "mix" and rng.random() < 0.35)
    number = int(rng.integers(4 + index // 3))
    if person:
        return "person", wish.seed * 100_000 + number
    return wish.scans[int(rng.integers(len(wish.scans)))], number // len(wish.scans)


def body_file(folder: Path, body: tuple[str, int], map_size: int) -> Path:
    """Where the maps of a person or of a pose of a scan lie."""
    kind, number = body
    name = f"anatomy-{number:06d}-{map_size}.npz" if kind == "person" else f"anatomy-{kind}-{number:04d}-{map_size}.npz"
    return folder / ANATOMIES / name


def written(folder: Path, order: Order) -> bool:
    """Whether a pair is there whole: its parameters are written last."""
    return (folder / f"{order.name}.json").is_file()


def draw_person(folder: Path, number: int, map_size: int) -> None:
    """Draw a phantom into the cache, unless it is there."""
    path = body_file(folder, ("person", number), map_size)
    if not path.exists():
        save_anatomy(draw_anatomy(number, map_size), path)


def form(folder: Path, wish: Wish, order: Order) -> float:
    """Form one pair from the cache and write it; return the seconds that took.

    Writes `NAME_cxr.png`, `NAME_soft.png` (16 bit, 0 black, 65535 white), `NAME_bone.png` (their difference, 32768 is
    none) and `NAME.json`, the parameters.
    """
    started = time.perf_counter()
    body = load_anatomy(body_file(folder, order.body, wish.map_size))
    bones = body if order.bones == order.body else load_anatomy(body_file(folder, order.bones, wish.map_size))
    rng = np.random.default_rng([wish.seed, order.index, 0xF0])
    pair = form_pair(body, bones, rng, wish.size, Studio(wish.motion))
    _picture(folder / f"{order.name}_cxr.png", pair.cxr * FULL_SCALE)
    _picture(folder / f"{order.name}_soft.png", pair.soft * FULL_SCALE)
    _picture(folder / f"{order.name}_bone.png", (pair.cxr - pair.soft) * (GREY - 1) + GREY)
    facts: dict[str, Any] = {"seed": wish.seed, "index": order.index, "size": wish.size, "motion": wish.motion}
    facts |= {"source": wish.source, "body": order.body, "bones": order.bones}
    facts |= {"exposure": asdict(pair.exposure), "display": asdict(pair.chain), "lungs": float(pair.lungs.mean())}
    part = folder / f"{order.name}.json.part"
    part.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    part.replace(folder / f"{order.name}.json")
    return time.perf_counter() - started


def _picture(path: Path, values: FloatArray) -> None:
    grey = np.clip(np.rint(values), 0, FULL_SCALE).astype(np.uint16)
    Image.fromarray(grey).save(path, compress_level=1)


def read_pair(folder: Path, name: str) -> tuple[FloatArray, FloatArray]:
    """Radiograph and twin, (size, size) in [0, 1] each, as `form` wrote them."""
    pictures = (np.asarray(Image.open(folder / f"{name}_{kind}.png"), dtype=np.float32) for kind in ("cxr", "soft"))
    cxr, soft = (picture / np.float32(FULL_SCALE) for picture in pictures)
    return cxr, soft


def run_all(calls: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]], workers: int) -> Iterator[Any]:
    """Results of calls as they come, from this process or from several."""
    if workers <= 1 or len(calls) <= 1:
        for call, arguments in calls:
            yield call(*arguments)
        return
    with ProcessPoolExecutor(min(workers, len(calls)), mp_context=get_context("spawn")) as pool:
        pending = {pool.submit(call, *arguments) for call, arguments in calls}
        try:
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def people_of(orders: Sequence[Order]) -> list[int]:
    """Numbers of the phantoms that the orders need."""
    return sorted({number for order in orders for kind, number in (order.body, order.bones) if kind == "person"})


def draw_people(folder: Path, wish: Wish, numbers: Sequence[int], workers: int) -> Iterator[None]:
    """Draw phantoms into the cache; yields after each."""
    (folder / ANATOMIES).mkdir(parents=True, exist_ok=True)
    yield from run_all([(draw_person, (folder, number, wish.map_size)) for number in numbers], workers)


def form_all(folder: Path, wish: Wish, orders: Sequence[Order], workers: int) -> Iterator[float]:
    """Form pairs whose anatomies are in the cache; yields the seconds of each as it is done."""
    yield from run_all([(form, (folder, wish, order)) for order in orders], workers)
