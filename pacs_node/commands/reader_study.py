"""`pacs-node reader-study make` and `read`: a study from radiographs with companions, and the page it is read on."""

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich.progress import track

from pacs_node.commands.errors import ExitCode
from pacs_node.commands.terminal import print_json, say, stderr, stdout, table
from pacs_node.errors import ConfigError

if TYPE_CHECKING:
    from training.readers.make import Made
    from training.readers.serve import PageServer

__all__ = ["Request", "make_command", "read_command"]

LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class Request:
    """What `make` was asked for; ``folder`` gets the study that ``studies`` are taken for."""

    folder: Path
    studies: Path
    truth: Path | None
    readers: int
    practice: int
    seed: int
    title: str
    finding: str
    washout_days: int
    key: Path | None


def make_command(request: Request, *, as_json: bool) -> int:
    """Make the study and say what is in it.

    Raises
    ------
    ConfigError
        Nothing can be made of the folder, or STUDY holds something else.
    """
    from training.readers.make import Wish, make_study, write_key  # noqa: PLC0415 - slow, and not for --help
    from training.readers.sources import find_pairs  # noqa: PLC0415
    from training.readers.truth import assign_truth, read_truth  # noqa: PLC0415

    if request.key is not None and request.folder.resolve() in request.key.resolve().parents:
        raise ConfigError("the key must not lie in the study that it opens: give --key another folder")
    if request.key is not None and not request.key.resolve().parent.is_dir():
        raise ConfigError(f"there is no folder {request.key.parent}")
    found = find_pairs(request.studies)
    truth = assign_truth(read_truth(request.truth), found.pairs) if request.truth else {}
    readers = tuple(f"r{number}" for number in range(1, request.readers + 1))
    wish = Wish(request.title, request.finding, readers, request.seed, request.practice, request.washout_days)
    bar = track(found.pairs, "writing images", console=stderr(), disable=as_json)
    made = make_study(request.folder, bar, truth, wish)
    if request.key is not None:
        write_key(request.key, made)
    left_out = found.left_out | dict(made.left_out)
    for name, reason in left_out.items():
        say(f"left out {name}: {reason}")
    _show(request, made, left_out, as_json=as_json)
    return ExitCode.FAILED if made.left_out else ExitCode.DONE


def _show(request: Request, made: "Made", left_out: dict[str, str], *, as_json: bool) -> None:
    study = made.study
    known = [case.truth for case in study.scored if case.truth is not None]
    facts = {
        "study": str(request.folder),
        "written": made.written,
        "cases": len(study.scored),
        "practice": request.practice,
        "with_lesion": sum(bool(truth.lesions) for truth in known),
        "without_lesion": sum(not truth.lesions for truth in known),
        "truth_unknown": len(study.scored) - len(known),
        "readers": list(study.readers),
        "washout_days": study.washout_days,
        "seed": study.seed,
    }
    if as_json:
        print_json(facts | {"left_out": left_out})
        return
    facts["readers"] = ", ".join(study.readers)
    facts["written"] = "yes" if made.written else "no, it was made before"
    stdout().print(table(("what", "value"), [(name.replace("_", " "), value) for name, value in facts.items()]))
    stdout().print(f"to read it: pacs-node reader-study read {request.folder} --reader r1", markup=False)


def read_command(folder: Path, readers: Sequence[str], *, host: str, port: int, as_json: bool) -> int:
    """Serve until SIGTERM or Ctrl-C.

    Raises
    ------
    ConfigError
        There is no such study or reader, or the port is taken.
    """
    from training.readers.reading import Reading  # noqa: PLC0415 - see above
    from training.readers.records import open_study, read_answers  # noqa: PLC0415
    from training.readers.serve import PageServer  # noqa: PLC0415
    from training.readers.tokens import keep_tokens  # noqa: PLC0415

    study = open_study(folder)
    read_answers(folder)  # a damaged file is told before anybody reads
    unknown = [reader for reader in readers if reader not in study.readers]
    if unknown:
        raise ConfigError(f"{folder} has no reader {unknown[0]}: it has {', '.join(study.readers)}")
    tokens = keep_tokens(folder, study.readers)
    links = {reader: tokens[reader] for reader in readers or study.readers}
    server = PageServer({token: Reading(folder, study, reader) for reader, token in links.items()}, host, port)
    if host not in LOOPBACK:
        say(f"{host} can be reached from other machines: links and images go over the network without encryption")
    _serve(
        server, {reader: f"http://{host}:{server.server_port}/r/{token}/" for reader, token in links.items()}, as_json
    )
    return ExitCode.DONE


def _serve(server: "PageServer", links: dict[str, str], as_json: bool) -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    if as_json:
        print_json({"links": links})
    else:
        for reader, link in links.items():
            stdout().print(f"{reader}  {link}", markup=False)
        say("open a link in a browser of this machine; Ctrl-C ends. Research use only.")
    sys.stdout.flush()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("stopped; every answer that the page called saved is kept")
    finally:
        server.stop()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
