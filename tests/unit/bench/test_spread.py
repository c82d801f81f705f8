"""What is said of repeated timings."""

import pytest

from pacs_node.bench.spread import Spread, extrapolated_s, timed


def test_the_middle_and_the_quartiles_are_told() -> None:
    assert Spread.of([5.0, 1.0, 2.0, 4.0, 3.0]) == Spread(3.0, 2.0, 4.0, 5)


def test_one_sample_is_its_own_spread() -> None:
    assert Spread.of([0.25]) == Spread(0.25, 0.25, 0.25, 1)


def test_no_sample_is_no_figure() -> None:
    with pytest.raises(ValueError, match="no sample"):
        Spread.of([])


def test_what_happens_once_is_added_once_and_steps_are_multiplied() -> None:
    assert extrapolated_s(once_s=30.0, step_s=2.5, steps=1000) == 2530.0


def test_warming_up_is_not_counted_and_the_device_is_waited_for() -> None:
    calls: list[str] = []
    spread = timed(lambda: calls.append("run"), 3, warm_up=2, finish=lambda: calls.append("wait"))
    assert spread.count == 3
    assert calls == ["run", "run", "wait", *["run", "wait"] * 3]
