"""An SQLite without `unixepoch('subsec')` gets one, so that the queue also runs on Python 3.12 on Debian 12."""

import time

import pytest
from sqlalchemy import Engine, create_engine, event, text

from pacs_node.jobs import old_sqlite


@pytest.fixture
def old_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's SQLite says that it is old; the function we give it replaces its own in either case."""
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 40, 1))


@pytest.mark.usefixtures("old_version")
def test_a_column_default_in_milliseconds_is_filled() -> None:
    old_sqlite.provide_subsecond_time()
    with create_engine("sqlite://").begin() as connection:
        connection.execute(
            text("CREATE TABLE t (id INTEGER, at INTEGER NOT NULL DEFAULT (unixepoch('subsec') * 1000))")
        )
        before = time.time()
        connection.execute(text("INSERT INTO t (id) VALUES (1)"))
        at = float(connection.execute(text("SELECT at FROM t")).scalar_one()) / 1000
    assert before - 0.001 <= at <= time.time() + 0.001  # the column holds whole milliseconds


@pytest.mark.usefixtures("old_version")
def test_asking_twice_listens_once() -> None:
    old_sqlite.provide_subsecond_time()
    old_sqlite.provide_subsecond_time()
    assert event.contains(Engine, "connect", old_sqlite._add_function)
    event.remove(Engine, "connect", old_sqlite._add_function)
    assert not event.contains(Engine, "connect", old_sqlite._add_function)
