"""Pairs to train on and pairs to measure on, of different people.

Either both are simulated here, as `pacs-node simulate` does it, each from a seed of its own; or they are a folder that
was ingested (its training and its test split) or simulated (split here by person).
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pacs_node.errors import ConfigError
from pacs_node.imaging.fit import Placement, intensity_range, letterbox, place
from pacs_node.records import FloatImage
from training.compare.ground import has_bone
from training.ingest.manifest import open_pairs
from training.pairs import SHARD, PairShards, write_shard
from training.readers.durable import write_atomically
from training.simulation import Wish, draw_people, form_all, people_of, plan, read_pair, written
from training.sources import SIMULATION, is_ingested, shard_ingested

__all__ = ["Amounts", "Data", "HeldOut", "given", "simulated"]

TESTED_SHARE = 6  # one person in six is tested on
Names = Sequence[str]
Advance = Callable[[str, int, int], None]  # what is made, how many are done, of how many


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much to simulate, and how many test pairs to measure on at most."""

    train: int = 450
    test: int = 24


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """One pair to measure on, on the grid, stretched as the service stretches the radiograph.

    Attributes
    ----------
    cxr, soft : (grid, grid) float32 in [0, 1]; 0 in the letterbox.
    """

    name: str
    cxr: FloatImage
    soft: FloatImage
    placement: Placement


@dataclass(frozen=True, slots=True)
class Data:
    """What is trained on and what is measured on.

    Attributes
    ----------
    facts : for the page, in words.
    identity : of what is trained on.
    """

    pairs: PairShards
    tested: tuple[HeldOut, ...]
    facts: dict[str, str]
    identity: str


def simulated(folder: Path, amounts: Amounts, seed: int, grid: int, advance: Advance) -> Data:
    """Draw people and form pairs of them, those to test on from the next seed, whose people are all others.

    ``folder`` gets `train/` and `test/`: what `pacs-node simulate --seed S --size GRID` writes. What is there is kept.
    """
    made = []
    for name, count, number in (("train", amounts.train, seed), ("test", amounts.test, seed + 1)):
        wish = Wish("procedural", (), number, grid)
        _fill(folder / name, wish, count, advance)
        made.append((wish, [order.name for order in plan(wish, count)]))
    (train_wish, train), (test_wish, test) = made
    boned = [name for name in test if has_bone(folder / "test", name)]
    if not boned:
        raise ConfigError(f"none of the {len(test)} test pairs has bone in it: ask for more with --test-pairs")
    people = [len(people_of(plan(wish, len(names)))) for wish, names in made]
    told = "{} pairs of {} people, `pacs-node simulate -n {} --source procedural --seed {} --size {}`"
    facts = {
        "trained on": told.format(len(train), people[0], len(train), train_wish.seed, grid),
        "measured on": told.format(len(test), people[1], len(test), test_wish.seed, grid)
        + _left_out(len(test) - len(boned)),
    }
    return Data(
        _shards(folder / "train", train, folder / "shards", grid),
        _tests(folder / "test", boned, grid),
        facts,
        _id(facts),
    )


def _left_out(boneless: int) -> str:
    """Pairs without bone, of which there are some to learn from, have nothing to measure."""
    return f"; {boneless} with next to no bone left out" if boneless else ""


