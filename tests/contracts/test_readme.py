"""The README's commands run as they are written, in their order, in one folder; its settings are valid."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from pacs_node.config import load_settings
from pacs_node.demo import LoopbackPacs, free_port
from tests.conftest import REPOSITORY
from tests.contracts.running import serving

NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+) -->")
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Block:
    language: str
    body: str
    not_run: str | None  # the reason, where there is one

    @property
    def commands(self) -> list[str]:
        return [line.removeprefix("$ ") for line in self.body.splitlines() if line.startswith("$ ")]


def blocks(text: str) -> list[Block]:
    found, before = [], ""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("```") and len(line) > 3:
            body = []
            while (inner := next(lines)) != "```":
                body.append(inner)
            mark = NOT_RUN.fullmatch(before.strip())
            found.append(Block(line[3:], "\n".join(body), mark["reason"] if mark else None))
        before = line
    return found


README = blocks((REPOSITORY / "README.md").read_text(encoding="utf-8"))
COMMANDS = [
    command for block in README if block.language == "console" and not block.not_run for command in block.commands
]
MAKE_COMMANDS = [command for command in COMMANDS if command.startswith("make ")]
TOUR = [command for command in COMMANDS if not command.startswith("make ")]


def environment(pacs_port: int) -> Mapping[str, str]:
    """What a reader's shell has, with ports of our own: theirs may be taken here."""
    peers = [{"name": "pacs", "ae_title": "ORTHANC", "host": "127.0.0.1", "port": pacs_port}]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PACS_NODE_")}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "VENV": sys.prefix,
        "PACS_NODE_NODE__PORT": str(free_port()),
        "PACS_NODE_PEERS": json.dumps(peers),
    }


def run(command: str, folder: Path, shell: Mapping[str, str]) -> str:
    done = subprocess.run(
        shlex.split(command), cwd=folder, env=shell, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_readme_has_commands_and_says_why_others_do_not_run() -> None:
    assert MAKE_COMMANDS == ["make demo", "make serve"]
    assert len(TOUR) >= 7
    assert all(block.language in ("console", "toml", "json", "") for block in README)


def test_the_tour_runs_as_written_and_a_companion_comes_back(tmp_path: Path) -> None:
    pacs_folder, folder = tmp_path / "pacs", tmp_path / "reader"
    pacs_folder.mkdir()
    folder.mkdir()
    pacs = LoopbackPacs(pacs_folder)
    shell = environment(pacs.port)
    with ExitStack() as running:
        running.enter_context(pacs.listening())
        for command in TOUR:
            if command.endswith(" serve"):
                running.enter_context(serving(shlex.split(command), folder, shell))
                continue
            run(command, folder, shell)
        assert pacs.wait(PATIENCE_S) is not None, "what was sent on the tour had no companion"
    for name in ("demo/before_after.png", "companion.dcm", "before_after.png"):
        assert (folder / name).is_file()


def test_the_make_commands_run_as_written(tmp_path: Path) -> None:
    if not list(Path(sys.prefix).glob(".ready-serve-*")):
        pytest.skip("this environment was not set up by `make test`: make would install into it again")
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    shell = environment(free_port())
    for command in MAKE_COMMANDS:
        if command.endswith(" serve"):
            with serving(shlex.split(command), tmp_path, shell) as program:
                assert f"127.0.0.1:{shell['PACS_NODE_NODE__PORT']}" in program.text()
        else:
            run(command, tmp_path, shell)
    assert (tmp_path / "demo" / "before_after.png").is_file()


def test_the_settings_in_the_readme_are_valid_and_fit_those_of_orthanc(tmp_path: Path) -> None:
    toml, orthanc = (next(block.body for block in README if block.language == name) for name in ("toml", "json"))
    path = tmp_path / "config.toml"
    path.write_text(toml, encoding="utf-8")
    settings = load_settings(path)
    told = json.loads(orthanc)
    assert told["DicomModalities"]["pacs-node"][::2] == [settings.node.ae_title, settings.node.port]
    assert (told["DicomAet"], told["DicomPort"]) == (settings.peers[0].ae_title, settings.peers[0].port)
