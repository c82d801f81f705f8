"""What a person does on the reading page, step by step."""

from playwright.sync_api import Browser, Page, expect

from tests.peers.reading_room import PATIENCE_MS, ReadingServer, dot_on_screen, new_page

__all__ = [
    "CASES",
    "SCALES",
    "at_case",
    "begun",
    "has_companion",
    "opened",
    "painted",
    "place_mark_at_dot",
    "read_one",
    "score",
]

expect.set_options(timeout=PATIENCE_MS)
CASES = 6
SCALES = ("vessels", "airways", "suppression")


def opened(browser: Browser, link: str, **size: int) -> Page:
    page = new_page(browser, **size)
    page.goto(link)
    return page


def begun(browser: Browser, link: str, **size: int) -> Page:
    page = opened(browser, link, **size)
    page.click("#notice-go")
    return page


def at_case(page: Page, session: int, order: int) -> None:
    expect(page.locator("#place")).to_have_text(f"Session {session}: case {order} of {CASES}")
    expect(page.locator("#canvas")).to_have_attribute("data-case", f"{session}/{order}")
    painted(page)


def painted(page: Page) -> None:
    """Wait for two frames: what was asked for is on the screen then."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def place_mark_at_dot(page: Page) -> None:
    """Zoom in at the dot in steps as a person does, then click it."""
    for _ in range(3):
        page.mouse.move(*dot_on_screen(page))
        page.mouse.wheel(0, -240)
        painted(page)
    page.mouse.click(*dot_on_screen(page))


def score(page: Page, scores: tuple[int, int, int]) -> None:
    for name, value in zip(SCALES, scores, strict=True):
        page.check(f"input[name={name}][value='{value}']")


def has_companion(server: ReadingServer, session: int, order: int) -> bool:
    return server.study.planned("r1", session)[order - 1].arm == "with"


def read_one(page: Page, server: ReadingServer, session: int, order: int) -> None:
    """One mark that stays, one that goes, every question, and on."""
    place_mark_at_dot(page)
    page.keyboard.press(str(order))
    page.keyboard.press("z")
    painted(page)
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] - 20)
    expect(page.locator("#marks li")).to_have_count(2)
    page.click("#marks li:last-child .delete")
    expect(page.locator("#marks li")).to_have_count(1)
    page.fill("#case-number", str(50 + order))
    companion = has_companion(server, session, order)
    assert page.locator("#scores").is_visible() == page.locator("#views").is_visible() == companion
    if companion:
        score(page, (3, 2, 1))
    page.click("#next")
