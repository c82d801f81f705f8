"""Stages name themselves; somebody may listen."""

from pacs_node.timing import recorded_stages, stage


def test_a_listener_hears_every_stage_in_order_and_each_repetition() -> None:
    with recorded_stages() as watch:
        with stage("outer"), stage("inner"):
            pass
        with stage("inner"):
            pass
    assert {name: len(times) for name, times in watch.seconds.items()} == {"inner": 2, "outer": 1}
    assert all(seconds >= 0 for times in watch.seconds.values() for seconds in times)


def test_nothing_is_kept_where_nobody_listens() -> None:
    with recorded_stages() as watch:
        pass
    with stage("later"):
        pass
    assert watch.seconds == {}
