"""`pacs-node send`: files and folders by C-STORE, to the running node unless told otherwise."""

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydicom.misc import is_dicom
from rich.progress import track

from pacs_node.commands.errors import ExitCode
from pacs_node.commands.record import record_command
from pacs_node.commands.terminal import print_json, say, stderr, stdout, table
from pacs_node.config import Peer, Settings, load_settings
from pacs_node.errors import ConfigError
from pacs_node.send.scu import StoreKind, StoreOutcome, find_files, store

__all__ = ["receiver", "run"]

ANYBODY = "ANY-SCP"  # what storescu calls, too, when nobody says otherwise
ROWS_SHOWN = 50


def run(paths: Sequence[Path], *, to: str | None, called_aet: str | None, config: Path | None, as_json: bool) -> int:
    """Send, print a table of statuses; 0 when every file was taken, else 1."""
    settings = load_settings(config)
    peer = receiver(settings, to, called_aet)
    files, passed_over = _chosen(paths)
    outcomes = list(_send(files, peer, settings))
    failed = sum(not outcome.is_delivered for outcome in outcomes)
    record_command(settings, f"send: {len(outcomes) - failed} taken, {failed} not", peer=peer.name)
    facts = {"to": f"{peer.ae_title}@{peer.host}:{peer.port}", "taken": len(outcomes) - failed, "failed": failed}
    if as_json:
        print_json({**facts, "passed_over": passed_over, "files": [_facts(outcome) for outcome in outcomes]})
    else:
        _show(outcomes, facts, passed_over, to)
    return ExitCode.FAILED if failed or not outcomes else ExitCode.DONE


def receiver(settings: Settings, to: str | None, called_aet: str | None) -> Peer:
    """Whom to send to: the node itself, a peer by its name, or HOST:PORT.

    Raises
    ------
    ConfigError
        No peer of that name, or no valid port or AE title.
    """
    node = settings.node
    if to is None:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(node.host, node.host)  # noqa: S104 (compared, not bound)
        return _peer("node", called_aet or node.ae_title, host, node.port)
    for peer in settings.peers:
        if peer.name == to:
            return peer.model_copy(update={"ae_title": called_aet}) if called_aet else peer
    host, separator, port = to.rpartition(":")
    if separator and host:
        return _peer("command line", called_aet or ANYBODY, host.strip("[]"), port)
    names = [peer.name for peer in settings.peers]
    near = difflib.get_close_matches(to, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; the peers are {', '.join(names)}" if names else ""
    raise ConfigError(f"--to {to}: no peer of that name, and not HOST:PORT{hint}")


def _peer(name: str, ae_title: str, host: str, port: int | str) -> Peer:
    try:
        return Peer.model_validate({"name": name.replace(" ", "-"), "ae_title": ae_title, "host": host, "port": port})
    except ValidationError as error:
        wrong = ", ".join(f"{item['loc'][0]} {item['input']!r}" for item in error.errors())
        raise ConfigError(f"cannot send to {ae_title}@{host}:{port}: {wrong} is not valid") from error


def _chosen(paths: Sequence[Path]) -> tuple[list[Path], int]:
    """What to send, and how many files of folders are no DICOM (PS3.10 7.1): folders hold texts and pictures, too.

    Raises
    ------
    ConfigError
        A path does not exist or cannot be read.
    """
    named = {path for path in paths if not path.is_dir()}
    try:
        found = find_files(paths)
        chosen = [path for path in found if is_dicom(path) or path in named]
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be read: {error.strerror}") from error
    return chosen, len(found) - len(chosen)


def _send(files: Sequence[Path], peer: Peer, settings: Settings) -> Iterator[StoreOutcome]:
    outcomes = store(files, peer, settings.node.ae_title, settings.delivery.timeout_s)
    what = f"sending to {peer.ae_title}"
    yield from track(outcomes, what, total=len(files), console=stderr(), transient=True, disable=not files)


def _facts(outcome: StoreOutcome) -> dict[str, str | None]:
    status = None if outcome.status is None else f"0x{outcome.status:04X}"
    return {"file": str(outcome.path), "result": str(outcome.kind), "status": status, "note": outcome.note or None}


def _show(outcomes: Sequence[StoreOutcome], facts: dict[str, Any], passed_over: int, to: str | None) -> None:
    is_short = len(outcomes) <= ROWS_SHOWN
    told = [outcome for outcome in outcomes if is_short or not outcome.is_delivered][:ROWS_SHOWN]
    if told:
        rows = [[cell or "" for cell in _facts(outcome).values()] for outcome in told]
        stdout().print(table(("file", "result", "status", "note"), rows))
    counts = Counter(str(outcome.kind) for outcome in outcomes)
    summary = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "no DICOM file found"
    say(f"{facts['to']}: {summary}" + (f"; {passed_over} files are no DICOM" if passed_over else ""))
    if outcomes and all(outcome.kind is StoreKind.RETRY and outcome.status is None for outcome in outcomes):
        hint = "see pacs-node status, or pacs-node serve" if to is None else "check host, port and AE title"
        say(f"does it listen there? {hint}")
