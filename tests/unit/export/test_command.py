"""`pacs-node export-onnx --set`: settings of a bundle as a person types them."""

import pytest

from pacs_node.commands.export_onnx import parse_settings
from pacs_node.errors import ConfigError


def test_settings_are_json_or_words_and_may_lie_in_groups() -> None:
    typed = ["steps=4", "fusion.strength=0.75", "fusion.highpass_px=12", "clipping.kind=static", "licence=a=b"]
    assert parse_settings(typed) == {
        "steps": 4,
        "fusion": {"strength": 0.75, "highpass_px": 12},
        "clipping": {"kind": "static"},
        "licence": "a=b",
    }


@pytest.mark.parametrize("typed", ["steps", "=4", "fusion.=1", ".strength=1", "force=true", "report=1"])
def test_anything_else_is_refused_with_an_example(typed: str) -> None:
    with pytest.raises(ConfigError, match=r"fusion\.strength=0\.75"):
        parse_settings([typed])


def test_a_group_that_is_a_value_already_is_refused() -> None:
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        parse_settings(["fusion=1", "fusion.strength=1"])
