"""The reading page in a real browser: a whole study, a server that is killed under it, several readers."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from tests.peers.reader import CASES, at_case, begun, has_companion, opened, painted, place_mark_at_dot, read_one, score
from tests.peers.reading_room import HIDDEN, ReadingServer, dot_of, dot_on_screen, make_study, new_page
from training.readers.records import ANSWERS

pytestmark = [pytest.mark.peer("chromium")]


def test_a_whole_study_of_six_cases_is_answered_as_it_was_clicked(browser: Browser, server: ReadingServer) -> None:
    page = begun(browser, server.links["r1"])
    for session in (1, 2):
        if session == 2:
            page.click("#notice-go")
        for order in range(1, CASES + 1):
            at_case(page, session, order)
            read_one(page, server, session, order)
    expect(page.locator("#notice-title")).to_contain_text("Everything is read")
    answers = server.answers()
    assert len(answers) == len(server.study.plan) // len(server.study.readers) == 2 * CASES
    for planned, answer in answers.items():
        x, y = dot_of(server, "r1", planned.session, planned.order)
        (mark,) = answer.marks
        assert abs(mark.x - x) <= 1, "a click on a pixel under zoom is that pixel"
        assert abs(mark.y - y) <= 1
        assert mark.confidence == 10 * planned.order
        assert (answer.kind, answer.arm, answer.case_confidence) == ("done", planned.arm, 50 + planned.order)
        told = answer.scores and (answer.scores.vessels, answer.scores.airways, answer.scores.suppression)
        assert told == ((3, 2, 1) if planned.arm == "with" else None)
        assert 0 < answer.seconds < 600
    assert server.stop() == 0


def test_a_killed_server_loses_no_answer_and_the_reader_goes_on_where_it_stopped(
    browser: Browser, server: ReadingServer
) -> None:
    page = begun(browser, server.links["r1"])
    for order in (1, 2):
        at_case(page, 1, order)
        read_one(page, server, 1, order)
    at_case(page, 1, 3)
    place_mark_at_dot(page)
    expect(page.locator("#saved")).to_contain_text("Saved")
    server.kill()
    page.keyboard.press("7")
    expect(page.locator("#trouble")).to_contain_text("the server does not answer")
    expect(page.locator("#saved")).to_have_text("Not saved")
    page.fill("#case-number", "64")
    with (server.study_folder / ANSWERS).open("ab") as torn:
        torn.write(b'{"at":"2026-01-01T00:00:00Z","reader":"r1","sess')  # as a write that the kill has cut
    server.start()
    expect(page.locator("#trouble")).to_be_hidden()
    expect(page.locator("#saved")).to_contain_text("Saved")
    answer = server.wait_for("r1", 1, 3, case_confidence=64)
    assert [mark.confidence for mark in answer.marks] == [70]
    server.kill()
    page.close(run_before_unload=False)
    server.start()
    again = opened(browser, server.links["r1"])
    at_case(again, 1, 3)
    expect(again.locator("#marks li")).to_have_count(1)
    expect(again.locator("#marks output")).to_have_text("70 %")
    expect(again.locator("#case-number")).to_have_value("64")
    assert [answer.kind for answer in server.answers().values()].count("done") == 2


def test_next_waits_for_a_server_that_is_gone(browser: Browser, server: ReadingServer) -> None:
    page = begun(browser, server.links["r1"])
    at_case(page, 1, 1)
    page.fill("#case-number", "5")
    if has_companion(server, 1, 1):
        score(page, (1, 1, 1))
    expect(page.locator("#saved")).to_contain_text("Saved")
    server.kill()
    page.click("#next")
    expect(page.locator("#trouble")).to_contain_text("keeps trying")
    expect(page.locator("#place")).to_have_text(f"Session 1: case 1 of {CASES}")
    server.start()
    at_case(page, 1, 2)
    answer = server.answer("r1", 1, 1)
    assert answer is not None
    assert (answer.kind, answer.case_confidence, answer.marks) == ("done", 5, ())


def test_next_asks_for_what_is_not_answered(browser: Browser, server: ReadingServer) -> None:
    page = begun(browser, server.links["r1"])
    at_case(page, 1, 1)
    page.keyboard.press("n")
    expect(page.locator("#missing")).to_contain_text("not answered")
    expect(page.locator("#case-number")).to_be_focused()
    expect(page.locator("#place")).to_have_text(f"Session 1: case 1 of {CASES}")
    assert server.answers() == {}, "an image that was only looked at has no answer"


def test_flicker_window_and_inversion_change_the_picture_and_no_answer(browser: Browser, server: ReadingServer) -> None:
    page = begun(browser, server.links["r1"])
    order = 1
    while not has_companion(server, 1, order):
        at_case(page, 1, order)
        read_one(page, server, 1, order)
        order += 1
    at_case(page, 1, order)
    before = len(server.answers())
    pictures = [picture(page)]
    for key in ("f", "i", "s"):
        page.keyboard.press(key)
        painted(page)
        pictures.append(picture(page))
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down(button="right")
    page.mouse.move(x - 150, y + 60, steps=3)
    page.mouse.up(button="right")
    painted(page)
    pictures.append(picture(page))
    assert len(set(pictures)) == len(pictures)
    expect(page.locator("#readout")).to_contain_text(re.compile(r"window \d\d %"))
    for key in ("r", "s", "i"):  # back again; `s` leaves the radiograph in view
        page.keyboard.press(key)
    page.mouse.move(5, 5)
    painted(page)
    assert picture(page) == pictures[0]
    assert len(server.answers()) == before


def picture(page: Page) -> str:
    return str(page.evaluate("document.getElementById('canvas').toDataURL()"))


def middle(page: Page) -> tuple[float, float]:
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_mark_is_chosen_by_a_click_and_moved_by_a_drag(browser: Browser, server: ReadingServer) -> None:
    page = begun(browser, server.links["r1"])
    at_case(page, 1, 1)
    x, y = middle(page)
    page.mouse.click(x, y)
    page.mouse.click(x + 3, y)  # on the mark: no second one
    expect(page.locator("#marks li")).to_have_count(1)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(*dot_on_screen(page), steps=4)
    page.mouse.up()
    column, row = dot_of(server, "r1", 1, 1)
    expect(page.locator("#marks .pick")).to_have_attribute("aria-label", f"Mark 1, column {column}, row {row}")
    page.mouse.move(x, y + 200)
    page.mouse.down()
    page.mouse.move(x + 40, y + 150, steps=4)  # the image is moved, and nothing marked
    page.mouse.up()
    expect(page.locator("#marks li")).to_have_count(1)


def test_back_shows_the_former_answer_and_a_change_of_it_counts(browser: Browser, server: ReadingServer) -> None:
    page = begun(browser, server.links["r1"])
    at_case(page, 1, 1)
    read_one(page, server, 1, 1)
    at_case(page, 1, 2)
    page.keyboard.press("b")
    at_case(page, 1, 1)
    expect(page.locator("#case-number")).to_have_value("51")
    expect(page.locator("#marks li")).to_have_count(1)
    page.fill("#case-number", "12")
    page.click("#next")
    at_case(page, 1, 2)
    answer = server.answer("r1", 1, 1)
    assert answer is not None
    assert (answer.kind, answer.case_confidence) == ("done", 12)


def test_the_browser_gets_neither_truth_nor_arms_and_speaks_to_the_server_alone(
    browser: Browser, server: ReadingServer
) -> None:
    page = new_page(browser)
    told: list[Response] = []
    page.on("response", lambda response: told.append(response))  # noqa: PLW0108 - no built-in can be a handler
    page.goto(server.links["r1"])
    page.click("#notice-go")
    at_case(page, 1, 1)
    read_one(page, server, 1, 1)
    at_case(page, 1, 2)
    assert {response.url.split("/")[2] for response in told} == {f"127.0.0.1:{server.port}"}
    texts = [response.text() for response in told if "json" in response.headers.get("content-type", "")]
    assert texts
    names = [case.case for case in server.study.cases] + [case.image for case in server.study.cases]
    for word in (HIDDEN, "lesions", '"arm"', "without", *names):
        assert [word for text in texts if word in text] == []


def test_two_readers_read_at_once(browser: Browser, tmp_path: Path, free_port: int) -> None:
    study = make_study(tmp_path, CASES, "--washout", "0")
    with ReadingServer(study, free_port, ("r1", "r2")) as server:
        pages = {reader: begun(browser, server.links[reader]) for reader in ("r1", "r2")}
        for order in (1, 2):
            for page in pages.values():
                at_case(page, 1, order)
                place_mark_at_dot(page)
            for reader, page in pages.items():
                page.fill("#case-number", "40" if reader == "r1" else "60")
                if server.study.planned(reader, 1)[order - 1].arm == "with":
                    score(page, (2, 2, 2))
                page.click("#next")
        for page in pages.values():
            at_case(page, 1, 3)
        done = [(answer.reader, answer.case_confidence) for answer in server.answers().values()]
        assert sorted(done) == [("r1", 40), ("r1", 40), ("r2", 60), ("r2", 60)]


def test_a_wrong_link_says_so(browser: Browser, server: ReadingServer) -> None:
    page = new_page(browser)
    answer = page.goto(server.links["r1"].replace("/r/", "/r/x"))
    assert answer is not None
    assert answer.status == 404
    expect(page.locator("body")).to_contain_text("this link is not of this study")
