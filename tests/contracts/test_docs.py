"""Documents are tested: what they list is complete, what they link to exists."""

import re
from pathlib import Path

import pytest

from pacs_node.commands.config import reference_text
from pacs_node.commands.errors import ExitCode
from pacs_node.errors import ReasonCode
from tests.conftest import REPOSITORY
from tests.unit.test_cli import COMMANDS

DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_the_reference_of_every_key_is_current() -> None:
    """To mend: replace the table of docs/configuration.md by the output of `pacs-node config reference`."""
    assert reference_text() in read("docs/configuration.md")


@pytest.mark.parametrize("reason", ReasonCode)
def test_every_reason_code_is_explained(reason: ReasonCode) -> None:
    assert f"| `{reason}` |" in read("docs/operations.md")


def test_every_exit_code_is_explained() -> None:
    codes = [value for name, value in vars(ExitCode).items() if name.isupper()]
    table = read("docs/operations.md")
    assert [code for code in codes if f"| {code} |" not in table] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_relative_links_lead_somewhere(document: Path) -> None:
    targets = [link.partition("#")[0] for link in LINK.findall(document.read_text(encoding="utf-8"))]
    relative = [target for target in targets if target and "://" not in target and not target.startswith("mailto:")]
    assert [target for target in relative if not (document.parent / target).exists()] == []


def test_every_command_is_shown_somewhere() -> None:
    told = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    assert [words for words in COMMANDS if f"pacs-node {' '.join(words)}" not in told] == []


def test_research_use_stands_at_the_top_of_the_readme() -> None:
    assert "research use" in "".join(read("README.md").splitlines(keepends=True)[:8]).lower()
