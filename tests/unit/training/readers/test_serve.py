"""The reading page's server over real sockets: who gets what, and when an answer is called saved."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from pacs_node.cli import main
from tests.conftest import REPOSITORY
from tests.unit.training.readers.pictures import picture_pairs
from training.readers.reading import Reading
from training.readers.records import ANSWERS, Answer, Planned, Study, append_answer, open_study, read_answers
from training.readers.serve import PageServer

DONE: dict[str, Any] = {"kind": "done", "marks": [], "case_confidence": 10, "scores": None, "seconds": 1.5}
SCORES = {"vessels": 3, "airways": 2, "suppression": 1}


@dataclass
class Client:
    port: int

    def ask(self, path: str, body: object = None, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        method = "GET" if body is None else "POST"
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | headers if body is not None else headers
        connection.request(method, path, sent if body is not None else None, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, content, response.headers

    def of(self, path: str, body: object = None) -> tuple[int, Any]:
        status, content, headers = self.ask(f"/r/token-1/{path}", body)
        is_json = headers.get_content_type() == "application/json"
        return status, json.loads(content) if is_json else content


@pytest.fixture
def study(tmp_path: Path) -> Path:
    pairs = picture_pairs(tmp_path / "pairs", 4)
    assert main(["reader-study", "make", str(pairs), "-o", str(tmp_path / "study"), "--json"]) == 0
    return tmp_path / "study"


@pytest.fixture
def client(study: Path) -> Iterator[Client]:
    opened = open_study(study)
    readings = {f"token-{k}": Reading(study, opened, f"r{k}") for k in (1, 2)}
    server = PageServer(readings, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Client(server.server_port)
    server.shutdown()
    thread.join()
    server.stop()


def fitting(planned: Planned) -> dict[str, Any]:
    """An answer that finishes a reading."""
    return DONE | {"scores": SCORES if planned.arm == "with" else None}


def read_session(client: Client, study: Study, reader: str, session: int) -> None:
    for planned in study.planned(reader, session):
        status, told = client.of(f"answer/{session}/{planned.order}", fitting(planned))
        assert (status, list(told)) == (200, ["saved"])


def test_an_answer_is_on_the_disk_when_it_is_called_saved(client: Client, study: Path) -> None:
    planned = open_study(study).planned("r1", 1)[0]
    mark = {"x": 12.25, "y": 200, "confidence": 70}
    before = datetime.now(UTC) - timedelta(seconds=1)
    status, _ = client.of("answer/1/1", fitting(planned) | {"marks": [mark]})
    assert status == 200
    (answer,) = read_answers(study)
    assert (answer.reader, answer.session, answer.case, answer.arm) == ("r1", 1, planned.case, planned.arm)
    assert [each.model_dump() for each in answer.marks] == [mark]
    assert before < answer.at < datetime.now(UTC) + timedelta(seconds=1)
    status, case = client.of("case/1/1")
    assert (status, case["answer"]["marks"], case["answer"]["case_confidence"]) == (200, [mark], 10)


def test_a_case_has_the_grey_levels_of_its_arm_and_no_others(client: Client, study: Path) -> None:
    opened = open_study(study)
    seen = set()
    for planned in opened.planned("r1", 1):
        case = opened.case(planned.case)
        status, told = client.of(f"case/1/{planned.order}")
        assert (status, told["rows"], told["columns"]) == (200, case.rows, case.columns)
        assert told["images"] == (2 if planned.arm == "with" else 1)
        images = [case.image, str(case.companion)][: told["images"]]
        for number, name in enumerate(images):
            _, levels = client.of(f"pixels/1/{planned.order}/{number}")
            wanted = np.asarray(Image.open(study / name))
            assert np.array_equal(np.frombuffer(levels, "<u2").reshape(wanted.shape), wanted)
        assert client.of(f"pixels/1/{planned.order}/{told['images']}")[0] == 404
        client.of(f"answer/1/{planned.order}", fitting(planned))
        seen.add(planned.arm)
    assert seen == {"with", "without"}


def test_cases_come_in_their_order_and_sessions_one_after_another(client: Client, study: Path) -> None:
    opened = open_study(study)
    assert client.of("case/1/1")[0] == 200
    assert client.of("case/1/2")[0] == 409
    assert client.of("pixels/1/2/0")[0] == 409
    assert client.of("answer/1/2", DONE)[0] == 409
    assert client.of("case/2/1")[0] == 409
    assert [client.of(path)[0] for path in ("case/1/0", "case/1/5", "case/9/1", "case/1/x", "case/-1/1")] == [404] * 5
    read_session(client, opened, "r1", 1)
    assert client.of("case/2/1")[0] == 200
    read_session(client, opened, "r1", 2)
    status, told = client.of("answer/1/1", fitting(opened.planned("r1", 1)[0]))
    assert (status, b"closed" in told) == (409, True)
    _, overview = client.of("overview")
    assert (overview["session"], [each["done"] for each in overview["sessions"]]) == (None, [4, 4])
    assert not [answer for answer in read_answers(study) if answer.reader == "r2"]


def test_the_overview_knows_where_a_reader_stopped_and_when_the_washout_ends(client: Client, study: Path) -> None:
    opened = open_study(study)
    _, overview = client.of("overview")
    assert (overview["session"], overview["order"], overview["sessions"][0]["begun"]) == (1, 1, False)
    first, second = opened.planned("r1", 1)[:2]
    client.of("answer/1/1", fitting(first))
    client.of("answer/1/2", DONE | {"kind": "marks", "case_confidence": None})
    _, overview = client.of("overview")
    assert (overview["order"], overview["sessions"][0]["done"], overview["sessions"][0]["begun"]) == (2, 1, True)
    client.of("answer/1/2", fitting(second))
    for planned in opened.planned("r1", 1)[2:]:
        client.of(f"answer/1/{planned.order}", fitting(planned))
    _, overview = client.of("overview")
    opens = datetime.fromisoformat(overview["sessions"][1]["opens"])
    assert abs(opens - datetime.now(UTC) - timedelta(days=28)) < timedelta(minutes=5)
    assert (overview["session"], overview["order"]) == (2, 1)


def test_a_washout_that_is_over_is_not_told(study: Path) -> None:
    opened = open_study(study)
    for planned in opened.planned("r1", 1):
        facts = planned.model_dump(include={"reader", "session", "case", "arm"})
        at = datetime.now(UTC) - timedelta(days=29)
        append_answer(study, Answer(at=at, kind="done", case_confidence=1, **facts))
    overview = Reading(study, opened, "r1").overview()
    assert [each["opens"] for each in overview["sessions"]] == [None, None]


@pytest.mark.parametrize(
    "change",
    [
        {"marks": [{"x": -1, "y": 5, "confidence": 50}]},
        {"marks": [{"x": 5, "y": 256, "confidence": 50}]},
        {"marks": [{"x": 5, "y": 5, "confidence": 101}]},
        {"marks": [{"x": 5, "y": 5}]},
        {"marks": [{"x": 5, "y": 5, "confidence": 50}] * 201},
        {"case_confidence": None},
        {"case_confidence": -1},
        {"case_confidence": 50.5},
        {"scores": {"vessels": 4, "airways": 1, "suppression": 1}},
        {"kind": "guess"},
        {"arm": "with"},
        {"seconds": -1},
    ],
    ids=str,
)
def test_what_is_no_answer_to_the_case_is_refused_and_not_saved(
    client: Client, study: Path, change: dict[str, Any]
) -> None:
    planned = open_study(study).planned("r1", 1)[0]
    assert client.of("answer/1/1", fitting(planned) | change)[0] == 400
    assert not (study / ANSWERS).exists()


def test_scores_belong_to_the_arm_with_a_companion_and_are_needed_there(client: Client, study: Path) -> None:
    for planned in open_study(study).planned("r1", 1):
        wrong = None if planned.arm == "with" else SCORES
        assert client.of(f"answer/1/{planned.order}", DONE | {"scores": wrong})[0] == 400
        if planned.arm == "with":
            part = {"vessels": 3, "airways": None, "suppression": None}
            assert client.of(f"answer/1/{planned.order}", DONE | {"scores": part})[0] == 400
            assert client.of(f"answer/1/{planned.order}", DONE | {"kind": "scores", "scores": part})[0] == 200
        assert client.of(f"answer/1/{planned.order}", fitting(planned))[0] == 200


def test_nothing_but_the_page_and_a_readers_own_link_is_answered(client: Client, study: Path) -> None:
    status, page, headers = client.ask("/r/token-1/")
    assert (status, b"<!doctype html>" in page) == (200, True)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert client.ask("/static/app.js")[0] == 200
    refused = ["/", "/r/", "/r/token-3/", "/r/token-1", "/r/token-1/study.json", "/static/", "/static/../records.py"]
    refused += [
        "/static/%2e%2e/records.py",
        "/r/token-1/../token-2/overview",
        "/answers.jsonl",
        "//evil/",
        "/static/app.js/",
    ]
    assert [path for path in refused if client.ask(path)[0] != 404] == []
    assert client.ask("/r/token-3/answer/1/1", DONE)[0] == 404
    assert client.ask("/r/token-1/answer/1/1", DONE, **{"Content-Type": "text/plain"})[0] == 415
    assert client.ask("/r/token-1/answer/1/1", b" " * 70_000)[0] == 413
    assert client.ask("/r/token-1/answer/1/1", b"{")[0] == 400
    assert not (study / ANSWERS).exists()


def test_silent_and_broken_connections_do_not_hold_up_a_reader(client: Client) -> None:
    silent = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(20)]
    for number, each in enumerate(silent):
        each.sendall(
            b"\x00\xff garbage\r\n\r\n"
            if number % 2
            else b"POST /r/token-1/answer/1/1 HTTP/1.1\r\nContent-Length: 50\r\n\r\n{"
        )
    assert client.of("overview")[0] == 200
    for each in silent:
        each.close()
    assert client.of("overview")[0] == 200


def test_a_full_disk_is_told_and_the_answer_not_called_saved(
    client: Client, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        status, told = client.of("answer/1/1", DONE | {"kind": "marks"})
    assert (status, b"No space left" in told) == (507, True)
    assert client.of("answer/1/1", DONE | {"kind": "marks"})[0] == 200
    assert len(read_answers(study)) == 1


def test_the_command_serves_without_torch_and_a_port_that_is_taken_is_told(
    study: Path, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reader-study", "read", str(study), "--port", str(client.port)]) == 2
    assert "--port" in capsys.readouterr().err
    assert main(["reader-study", "read", str(study), "--reader", "r9"]) == 2
    assert "r1, r2" in capsys.readouterr().err
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from pacs_node.cli import main\n"
        f"sys.exit(main(['reader-study', 'read', {str(study)!r}, '--reader', 'r2', '--port', '0']))"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        reader, link = process.stdout.readline().split()
        assert reader == "r2"
        where = urlsplit(link)
        assert Client(where.port or 0).ask(f"{where.path}overview")[0] == 200
        process.terminate()
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert "Research use only" in process.stderr.read()