def _fill(folder: Path, wish: Wish, count: int, advance: Advance) -> None:
    """What the folder lacks; pair k depends on the wish and k alone."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / SIMULATION, json.dumps(asdict(wish), indent=1).encode())
    missing = [order for order in plan(wish, count) if not written(folder, order)]
    people = people_of(missing)
    for done, _ in enumerate(draw_people(folder, wish, people, 1), start=1):
        advance(f"drawing people to {folder.name} on", done, len(people))
    for done, _ in enumerate(form_all(folder, wish, missing, 1), start=1):
        advance(f"forming pairs to {folder.name} on", done, len(missing))


def given(folder: Path, into: Path, most: int, grid: int) -> Data:
    """Open a folder of pairs.

    Parameters
    ----------
    into : gets the shards of the pairs that are trained on.
    most : pairs to measure on; the first ones of the test split.

    Raises
    ------
    ConfigError
        It is of neither kind, or has no pair to train on or to test on.
    """
    if is_ingested(folder):
        return _ingested(folder, into, most, grid)
    if not (folder / SIMULATION).is_file():
        told = f"{folder} holds neither pairs of `pacs-node ingest` nor of `pacs-node simulate`"
        raise ConfigError(f"{told}: name such a folder, or leave --data out")
    train, test = _split(folder)
    test = [name for name in test if has_bone(folder, name)]
    if not train or not test:
        told = f"{folder} has {len(train)} pairs to train on and {len(test)} of other people, with bone, to test on"
        raise ConfigError(f"{told}: `pacs-node simulate -n 60 -o {folder}` adds some")
    facts = {
        "trained on": f"{len(train)} simulated pairs of the folder that was given",
        "measured on": f"{len(test[:most])} of its pairs, of other people",
    }
    shards = _shards(folder, train, into / "shards", grid)
    return Data(
        shards, _tests(folder, test[:most], grid), facts, _id({"train": " ".join(train), "test": "".join(test)})
    )


def _ingested(folder: Path, into: Path, most: int, grid: int) -> Data:
    shards = PairShards(shard_ingested(folder, into / "shards", grid))
    pairs = open_pairs(folder, "test", size=grid, tone="cxr")[:most]
    tested = tuple(
        HeldOut(record.pair_id, *pairs[index], pairs.placement(index)) for index, record in enumerate(pairs.records)
    )
    facts = {
        "trained on": f"{len(shards)} ingested pairs, split train, truth in the radiograph's tone",
        "measured on": f"{len(tested)} ingested pairs, split test, truth in the radiograph's tone",
    }
    manifest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    return Data(shards, tested, facts, manifest)


def _split(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the pairs to train on and to test on; a pair that mixes people of both is in neither."""
    train, test = [], []
    for path in sorted(folder.glob("*_cxr.png")):
        name = path.name.removesuffix("_cxr.png")
        try:
            facts: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{folder / name}.json cannot be read: the same simulate command makes it anew"
            ) from error
        tested = [_is_tested(*facts[part]) for part in ("body", "bones")]
        if all(tested):
            test.append(name)
        elif not any(tested):
            train.append(name)
    return train, test


def _is_tested(kind: str, number: int) -> bool:
    """Whether a person is tested on: by a hash, so that added pairs move nobody. All poses of a scan are one person."""
    person = f"{kind} {number}" if kind == "person" else kind
    return hashlib.sha256(person.encode()).digest()[0] % TESTED_SHARE == 0


def _on_grid(folder: Path, name: str, grid: int) -> tuple[FloatImage, FloatImage, Placement]:
    """Both twins stretched by the radiograph's range and averaged to the grid."""
    cxr, soft = read_pair(folder, name)
    low, high = intensity_range(cxr)
    placement = place(cxr.shape[0], cxr.shape[1], grid)
    stretched = (np.clip((image - low) / (high - low), 0, 1).astype(np.float32) for image in (cxr, soft))
    cxr, soft = (letterbox(image, placement) for image in stretched)
    return cxr, soft, placement


def _shards(folder: Path, names: Names, into: Path, grid: int) -> PairShards:
    for start in range(0, len(names), SHARD):
        path = into / f"{start // SHARD:03d}.npy"
        if not path.exists():
            write_shard(path, [_on_grid(folder, name, grid)[:2] for name in names[start : start + SHARD]])
    return PairShards(into)


def _tests(folder: Path, names: Names, grid: int) -> tuple[HeldOut, ...]:
    return tuple(HeldOut(name, *_on_grid(folder, name, grid)) for name in names)


def _id(facts: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
