"""What is trained on and what is measured on: the same pairs for every system, and no person in both."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from pacs_node.errors import ConfigError
from pacs_node.imaging.fit import intensity_range
from pacs_node.records import Radiograph
from training.evaluate.cases import Case, Twins, measured, open_cases, with_bone
from training.ingest.manifest import Manifest, open_pairs
from training.ingest.split import SHARES, hashed_place
from training.pairs import SHARD, PairShards, write_shard
from training.readers.durable import write_atomically
from training.simulation import Wish, draw_people, form_all, people_of, plan, read_pair, written
from training.sources import MixedPairs, PairSource, is_ingested

__all__ = ["OVERSAMPLED", "Ground", "HeldOut", "has_bone", "open_ground", "open_test", "simulate_pairs"]

SIMULATION = "simulation.json"
OVERSAMPLED = 2  # own pairs are simulated at twice the size and averaged down: what ships gets them as simulated
BITS = 16
# Mean square of the bone layer, of grey values in [0, 1]; the median of simulated pairs is 1e-3. Shares of what is
# hardly there say nothing, and one of them outweighs a set in a mean.
LEAST_BONE = 2e-4
Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Pairs that nothing was trained on.

    Attributes
    ----------
    title : in words, with the number of pairs and people.
    persons : case -> who it shows; the bootstrap draws people, since pairs of one are not independent.
    simulated : whether pictures of it may be passed on with the project.
    """

    name: str
    title: str
    cases: tuple[Case, ...]
    persons: Mapping[str, str]
    simulated: bool


@dataclass(frozen=True, slots=True)
class Ground:
    """What every system is trained on, in shards of one size, and what all are measured on.

    Attributes
    ----------
    told : the training pairs in words.
    identity : SHA-256 of what is trained on.
    """

    sources: tuple[PairShards, ...]
    tests: tuple[HeldOut, ...]
    told: str
    identity: str

    @property
    def pairs(self) -> PairSource:
        """All training pairs as one source."""
        return self.sources[0] if len(self.sources) == 1 else MixedPairs(self.sources)


@dataclass(frozen=True, slots=True)
class _Part:
    """A folder of pairs, divided."""

    count: int
    pair: Callable[[int], Pair]
    told: str
    identity: str
    test: HeldOut | None


def simulate_pairs(folder: Path, seed: int, count: int, size: int, advance: Callable[[str, int, int], None]) -> None:
    """Fill a folder as `pacs-node simulate -o FOLDER -n COUNT --seed SEED --size SIZE` does; what is there is kept.

    Parameters
    ----------
    advance : is told (what, done, of how many).

    Raises
    ------
    ConfigError
        The folder holds pairs of another seed or size.
    """
    wish = Wish("procedural", (), seed, size)
    note, facts = folder / SIMULATION, json.loads(json.dumps(asdict(wish)))
    folder.mkdir(parents=True, exist_ok=True)
    if note.is_file() and json.loads(note.read_text(encoding="utf-8")) != facts:
        raise ConfigError(f"{folder} holds pairs of another seed or size: choose another folder")
    write_atomically(note, json.dumps(facts, indent=1).encode())
    missing = [order for order in plan(wish, count) if not written(folder, order)]
    people = people_of(missing)
    for done, _ in enumerate(draw_people(folder, wish, people, 1), start=1):
        advance("drawing people", done, len(people))
    for done, _ in enumerate(form_all(folder, wish, missing, 1), start=1):
        advance("forming pairs", done, len(missing))


def open_ground(
    folders: Sequence[Path], tests: Sequence[Path], into: Path, size: int, also: Sequence[Path] = ()
) -> Ground:
    """Open folders of pairs, divided by person where no test folders are named.

    Parameters
    ----------
    folders : of `pacs-node ingest` (its split `train` is trained on) or of `pacs-node simulate`.
    tests : folders of test pairs; none of their people may be in the training pairs. Empty: the split `test` of an
        ingested folder, and the fifth of the people of a simulated one that a hash picks.
    into : gets the shards.
    size : rows and columns, px.
    also : more folders of test pairs, beside those; none of their people may be in the training pairs either.

    Raises
    ------
    ConfigError
        A folder cannot be used, or nothing is left to train or to measure on.
    """
    whole = bool(tests)
    parts = [_divided(folder, size, whole=whole) for folder in folders]
    sources = tuple(PairShards(_shards(part, into / part.identity[:16] / str(size))) for part in parts)
    sets = [each for folder in tests for each in open_test(folder)] or [
        part.test for part in parts if part.test is not None
    ]
    sets += [each for folder in also for each in open_test(folder)]
    if not sets:
        raise ConfigError("there is no pair to measure on: name a folder of test pairs with --pairs-test")
    _apart(folders, [*tests, *also])
    identity = hashlib.sha256(" ".join(part.identity for part in parts).encode()).hexdigest()
    return Ground(sources, _named_apart(sets), "; ".join(part.told for part in parts), identity)


