"""What an ingest has to do, before it does anything: which pairs are new, changed, or done already."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from training.ingest.found import Found, Loner
from training.ingest.manifest import PICTURES, Manifest, PairRecord
from training.ingest.normalise import Recipe
from training.ingest.private import Private
from training.ingest.refusal import Refusal

__all__ = ["Job", "Plan", "make_plan", "recipe_digest"]


@dataclass(frozen=True, slots=True)
class Job:
    """One pair to make: everything a worker needs, nothing of a patient."""

    pair_id: str
    patient: str
    source: str
    cxr: Path
    soft: Path
    digests: tuple[str, str]
    recipe: Recipe
    folder: Path


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a source.

    Attributes
    ----------
    jobs : pairs that are new, whose options changed, or whose pictures are gone.
    kept : records that stay as they are, of this and of other sources.
    replaced : ids of pairs whose files changed since; their pictures are removed.
    gone : how many kept pairs are of this source, but in it no more.
    loners : files that make no pair.
    """

    jobs: list[Job]
    kept: dict[str, PairRecord]
    replaced: list[str]
    gone: int
    loners: list[Loner]


def recipe_digest(recipe: Recipe) -> str:
    """What the options and our version of them come to, as 16 hex digits."""
    return hashlib.sha256(json.dumps(recipe.facts(), sort_keys=True).encode()).hexdigest()[:16]


def make_plan(found: Found, key: str, recipe: Recipe, folder: Path, known: tuple[Manifest | None, Private]) -> Plan:
    """Compare what a source holds with what a folder holds; reads the files, writes nothing.

    Parameters
    ----------
    key : of the source in the manifest.
    known : the folder's manifest, if it has one, and its private file; origins and digests are added to the latter.
    """
    manifest, private = known
    records = {record.pair_id: record for record in manifest.pairs} if manifest else {}
    digest = recipe_digest(recipe)
    jobs: list[Job] = []
    loners = list(found.loners)
    seen: dict[str, str] = {}
    files = [(pair, (private.digest(pair.cxr), private.digest(pair.soft))) for pair in found.pairs]
    people = _people((pair.patient, digests[0]) for pair, digests in files)
    for pair, digests in files:
        pair_id = private.hashed("/".join(digests))
        if pair_id in seen:
            told = "the same two pictures are there under another name"
            loners.append(Loner(pair.name, pair.cxr, Refusal.DUPLICATE_CONTENT, told))
            continue
        seen[pair_id] = pair.name
        known_as = people[pair.patient]
        private.remember(pair_id, key, replace(pair, patient=known_as))
        record = records.get(pair_id)
        if record is None or record.recipe != digest or not _written(record, folder):
            patient = private.hashed_patient(known_as)
            jobs.append(Job(pair_id, patient, key, pair.cxr, pair.soft, digests, recipe, folder))
    replaced = _replaced(records, private, key, seen)
    todo = {job.pair_id for job in jobs} | set(replaced)
    kept = {pair_id: record for pair_id, record in records.items() if pair_id not in todo}
    gone = sum(record.source == key and pair_id not in seen for pair_id, record in kept.items())
    return Plan(jobs, kept, replaced, gone, loners)


def _people(films: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names of patients -> the one name of all who share a film: a copy under another name is no other person.

    Parameters
    ----------
    films : patient, and digest of the radiograph.
    """
    groups: dict[str, set[str]] = {}
    shown: dict[str, str] = {}
    for patient, digest in films:
        group = groups.setdefault(patient, {patient})
        group |= groups[shown.setdefault(digest, patient)]
        groups |= dict.fromkeys(group, group)
    return {patient: min(group) for patient, group in groups.items()}


def _written(record: PairRecord, folder: Path) -> bool:
    paths = [folder / PICTURES / f"{record.pair_id}_{kind}.png" for kind in ("cxr", "soft")]
    return record.refused is not None or all(path.exists() for path in paths)


def _replaced(records: Mapping[str, PairRecord], private: Private, key: str, seen: Mapping[str, str]) -> list[str]:
    """Pairs whose name in the source now has other pixels."""
    names = set(seen.values())
    old = [pair_id for pair_id, record in records.items() if record.source == key and pair_id not in seen]
    return [i for i in old if i in private.origins and private.origins[i].name in names]
