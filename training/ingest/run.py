"""From a folder of somebody's pairs to a folder of ours: plan, work, split; the manifest is whole all the time."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from pacs_node.errors import ConfigError
from pacs_node.records import FloatImage
from training.ingest.found import Found, Loner
from training.ingest.layouts import Wish, find_pairs
from training.ingest.manifest import FULL_SCALE, NAME, PICTURES, Manifest, PairRecord, SourceFacts, Tone, Unpaired
from training.ingest.normalise import Recipe, normalise
from training.ingest.plan import Job, Plan, make_plan, recipe_digest
from training.ingest.private import Private
from training.ingest.refusal import Refused
from training.ingest.split import assign_splits

__all__ = ["Order", "Outcome", "Tick", "ingest"]

Tick: TypeAlias = Callable[[Iterable[PairRecord], int], Iterable[PairRecord]]
SAVE_EVERY_S = 5.0  # of work that a power cut may cost
ONE_THREAD = "OMP_NUM_THREADS"


@dataclass(frozen=True, slots=True)
class Order:
    """What to ingest, and how.

    Attributes
    ----------
    name : key of the source in the manifest; the layout's name when None.
    licence : of the set, where the person knows better than we.
    tone : what `open_pairs` gives of this source; "auto" takes what suits the layout.
    """

    source: Path
    folder: Path
    wish: Wish = field(default_factory=Wish)
    recipe: Recipe = field(default_factory=Recipe)
    name: str | None = None
    licence: str | None = None
    tone: Tone | Literal["auto"] = "auto"
    split_seed: int = 0
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an ingest found and did.

    Attributes
    ----------
    key, found : of the source.
    plan : what there was to do.
    records : of this source, all of them, in the manifest's order; of a dry run, those that are done already.
    origins : name in the source, by pair id; for the screen, never for the manifest.
    """

    key: str
    found: Found
    plan: Plan
    records: list[PairRecord]
    origins: dict[str, str]


def ingest(order: Order, *, dry_run: bool = False, tick: Tick | None = None) -> Outcome:
    """Ingest a source into a folder; what is done already is not done again.

    Parameters
    ----------
    dry_run : only look, and write nothing.
    tick : wraps the records as they come and their number, for a progress bar.

    Raises
    ------
    ConfigError
        The source or the folder cannot be used, or the folder holds pairs of another size.
    OSError
        The folder cannot be written, or a source file not be opened.
    """
    found = find_pairs(order.source, order.wish)
    key = order.name or found.layout
    manifest = Manifest.read(order.folder) if (order.folder / NAME).exists() else None
    _require_same_size(manifest, order, key)
    private = Private.open(order.folder, must_exist=manifest is not None)
    plan = make_plan(found, key, order.recipe, order.folder, (manifest, private))
    sources = (manifest.sources if manifest else {}) | {key: _facts(found, order)}
    state = _State(order, key, private, plan, sources, manifest, dict(plan.kept))
    if not dry_run:
        state.work(tick or (lambda records, _: records))
    records = [record for record in state.records.values() if record.source == key]
    names = {pair_id: origin.name for pair_id, origin in private.origins.items()}
    return Outcome(key, found, plan, records, names)


def _require_same_size(manifest: Manifest | None, order: Order, key: str) -> None:
    if manifest is None or manifest.size == order.recipe.size or {r.source for r in manifest.pairs} <= {key}:
        return
    told = f"{order.folder} holds pairs of {manifest.size} px from another source"
    raise ConfigError(f"{told}: give --size {manifest.size}, or another folder")


def _facts(found: Found, order: Order) -> SourceFacts:
    tone = found.tone if order.tone == "auto" else order.tone
    return SourceFacts(
        title=found.title,
        layout=found.layout,
        licence=order.licence or found.licence,
        tone=tone,
        options=order.recipe.facts(),
    )