def open_test(folder: Path) -> list[HeldOut]:
    """A folder of test pairs: the split `test` of an ingested one, else all of it.

    Pairs whose truth was computed by another algorithm are a set of their own: its mistakes are no truth.

    Raises
    ------
    ConfigError
        There is no pair, or none with bone.
    """
    folder = folder if folder.name not in ("", "..") else folder.resolve()  # "." names no set
    if is_ingested(folder):
        return [_ingested_test(folder)]
    if (folder / SIMULATION).is_file():
        return [_simulated_test(folder, sorted(_people(folder)))]
    cases, boneless = with_bone(open_cases(folder))
    dual, computed = ([case for case in cases if case.dual_energy is kind] for kind in (True, False))
    found = [_plain(folder.name, dual, "dual energy", boneless)] if dual else []
    named = f"{folder.name}-computed"
    return [*found, *([_plain(named, computed, "computed truth", boneless)] if computed else [])]


def _plain(name: str, cases: Sequence[Case], kind: str, boneless: Sequence[str]) -> HeldOut:
    left_out = f"; left out, radiograph and twin being the same picture: {', '.join(boneless)}" if boneless else ""
    counted = f"{len(cases)} pair{'s' if len(cases) > 1 else ''}, {kind}{left_out}"
    return HeldOut(name, counted, tuple(cases), {case.name: case.name for case in cases}, False)


def _divided(folder: Path, size: int, *, whole: bool) -> _Part:
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}")
    if is_ingested(folder):
        return _ingested(folder, size)
    if (folder / SIMULATION).is_file():
        return _simulated(folder, size, whole=whole)
    raise ConfigError(f"{folder} holds neither pairs of `pacs-node ingest` nor of `pacs-node simulate`")


def _ingested(folder: Path, size: int) -> _Part:
    pairs = open_pairs(folder, "train", size=size, tone="cxr")
    records = Manifest.read(folder).pairs
    people = len({record.patient for record in records if record.split == "train"})
    test = _ingested_test(folder) if any(record.split == "test" for record in records) else None
    # pixels and tone too: the same pairs ingested in another way are other pairs
    known = [f"{record.pair_id} {record.written_sha256} {record.tone_curve}" for record in pairs.records]
    identity = hashlib.sha256(" ".join(known).encode()).hexdigest()
    return _Part(len(pairs), pairs.__getitem__, f"{len(pairs)} ingested pairs of {people} people", identity, test)


def _ingested_test(folder: Path) -> HeldOut:
    cases = tuple(with_bone(open_cases(folder, "test"))[0])
    persons = {record.pair_id: record.patient for record in Manifest.read(folder).pairs}
    title = f"{len(cases)} ingested pairs of {len({persons[case.name] for case in cases})} people, the split test"
    return HeldOut(folder.name, title, cases, persons, False)


def _simulated(folder: Path, size: int, *, whole: bool) -> _Part:
    people = _people(folder)
    held = {person for pair in people.values() for person in pair if not whole and _held_out(person)}
    trained = sorted(name for name, pair in people.items() if not held & set(pair))
    tested = sorted(name for name, pair in people.items() if held >= set(pair))
    if not trained:
        raise ConfigError(f"{folder} holds no pair to train on: `pacs-node simulate -o {folder} -n 300` makes some")
    seen = {person for name in trained for person in people[name]}
    told = f"{len(trained)} simulated pairs of {len(seen)} people ({_wish(folder)})"
    identity = hashlib.sha256(f"{_wish(folder)} {' '.join([*trained, *_rarely(folder)])}".encode()).hexdigest()
    test = _simulated_test(folder, tested) if tested and not whole else None
    return _Part(len(trained), partial(_stretched, folder, trained, size), told, identity, test)


