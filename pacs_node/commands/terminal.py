"""Two streams: results on stdout, everything said on the way on stderr, so that `--json` can be piped."""

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["print_json", "say", "stderr", "stdout", "table"]


CONTROLS = frozenset({"Cc", "Cs"})  # control characters, and bytes of a name that is no text
PIPE_WIDTH = 1000  # columns; in a file or a pipe a row stays one line, for grep


def stdout() -> Console:
    """A console for results."""
    return Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def stderr() -> Console:
    """A console for progress and messages."""
    return Console(stderr=True, highlight=False, emoji=False, width=None if sys.stderr.isatty() else PIPE_WIDTH)


def say(message: str) -> None:
    """One message on stderr; rich markup is not interpreted, for paths may hold brackets."""
    stderr().print(message, markup=False)


def print_json(value: object) -> None:
    """The only output of a command with `--json`: one JSON document on stdout.

    In ASCII: a terminal may have another character set than UTF-8, and the name of a file may be in none.
    """
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    """A table of texts; a cell is never read as markup."""
    made = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def _cell(value: object) -> str:
    """Control characters as Python writes them: a file's name from a CD may hold what commands a terminal."""
    text = "" if value is None else str(value)
    return escape("".join(repr(each)[1:-1] if unicodedata.category(each) in CONTROLS else each for each in text))
