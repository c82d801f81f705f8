"""The reading page for everybody: keys alone, a narrow window, names of controls, contrast."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.peers.reader import SCALES, at_case, begun, has_companion, opened, place_mark_at_dot, read_one, score
from tests.peers.reading_room import ReadingServer, dot_of, dot_on_screen

pytestmark = [pytest.mark.peer("chromium")]


def test_a_case_can_be_read_with_the_keyboard_alone(browser: Browser, server: ReadingServer) -> None:
    page = opened(browser, server.links["r1"])
    expect(page.locator("#notice")).to_be_visible()
    tab_to(page, "notice-go")
    page.keyboard.press("Enter")
    at_case(page, 1, 1)
    page.keyboard.press("ArrowRight")  # the crosshair comes from the middle
    for _ in range(3):
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.press("0")
    page.keyboard.press("[")
    companion = has_companion(server, 1, 1)
    tab_to(page, "case-number")
    page.keyboard.type("35")
    for name in SCALES if companion else ():
        tab_to(page, name)
        page.keyboard.press("Space")
        page.keyboard.press("ArrowDown")
    tab_to(page, "next")
    page.keyboard.press("Enter")
    at_case(page, 1, 2)
    answer = server.answer("r1", 1, 1)
    assert answer is not None
    assert (answer.kind, answer.case_confidence, answer.marks[0].confidence) == ("done", 35, 95)
    assert abs(answer.marks[0].y - (299 // 2 + 1 + 3)) <= 1
    if companion:
        assert answer.scores is not None
        assert (answer.scores.vessels, answer.scores.airways, answer.scores.suppression) == (2, 2, 2)


FOCUS = """() => {
  const e = document.activeElement, s = getComputedStyle(e);
  return [e.id || e.name, e === document.body || s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2];
}"""


def tab_to(page: Page, wanted: str) -> None:
    """Press Tab until the control of this id or name has the focus, which has to be visible on every way point."""
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUS)
        assert found[1], f"the focus on {found[0]!r} cannot be seen"
        if found[0] == wanted:
            return
    raise AssertionError(f"Tab never came to {wanted}")


def test_a_narrow_window_has_everything_in_one_column(browser: Browser, server: ReadingServer) -> None:
    page = begun(browser, server.links["r1"], width=390, height=780)
    at_case(page, 1, 1)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.mouse.click(*dot_on_screen(page))
    expect(page.locator("#marks li")).to_have_count(1)
    page.fill("#case-number", "77")
    if has_companion(server, 1, 1):
        score(page, (3, 3, 3))
    page.click("#next")
    at_case(page, 1, 2)
    (mark,) = server.wait_for("r1", 1, 1, kind="done").marks
    column, row = dot_of(server, "r1", 1, 1)
    assert abs(mark.x - column) <= 1
    assert abs(mark.y - row) <= 1


NAMELESS = """() => [...document.querySelectorAll('button, input, canvas, summary, progress, dialog')]
  .filter(e => e.checkVisibility())
  .filter(e => !(e.ariaLabel || e.labels?.length || e.getAttribute('aria-labelledby') || e.textContent.trim()))
  .map(e => e.outerHTML)"""
# WCAG 2.2, 1.4.3: the ratio of the luminances of a text and of what is behind it
FAINT = """() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [.2126, .7152, .0722][k], 0);
  const behind = e => { for (; e; e = e.parentElement) {
    const c = numbers(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] === 1) return c; }
    return [0, 0, 0]; };
  return [...document.querySelectorAll('body *')]
    .filter(e => e.checkVisibility() && !e.disabled && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
    .filter(e => !e.closest(':disabled'))
    .map(e => [e, luminance(numbers(getComputedStyle(e).color)), luminance(behind(e))])
    .filter(([e, a, b]) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05) < 4.5)
    .map(([e, a, b]) => e.outerHTML);
}"""


def test_every_control_has_a_name_and_every_text_has_contrast(browser: Browser, server: ReadingServer) -> None:
    page = opened(browser, server.links["r1"])
    expect(page.locator("#notice")).to_be_visible()
    assert (page.evaluate(NAMELESS), page.evaluate(FAINT)) == ([], [])
    page.click("#notice-go")
    order = 1
    while not has_companion(server, 1, order):
        at_case(page, 1, order)
        read_one(page, server, 1, order)
        order += 1
    at_case(page, 1, order)
    place_mark_at_dot(page)
    page.keyboard.press("n")
    page.click("#levels summary")
    assert page.locator("#scores label").count() == 9
    assert (page.evaluate(NAMELESS), page.evaluate(FAINT)) == ([], [])
    page.click("#open-help")
    expect(page.locator("#help")).to_be_visible()
    assert (page.evaluate(NAMELESS), page.evaluate(FAINT)) == ([], [])
    assert page.evaluate("document.documentElement.lang") == "en"
