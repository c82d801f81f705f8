"""Where it was measured."""

import json

from pacs_node.bench.environment import busy_warning, describe_environment


def test_the_place_of_a_measurement_is_described() -> None:
    there = describe_environment(threads=1)
    assert there["threads"] == 1
    assert there["cores"] >= 1
    assert there["cpu"]
    assert "numpy" in there["versions"]
    assert json.loads(json.dumps(there)) == there


def test_a_busy_machine_is_warned_of_and_a_quiet_one_is_not() -> None:
    assert busy_warning({"load_1min": 0.1, "cores": 2}) is None
    assert "too long" in str(busy_warning({"load_1min": 2.0, "cores": 2}))
    assert busy_warning({"load_1min": None, "cores": 2}) is None
