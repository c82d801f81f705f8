"""The curves of the bench as SVG."""

from xml.etree import ElementTree as ET

import pytest

from pacs_node.bench.plot import HEIGHT, WIDTH, Panel, as_svg

NAMESPACE = {"svg": "http://www.w3.org/2000/svg"}


def drawn(*panels: Panel) -> ET.Element:
    return ET.fromstring(as_svg(panels))  # noqa: S314 (our own text)


def test_a_line_lies_inside_its_panel_and_rises_with_its_values() -> None:
    root = drawn(Panel("memory", "minutes", "MiB", [(0, 0), (1, 10), (2, 20)]))
    [line] = root.findall(".//svg:polyline", NAMESPACE)
    points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert points[0][1] > points[1][1] > points[2][1]  # y points down in SVG


def test_dots_are_as_many_as_points() -> None:
    root = drawn(Panel("pace", "image", "s", [(number, 1.0) for number in range(7)], as_dots=True))
    assert len(root.findall(".//svg:circle", NAMESPACE)) == 7


def test_words_are_escaped() -> None:
    texts = [text.text for text in drawn(Panel("a < b & c", "x", "y", [(1, 1)])).findall(".//svg:text", NAMESPACE)]
    assert "a < b & c" in texts


@pytest.mark.parametrize("largest", [0.003, 0.9, 1, 7, 99, 1234, 5e6])
def test_the_highest_tick_is_at_or_above_the_highest_value(largest: float) -> None:
    texts = [text.text or "" for text in drawn(Panel("t", "x", "y", [(1, largest)])).findall(".//svg:text", NAMESPACE)]
    ticks = [float(text) for text in texts if text.replace(".", "").replace("e+", "").replace("e-", "").isdigit()]
    assert largest <= max(ticks) <= max(2 * largest, 1)


def test_panels_stand_one_below_the_other() -> None:
    panel = Panel("t", "x", "y", [(1, 1)])
    assert drawn(panel, panel).attrib["height"] == str(2 * HEIGHT)
