"""`pacs-node ingest`: somebody's pairs -> pairs of one form with a manifest."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from rich.progress import track

from pacs_node.commands.errors import ExitCode
from pacs_node.commands.interrupt import resumable
from pacs_node.commands.terminal import print_json, say, stderr, stdout, table
from pacs_node.errors import ConfigError
from training.ingest.layouts import Wish
from training.ingest.manifest import PairRecord
from training.ingest.normalise import Recipe
from training.ingest.run import Order, Outcome, ingest
from training.ingest.split import SPLITS

__all__ = ["order_of", "run"]

SHOWN = 20  # of what was left out; --json has all
UNSURE = 0.4  # of `chest_score`


def order_of(folders: tuple[Path, Path], choice: dict[str, Any], recipe: dict[str, Any], rest: dict[str, Any]) -> Order:
    """What the options of the command ask for.

    Parameters
    ----------
    folders : to read, to write.
    choice, recipe, rest : fields of `training.ingest.layouts.Wish`, of `training.ingest.normalise.Recipe` and of
        `training.ingest.run.Order`.

    Raises
    ------
    ConfigError
        The patient's expression cannot be used.
    """
    wish = Wish(**choice | {"patient": _pattern(choice["patient"])})
    return Order(*folders, wish, Recipe(**recipe), **rest)


def run(order: Order, *, dry_run: bool, as_json: bool) -> int:
    """Ingest, and say what was taken and what was left out; 1 if anything was, else 0.

    Raises
    ------
    ConfigError
        The source or the folder cannot be used; the message says what to change.
    DiskFull
        The pictures do not fit.
    """
    if order.source.resolve() == order.folder.resolve():
        raise ConfigError(f"{order.source} is only read: name another folder with -o")
    if all((order.source / name).is_file() for name in ("manifest.json", "private.json")):
        raise ConfigError(f"{order.source} was ingested already: give it to pacs-node train --data or evaluate --pairs")
    with resumable(order.folder):
        outcome = ingest(order, dry_run=dry_run, tick=None if as_json else _bar)
    left_out = _left_out(outcome)
    if as_json:
        print_json(_facts(order, outcome, left_out, dry_run=dry_run))
    else:
        _show(order, outcome, left_out, dry_run=dry_run)
    return ExitCode.FAILED if left_out else ExitCode.DONE


def _pattern(text: str | None) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise ConfigError(f"--patient {text} is no regular expression: {error}") from None


def _bar(records: Iterable[PairRecord], total: int) -> Iterable[PairRecord]:
    return track(records, "ingesting pairs", total=total, console=stderr(), disable=not total)


def _left_out(outcome: Outcome) -> list[tuple[str, str, str]]:
    """Name in the source, reason and explanation of every pair or file that was not taken."""
    loners = [(loner.name, str(loner.reason), loner.explanation) for loner in outcome.plan.loners]
    refused = [
        (outcome.origins.get(record.pair_id, record.pair_id), record.refused, record.explanation or "")
        for record in outcome.records
        if record.refused
    ]
    return loners + sorted(refused)


def _facts(order: Order, outcome: Outcome, left_out: list[tuple[str, str, str]], *, dry_run: bool) -> dict[str, Any]:
    taken = [record for record in outcome.records if not record.refused]
    splits = Counter(record.split for record in taken)
    unsure = [
        outcome.origins[r.pair_id] for r in taken if (r.chest_score or 0) < UNSURE and r.pair_id in outcome.origins
    ]
    return {
        "folder": str(order.folder),
        "source": outcome.key,
        "layout": outcome.found.layout,
        "title": outcome.found.title,
        "licence": order.licence or outcome.found.licence,
        "dry_run": dry_run,
        "found": len(outcome.found.pairs),
        "to_do" if dry_run else "made": len(outcome.plan.jobs),
        "taken": len(taken),
        "splits": {split: splits[split] for split in SPLITS},
        "no_longer_in_source": outcome.plan.gone,
        "inverted": sum(record.cxr_inverted or record.soft_inverted for record in taken),
        "residual_before_px": _middle(record.residual_before_px for record in taken),
        "residual_px": _middle(record.residual_px for record in taken),
        "polarity_unsure": unsure,
        "left_out": [{"name": name, "reason": reason, "explanation": told} for name, reason, told in left_out],
    }


def _middle(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(median(known), 2) if known else None


def _show(order: Order, outcome: Outcome, left_out: list[tuple[str, str, str]], *, dry_run: bool) -> None:
    facts = _facts(order, outcome, left_out, dry_run=dry_run)
    splits = ", ".join(f"{count} {split}" for split, count in facts["splits"].items())
    rows: list[tuple[str, object]] = [
        ("set", f"{facts['title']}, licence {facts['licence'] or 'not stated: --licence'}"),
        ("pairs found", facts["found"]),
        ("to do" if dry_run else "made now", len(outcome.plan.jobs)),
        ("taken", f"{facts['taken']} ({splits})" if facts["taken"] else 0),
        ("left out", len(left_out)),
    ]
    if facts["residual_px"] is not None:
        told = f"{facts['residual_before_px']} px, after registration {facts['residual_px']} px (medians, at 1024)"
        rows.append(("displacement", told))
    if facts["inverted"]:
        rows.append(("negatives", f"{facts['inverted']} turned positive"))
    stdout().print(table(("what", "value"), rows))
    if left_out:
        stdout().print(table(("left out", "reason", "explanation"), left_out[:SHOWN]))
    if len(left_out) > SHOWN:
        say(f"and {len(left_out) - SHOWN} more; --json lists them all")
    _advise(order, facts, dry_run=dry_run)


def _advise(order: Order, facts: dict[str, Any], *, dry_run: bool) -> None:
    if facts["no_longer_in_source"]:
        say(f"{facts['no_longer_in_source']} pairs of {order.folder} are in {order.source} no more; they are kept")
    if facts["polarity_unsure"]:
        names = ", ".join(facts["polarity_unsure"][:5])
        say(f"look whether these are positives: {names}; --polarity says it for all")
    if facts["taken"] and not dry_run:
        say(f"next: pacs-node train all -o RUN --data {order.folder}")
