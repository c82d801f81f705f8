"""A study from a folder of radiographs with companions: blinded, randomised, balanced, with nothing of a patient in it.

::

    STUDY/study.json     cases, truth, plan           for those who run the study: it says who reads what how
    STUDY/images/        16-bit grey PNG              named by a digest: neither source nor arm can be told
    STUDY/tokens.json    reader -> secret of a link
    STUDY/answers.jsonl  comes with the first answer
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacs_node.errors import ConfigError
from pacs_node.records import FloatImage
from training.readers.durable import write_atomically
from training.readers.plan import case_names, crossover, practice
from training.readers.records import ANSWERS, STUDY, Study, StudyCase, Truth, open_study, read_answers, write_study
from training.readers.sources import Pair, Unusable
from training.readers.tokens import TOKENS, keep_tokens

__all__ = ["IMAGES", "Made", "Wish", "make_study", "write_key"]

IMAGES = "images"
WHITE = 65535
OURS = {STUDY, ANSWERS, TOKENS, IMAGES}


@dataclass(frozen=True, slots=True)
class Wish:
    """What kind of study; ``practice`` is how many of the cases are for practice only."""

    title: str
    finding: str
    readers: tuple[str, ...]
    seed: int
    practice: int
    washout_days: int


@dataclass(frozen=True, slots=True)
class Made:
    """The study, the source of each of its cases, why pairs were left out, and whether anything was written."""

    study: Study
    sources: Mapping[str, str]
    left_out: Mapping[str, str]
    written: bool


def make_study(folder: Path, pairs: Iterable[Pair], truth: Mapping[str, Truth], wish: Wish) -> Made:
    """Make the study, or find that it is made.

    Parameters
    ----------
    folder : STUDY; absent, empty, or holding a study.
    pairs : each is loaded once.
    truth : by the names of the pairs.

    Raises
    ------
    ConfigError
        The folder holds other things, or another study that has answers; fewer than two cases can be read; a lesion
        lies outside of its radiograph.
    DiskFull
    """
    has_answers = _claim(folder)
    cases, left_out = {}, {}
    for pair in pairs:
        try:
            cases[pair.name] = _case(pair, truth.get(pair.name), wish.seed, None if has_answers else folder / IMAGES)
        except Unusable as error:
            left_out[pair.name] = str(error)
    _require_enough(len(cases), wish.practice, left_out)
    study, sources = _planned(cases, wish)
    earlier = open_study(folder) if (folder / STUDY).exists() else None
    if has_answers and earlier != study:
        raise ConfigError(f"{folder} holds answers to another study: choose another folder")
    if earlier != study:
        write_study(folder, study)
        _remove_others(folder / IMAGES, study)
    keep_tokens(folder, study.readers)
    return Made(study, sources, left_out, written=earlier != study)


def write_key(path: Path, made: Made) -> None:
    """Say which case is which radiograph, as CSV that only its owner may read. Raises DiskFull."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("case", "source"))
    rows.writerows(sorted(made.sources.items()))
    write_atomically(path, text.getvalue().encode(), mode=0o600)


def _claim(folder: Path) -> bool:
    """Refuse a folder with other things in it; whether it holds answers."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is no folder")
    # a killed command may have left an unfinished file
    others = sorted(path.name for path in folder.glob("*") if path.name not in OURS and path.suffix != ".part")
    if others:
        raise ConfigError(f"{folder} holds other files, such as {others[0]}: choose an empty folder")
    if read_answers(folder):
        return True
    try:
        (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from error
    return False


def _case(pair: Pair, truth: Truth | None, seed: int, images: Path | None) -> StudyCase:
    """The pair without its name; ``images`` gets its pictures unless it is None."""
    source, companion = pair.load()
    rows, columns = source.shape
    for lesion in truth.lesions if truth else ():
        if not (0 <= lesion.x <= columns - 1 and 0 <= lesion.y <= rows - 1):
            raise ConfigError(f"a lesion of {pair.name} lies at {lesion.x:g}, {lesion.y:g}, outside of its radiograph")
    names = [_stored(image, seed, images) for image in (source, companion)]
    return StudyCase(case="", rows=rows, columns=columns, image=names[0], companion=names[1], truth=truth)


def _stored(image: FloatImage, seed: int, images: Path | None) -> str:
    """Name of an image in the study: a digest of its grey levels, so that the same image is the same file."""
    levels = np.rint(np.clip(image, 0, 1) * np.float32(WHITE)).astype("<u2")
    digest = hashlib.sha256(f"{seed} {levels.shape}".encode() + levels.tobytes()).hexdigest()
    name = f"{digest[:20]}.png"
    if images is not None and not (images / name).exists():
        write_atomically(images / name, _png(levels))
    return f"{IMAGES}/{name}"


def _png(levels: NDArray[np.uint16]) -> bytes:
    """Grey levels and nothing else: no text, no time."""
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, "PNG")
    return stream.getvalue()


def _require_enough(count: int, practised: int, left_out: Mapping[str, str]) -> None:
    if count - practised < 2:
        reasons = "".join(f"; {name}: {reason}" for name, reason in left_out.items())
        told = f"{count} pairs can be read, of which {practised} to practise on: two more are needed"
        raise ConfigError(f"{told}{reasons}")


def _planned(loaded: Mapping[str, StudyCase], wish: Wish) -> tuple[Study, dict[str, str]]:
    """The study of these cases, and the source of each."""
    rng = np.random.default_rng(wish.seed)
    names = case_names(len(loaded), rng)
    cases = {
        name: case.model_copy(update={"case": name})
        for name, (_, case) in zip(names, sorted(loaded.items()), strict=True)
    }
    sources = dict(zip(names, sorted(loaded), strict=True))
    training = rng.permutation(sorted(cases)).tolist()[: wish.practice]
    strata = _strata([case for name, case in cases.items() if name not in training])
    study = Study(
        title=wish.title,
        finding=wish.finding,
        readers=wish.readers,
        seed=wish.seed,
        washout_days=wish.washout_days,
        cases=tuple(cases[name] for name in sorted(cases)),
        plan=tuple(practice(training, wish.readers) + crossover(strata, wish.readers, rng)),
    )
    return study, sources


def _strata(cases: Sequence[StudyCase]) -> list[list[str]]:
    """Cases with a lesion, without one, and those nobody knows about."""
    groups: list[list[str]] = [[], [], []]
    for case in cases:
        groups[2 if case.truth is None else int(not case.truth.lesions)].append(case.case)
    return groups


def _remove_others(images: Path, study: Study) -> None:
    """Images of an earlier study in this folder, which nobody answered."""
    kept = {name for case in study.cases for name in (case.image, case.companion)}
    for path in images.iterdir():
        if f"{IMAGES}/{path.name}" not in kept:
            path.unlink()
