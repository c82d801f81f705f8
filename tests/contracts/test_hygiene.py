"""What must not stand in the source: places of one machine, and patients in the log."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacs_node import errors
from tests.conftest import REPOSITORY

PACKAGES = ("pacs_node", "model", "export", "training", "tests")
SOURCES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))
TEXTS = [*SOURCES, *REPOSITORY.glob("*.md"), *REPOSITORY.glob("*.toml"), *(REPOSITORY / "docs").rglob("*.md")]
MACHINE_PATHS = ("/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/")
LOG_METHODS = {"debug", "info", "warning", "error", "critical", "exception", "log"}
# A data set, and the text of somebody else's exception, may quote a patient; so may these attributes.
WHOLE_OBJECTS = {"ds", "dataset", "data_set", "error", "exception", "companion", "radiograph", "inference"}
IDENTIFYING = (
    "Patient",
    "Physician",
    "Operators",
    "AccessionNumber",
    "StudyDate",
    "StudyID",
    "BirthDate",
    "UID",
    "_uid",
)
MAX_LINES = 400


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def test_no_path_of_one_machine_stands_in_a_file() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in TEXTS}
    assert [(name_of(path), place) for path in TEXTS for place in MACHINE_PATHS if place in texts[path]] == []


def test_no_file_is_longer_than_the_house_allows() -> None:
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


OURS = {name for name in errors.__all__ if name != "ReasonCode"}  # their messages are sentences of ours


def is_ours(kind: ast.expr | None) -> bool:
    names = {node.id for node in ast.walk(kind) if isinstance(node, ast.Name)} if kind is not None else set()
    return bool(names) and names <= OURS


def is_about_our_error(tree: ast.AST, call: ast.Call) -> bool:
    """Whether the call stands in `except Ours as error`, or in a function that is given `error: Ours`."""
    around = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler | ast.FunctionDef)]
    around = [node for node in around if node.lineno <= call.lineno <= (node.end_lineno or 0)]
    caught = any(isinstance(node, ast.ExceptHandler) and is_ours(node.type) for node in around)
    given = [argument for node in around if isinstance(node, ast.FunctionDef) for argument in node.args.args]
    return caught or any(argument.arg == "error" and is_ours(argument.annotation) for argument in given)


def log_calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner = node.func.value
        named = owner.id if isinstance(owner, ast.Name) else ""
        if node.func.attr in LOG_METHODS and named in ("log", "logger", "logging"):
            yield node


def told(value: ast.expr) -> Iterator[str]:
    """What a logged expression may show: whole objects and identifying attributes."""
    if isinstance(value, ast.Name) and value.id in WHOLE_OBJECTS:
        yield value.id
    if isinstance(value, ast.Call) and not (isinstance(value.func, ast.Name) and value.func.id in ("str", "repr")):
        return  # len(ds), type(error): a number or a name of ours
    for node in ast.walk(value):
        label = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        if any(word in label for word in IDENTIFYING):
            yield label
    for node in ast.iter_child_nodes(value):
        if isinstance(value, ast.JoinedStr | ast.FormattedValue | ast.Call) and isinstance(node, ast.expr):
            yield from told(node)


def test_the_log_shows_no_patient_no_uid_and_no_foreign_text() -> None:
    found = []
    for path in (path for path in SOURCES if path.is_relative_to(REPOSITORY / "pacs_node")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for call in log_calls(tree):
            place = f"{name_of(path)}:{call.lineno}"
            shown = {name for value in call.args for name in told(value)}
            found += [(place, name) for name in shown - ({"error"} if is_about_our_error(tree, call) else set())]
            found += [(place, "a traceback") for keyword in call.keywords if keyword.arg == "exc_info"]
            if isinstance(call.func, ast.Attribute) and call.func.attr == "exception":
                found.append((place, "log.exception"))
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        'log.info("%s", ds)',
        'log.info(f"{ds.PatientName}")',
        'log.info("%s", str(error))',
        'log.info("%s", x.SOPInstanceUID)',
    ],
)
def test_the_search_for_patients_in_the_log_finds_them(line: str) -> None:
    (call,) = log_calls(ast.parse(line))
    assert [name for value in call.args for name in told(value)]
