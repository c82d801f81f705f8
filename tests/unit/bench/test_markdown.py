"""Tables between the marks of a document."""

from pathlib import Path

import pytest

from pacs_node.bench.markdown import MarkMissing, as_markdown, replace_between, update_document
from pacs_node.bench.rows import Grid

TEXT = "Before.\n<!-- bench -->\nold\n<!-- /bench -->\nBetween.\n<!-- soak -->\nkept\n<!-- /soak -->\nAfter.\n"


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    assert replace_between(TEXT, "bench", r"new \1 | $&") == TEXT.replace("old", r"new \1 | $&")


def test_replacing_twice_is_replacing_once() -> None:
    once = replace_between(TEXT, "bench", "new")
    assert replace_between(once, "bench", "new") == once


@pytest.mark.parametrize("text", ["", "<!-- bench -->", "<!-- /bench --> <!-- bench -->"])
def test_a_document_without_both_marks_is_refused(text: str) -> None:
    with pytest.raises(MarkMissing, match="<!-- bench -->"):
        replace_between(text, "bench", "new")


def test_a_document_that_lacks_one_mark_is_not_changed(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(TEXT, encoding="utf-8")
    with pytest.raises(MarkMissing):
        update_document(document, {"bench": "new", "sizes": "new"})
    assert document.read_text(encoding="utf-8") == TEXT


def test_a_document_that_does_not_exist_is_made_of_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    update_document(document, {"bench": "first"})
    update_document(document, {"bench": "second"})
    assert document.read_text(encoding="utf-8") == "<!-- bench -->\nsecond\n<!-- /bench -->\n"


def test_a_cell_cannot_break_its_row() -> None:
    text = as_markdown([Grid("Title", ("a", "b"), [("x|y", None), ("one\ntwo", 3)])], ["A note."])
    assert text.splitlines() == [
        "**Title**",
        "",
        "| a | b |",
        "| --- | --- |",
        "| x\\|y |  |",
        "| one two | 3 |",
        "",
        "A note.",
    ]