def _held_out(person: str) -> bool:
    return hashed_place(person, 0) >= SHARES[0]


def _simulated_test(folder: Path, names: Sequence[str]) -> HeldOut:
    """Pairs with bone: some are simulated with next to none, to learn from, and have nothing to measure."""
    people, boned = _people(folder), [name for name in names if has_bone(folder, name)]
    if not boned:
        raise ConfigError(f"{folder} holds no pair with bone: simulate more of them")
    cases = tuple(Case(name, "simulated", True, partial(_read, folder, name)) for name in boned)
    persons = {name: people[name][0] for name in boned}
    seen = {person for name in boned for person in people[name]}
    title = f"{len(boned)} simulated pairs of {len(seen)} people ({_wish(folder)})"
    left_out = len(names) - len(boned)
    return HeldOut(
        folder.name, f"{title}, {left_out} with next to no bone left out" if left_out else title, cases, persons, True
    )


def has_bone(folder: Path, name: str) -> bool:
    """Whether a simulated pair has bone enough for a share of it to mean something."""
    cxr, soft = read_pair(folder, name)
    return float(np.mean((cxr - soft) ** 2)) > LEAST_BONE


def _read(folder: Path, name: str) -> Twins:
    """As written: a simulation knows which way round its pictures are."""
    cxr, soft = read_pair(folder, name)
    return Twins(Radiograph(cxr, None, BITS, Dataset()), soft)


def _stretched(folder: Path, names: Sequence[str], size: int, index: int) -> Pair:
    """Stretched as the service stretches a radiograph, then averaged down."""
    cxr, soft = read_pair(folder, names[index])
    low, high = intensity_range(cxr)
    twins = [measured(np.asarray((image - low) / (high - low), dtype=np.float32), size) for image in (cxr, soft)]
    return twins[0], twins[1]


def _people(folder: Path) -> dict[str, tuple[str, str]]:
    """Pair -> whose body and whose bones it shows."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        if path.name == SIMULATION:
            continue
        facts = json.loads(path.read_text(encoding="utf-8"))
        found[path.stem] = _person(facts["body"]), _person(facts["bones"])
    return found


def _person(anatomy: Sequence[str | int]) -> str:
    """Poses of one scan show one person."""
    kind, number = anatomy
    return f"{kind} {number}" if kind == "person" else str(kind)


def _wish(folder: Path) -> str:
    facts = json.loads((folder / SIMULATION).read_text(encoding="utf-8"))
    return f"{facts['source']}, seed {facts['seed']}, {facts['size']} px"


def _rarely(folder: Path) -> list[str]:
    """What else the pairs depend on, where it is not as usual."""
    facts = json.loads((folder / SIMULATION).read_text(encoding="utf-8"))
    return [f"{key}={facts[key]}" for key in ("scans", "motion") if facts.get(key)]


def _shards(part: _Part, target: Path) -> Path:
    for number in range(-(-part.count // SHARD)):
        path = target / f"{number:03d}.npy"
        if not path.exists():
            wanted = range(number * SHARD, min(part.count, (number + 1) * SHARD))
            write_shard(path, [part.pair(index) for index in wanted])
    return target


def _apart(folders: Sequence[Path], tests: Sequence[Path]) -> None:
    """No person of a named simulated test folder may be in a simulated training folder."""
    trained = {
        person for folder in folders if not is_ingested(folder) for pair in _people(folder).values() for person in pair
    }
    for folder in tests:
        if (folder / SIMULATION).is_file():
            shared = trained & {person for pair in _people(folder).values() for person in pair}
            if shared:
                raise ConfigError(
                    f"{folder} shows {len(shared)} people who are in the training pairs: take another seed"
                )


def _named_apart(sets: Iterable[HeldOut]) -> tuple[HeldOut, ...]:
    """Two folders of one name stay two sets."""
    found: dict[str, HeldOut] = {}
    for each in sets:
        name, number = each.name, 2
        while name in found:
            name, number = f"{each.name}-{number}", number + 1
        found[name] = HeldOut(name, each.title, each.cases, each.persons, each.simulated)
    return tuple(found.values())
