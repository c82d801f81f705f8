"""A reader at the reading page: a real server in its own process, a real Chromium, dots at known places."""

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from pacs_node.cli import main
from tests.conftest import REPOSITORY
from tests.peers.node import PATIENCE_S, wait_until
from training.readers.records import Answer, Planned, Study, latest, open_study, read_answers

__all__ = [
    "PATIENCE_MS",
    "ROWS",
    "ReadingServer",
    "dot_of",
    "dot_on_screen",
    "make_study",
    "new_page",
    "running_browser",
]

PATIENCE_MS = PATIENCE_S * 1000
ROWS, COLUMNS = 300, 256
HIDDEN = "hidden-truth"  # stands in the truth file, and nowhere that a browser may see
QUIET = (  # no browser of a test speaks to anybody but the server
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-default-apps",
    "--no-first-run",
    "--no-default-browser-check",
)


def make_study(folder: Path, cases: int, *options: str) -> Path:
    """STUDY of grey cases, each with one white dot at a place of its own in both of its images."""
    pairs, rng = folder / "pairs", np.random.default_rng(5)
    pairs.mkdir(parents=True)
    truth = ["name,x,y,radius,kind"]
    for number in range(cases):
        x, y = int(rng.integers(40, COLUMNS - 40)), int(rng.integers(60, ROWS - 60))
        for kind, low in (("cxr", 0.15), ("soft", 0.3)):
            save_case(pairs / f"p_{number}_{kind}.png", low, x, y)
        truth.append(f"p_{number},{x},{y},5,{HIDDEN}" if number % 2 else f"p_{number},,,,")
    (folder / "truth.csv").write_text("\n".join(truth), encoding="utf-8")
    arguments = [str(pairs), "-o", str(folder / "study"), "--truth", str(folder / "truth.csv"), *options]
    assert main(["reader-study", "make", *arguments]) == 0
    return folder / "study"


def save_case(path: Path, low: float, x: int, y: int) -> None:
    """Two dark lungs, so that it counts as a positive, and the dot."""
    down, right = np.mgrid[0:ROWS, 0:COLUMNS]
    lungs = sum(
        np.exp(-((((right / COLUMNS - at) / 0.15) ** 2 + ((down / ROWS - 0.5) / 0.3) ** 2) ** 2)) for at in (0.3, 0.7)
    )
    image = 0.75 - (0.75 - low) * lungs
    image[y - 1 : y + 2, x - 1 : x + 2] = 1.0
    Image.fromarray(np.rint(image * 65535).astype(np.uint16)).save(path)


class ReadingServer:
    """`pacs-node reader-study read` on one port, to be killed and started again."""

    def __init__(self, study: Path, port: int, readers: Sequence[str] = ("r1",)) -> None:
        self.study_folder, self.port, self.readers = study, port, readers
        self.links: dict[str, str] = {}
        self._process: subprocess.Popen[str] | None = None

    @property
    def study(self) -> Study:
        return open_study(self.study_folder)

    def start(self) -> Self:
        options = [word for reader in self.readers for word in ("--reader", reader)]
        command = [sys.executable, "-m", "pacs_node", "reader-study", "read", str(self.study_folder), *options]
        self._process = subprocess.Popen(
            [*command, "--port", str(self.port), "--json"],
            cwd=REPOSITORY,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        told = ""
        assert self._process.stdout is not None
        while not told.endswith("}\n}\n") and not told.endswith(" }\n}\n"):
            line = self._process.stdout.readline()
            assert line, f"the server ended with {self._process.wait()}"
            told += line
        self.links = json.loads(told)["links"]
        return self

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def answers(self) -> dict[Planned, Answer]:
        """The last answer to each reading, as `score` will find it."""
        found = latest(read_answers(self.study_folder))
        return {each: found[each.key] for each in self.study.plan if each.key in found}

    def answer(self, reader: str, session: int, order: int) -> Answer | None:
        planned = self.study.planned(reader, session)[order - 1]
        return self.answers().get(planned)

    def wait_for(self, reader: str, session: int, order: int, **facts: object) -> Answer:
        """The answer on the disk, once it has these facts."""

        def has_come() -> bool:
            answer = self.answer(reader, session, order)
            return answer is not None and all(getattr(answer, name) == value for name, value in facts.items())

        wait_until(has_come, f"{reader} {session} {order} is saved with {facts}")
        answer = self.answer(reader, session, order)
        assert answer is not None
        return answer


def dot_of(server: ReadingServer, reader: str, session: int, order: int) -> tuple[int, int]:
    """Column and row of the middle of the white dot of a reading, from the image in the study."""
    case = server.study.case(server.study.planned(reader, session)[order - 1].case)
    levels = np.asarray(Image.open(server.study_folder / case.image))
    rows, columns = np.nonzero(levels == levels.max())
    return round(columns.mean()), round(rows.mean())


def dot_on_screen(page: Page) -> tuple[float, float]:
    """Where a person sees the white dot: the middle of the pure white in what the browser painted."""
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    painted: NDArray[np.uint8] = np.asarray(Image.open(io.BytesIO(page.locator("#canvas").screenshot())).convert("RGB"))
    rows, columns = np.nonzero((painted >= 250).all(axis=2))
    assert rows.size > 0, "no white pixel is painted"
    assert np.ptp(rows) < 100, "more than one dot is white"
    assert np.ptp(columns) < 100, "more than one dot is white"
    return box["x"] + (columns.min() + columns.max() + 1) / 2, box["y"] + (rows.min() + rows.max() + 1) / 2


@contextmanager
def running_browser() -> Iterator[Browser]:
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        environment: dict[str, Any] = {**os.environ, "HOME": home}  # with nothing of the person who runs the tests
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(QUIET), env=environment)
        try:
            yield browser
        finally:
            browser.close()


def new_page(browser: Browser, width: int = 1280, height: int = 800) -> Page:
    """A page in a profile of its own; an error in a script fails the test when the page is next used."""
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.set_default_timeout(PATIENCE_MS)
    return page