@dataclass(slots=True)
class _State:
    """A folder while it is worked on: what it held before, what there is to do, and its records as they come."""

    order: Order
    key: str
    private: Private
    plan: Plan
    sources: dict[str, SourceFacts]
    before: Manifest | None
    records: dict[str, PairRecord]

    def work(self, tick: Tick) -> None:
        folder, jobs = self.order.folder, self.plan.jobs
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)
        for stale in (folder / PICTURES).glob(".*.part"):  # of one that was killed
            stale.unlink()
        if self.before is not None:  # now: what is made anew has no split until all of it is made
            self.private.learn_splits(self.before)
        self.private.write(folder)  # before the first picture: its id must be known again
        saved = time.monotonic()
        try:
            for record in tick(_made(jobs, self.order.workers), len(jobs)):
                self.records[record.pair_id] = record
                if time.monotonic() - saved > SAVE_EVERY_S:
                    self.save()
                    saved = time.monotonic()
        except BaseException:
            self.save()  # what is done is done, whatever stopped it
            raise
        self.split()
        self.private.write(folder)
        self.save(self.order.split_seed)
        for pair_id in self.plan.replaced:
            for kind in ("cxr", "soft"):
                (folder / PICTURES / f"{pair_id}_{kind}.png").unlink(missing_ok=True)

    def split(self) -> None:
        """Give every pair that was taken its split; a patient keeps the one that any earlier ingest gave."""
        seed = self.order.split_seed
        names = {r.pair_id: self.private.origins[r.pair_id].patient for r in self.records.values() if not r.refused}
        earlier = self.private.splits.setdefault(seed, {})
        splits = assign_splits(names.values(), seed, earlier)
        earlier |= splits
        for pair_id, patient in names.items():
            known = {"split": splits[patient], "patient": self.private.hashed_patient(patient)}
            self.records[pair_id] = self.records[pair_id].model_copy(update=known)

    def save(self, split_seed: int | None = None) -> None:
        """Write the manifest; without ``split_seed``, the one whose splits its records still have."""
        hashed = self.private.hashed
        loners = [_unpaired(hashed(loner.name), self.key, loner) for loner in self.plan.loners]
        others = [one for one in self.before.unpaired if one.source != self.key] if self.before else []
        pairs = sorted(self.records.values(), key=lambda record: record.pair_id)
        fresh = Manifest(
            size=self.order.recipe.size,
            split_seed=split_seed if split_seed is not None else self.before.split_seed if self.before else 0,
            sources=self.sources,
            pairs=tuple(pairs),
            unpaired=(*others, *loners),
        )
        if fresh != self.before or not (self.order.folder / NAME).exists():
            fresh.write(self.order.folder)


def _unpaired(name: str, source: str, loner: Loner) -> Unpaired:
    return Unpaired(name=name, source=source, reason=loner.reason, explanation=loner.explanation)


def _made(jobs: list[Job], workers: int) -> Iterator[PairRecord]:
    if workers == 1 or len(jobs) < 2:
        yield from map(_make, jobs)
        return
    os.environ.setdefault(ONE_THREAD, "1")  # the processes are the parallel part
    with ProcessPoolExecutor(workers) as pool:
        try:
            yield from pool.map(_make, jobs)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _make(job: Job) -> PairRecord:
    """Make one pair and write its pictures, or say why not."""
    base = PairRecord(
        pair_id=job.pair_id,
        patient=job.patient,
        source=job.source,
        recipe=recipe_digest(job.recipe),
        source_sha256=job.digests,
    )
    try:
        made = normalise(job.cxr, job.soft, job.recipe)
    except Refused as error:
        return base.model_copy(update={"refused": error.reason, "explanation": error.explanation} | error.facts)
    written = tuple(
        _write(job.folder / PICTURES / f"{job.pair_id}_{kind}.png", image)
        for kind, image in (("cxr", made.cxr), ("soft", made.soft))
    )
    return base.model_copy(update=made.facts | {"written_sha256": written})


def _write(path: Path, image: FloatImage) -> str:
    """Write a 16-bit PNG in one step and return the SHA-256 of its bytes."""
    temporary = path.with_name(f".{path.name}.part")
    deep = np.rint(image.clip(0, 1) * FULL_SCALE).astype(np.uint16)
    Image.fromarray(deep).save(temporary, format="PNG")
    digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    temporary.replace(path)
    return digest
