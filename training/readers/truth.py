"""The truth file: which of the radiographs have lesions, and where.

CSV with the columns `name,x,y,radius,kind`, a line for each lesion; a line with nothing but a name says that there is
none. Or JSON, `{"NAME": [{"x": 1, "y": 2, "radius": 3, "kind": "nodule"}, ...]}`. Who is not named is not known.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pacs_node.errors import ConfigError
from training.readers.records import Lesion, Truth
from training.readers.sources import Pair

__all__ = ["assign_truth", "read_truth"]

COLUMNS = ("name", "x", "y", "radius", "kind")
NUMBERS = ("x", "y", "radius")


def read_truth(path: Path) -> dict[str, Truth]:
    """Name of a radiograph -> what is known about it.

    Raises
    ------
    ConfigError
        The file cannot be read; the message says where.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return _json(path, text) if path.suffix.lower() == ".json" else _csv(path, text)


def assign_truth(truth: Mapping[str, Truth], pairs: Sequence[Pair]) -> dict[str, Truth]:
    """The truth by the names of the pairs.

    Raises
    ------
    ConfigError
        A name stands for no pair, for several, or two names for one: a slip here would spoil every figure.
    """
    assigned: dict[str, Truth] = {}
    for name, known in truth.items():
        meant = [pair.name for pair in pairs if name in pair.names]
        if len(meant) != 1:
            told = f"{len(meant)} radiographs" if meant else "no radiograph with a companion"
            raise ConfigError(f"{name!r} of the truth file is {told} in the folder")
        if meant[0] in assigned:
            raise ConfigError(f"{name!r} of the truth file is a second name of {meant[0]}")
        assigned[meant[0]] = known
    return assigned


def _json(path: Path, text: str) -> dict[str, Truth]:
    try:
        told = json.loads(text, object_pairs_hook=_once)
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(told, dict):
        raise ConfigError(f'{path} has to be an object, {{"NAME": [lesions]}}')
    return {name: _truth(f"{path}, {name!r}", _lesions(entry)) for name, entry in told.items()}


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names come once; of two lesions lists of one name, JSON would take the last without a word."""
    found = dict(members)
    if len(found) < len(members):
        names = [name for name, _ in members]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} comes twice")
    return found


def _lesions(entry: Any) -> Any:
    """The list of lesions, or an object that holds one as `study.json` does."""
    return entry.get("lesions") if isinstance(entry, dict) else entry


def _csv(path: Path, text: str) -> dict[str, Truth]:
    rows = csv.DictReader(text.splitlines())
    if rows.fieldnames is None or set(rows.fieldnames) - set(COLUMNS) or not {"name", *NUMBERS} <= set(rows.fieldnames):
        raise ConfigError(f"{path} needs the columns {','.join(COLUMNS)} (kind may be left out)")
    found: dict[str, list[dict[str, Any]]] = {}
    for number, row in enumerate(rows, start=2):
        if not row["name"] or None in row:
            raise ConfigError(f"{path}, line {number}: no name, or more values than columns")
        lesions = found.setdefault(row["name"], [])
        if any(row[key] for key in NUMBERS):
            lesions.append({key: value for key, value in row.items() if key != "name" and value})
    return {name: _truth(f"{path}, {name!r}", lesions) for name, lesions in found.items()}


def _truth(where: str, lesions: Any) -> Truth:
    if not isinstance(lesions, list):
        raise ConfigError(f"{where}: a list of lesions is expected")
    try:
        return Truth(lesions=tuple(Lesion.model_validate(lesion) for lesion in lesions))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {place} of a lesion: {first['msg']}") from None
