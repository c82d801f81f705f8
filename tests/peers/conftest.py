"""What the tests of the reading page share; nothing is imported for the others."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.peers.reading_room import ReadingServer


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A headless Chromium with a profile of its own."""
    from tests.peers.reading_room import running_browser

    with running_browser() as running:
        yield running


@pytest.fixture
def server(tmp_path: Path, free_port: int) -> "Iterator[ReadingServer]":
    """A study of six cases for r1, without a washout to wait for, and its server."""
    from tests.peers.reader import CASES
    from tests.peers.reading_room import ReadingServer, make_study

    study = make_study(tmp_path, CASES, "--washout", "0", "--finding", "nodule")
    with ReadingServer(study, free_port) as running:
        yield running
