"""The second description of the shipped bundle, for who would rather keep bone than lose a lesion.

    python -m export.careful

writes `careful.json` beside the shipped `bundle.json`: the same files, another name and a weaker fusion, so another
digest and other SOP Instance UIDs. To be run after each new shipped bundle; a test compares.
"""

from typing import Any

from model.bundle import Bundle, write_bundle
from pacs_node.engine.load import SHIPPED, load_bundle

__all__ = ["FUSION", "careful_facts", "main"]

NAME = "careful"
# Decision 20: nodules keep .90 of their contrast in the median and .75 at the 5th percentile; ribs stay by half.
FUSION = {"strength": 0.8, "gap_strength": 0.15, "spare_px": 72.0}


def careful_facts(default: Bundle) -> dict[str, Any]:
    """The keys of `careful.json` but for its files."""
    facts = default.spec.model_dump(exclude={"files"})
    return facts | {"name": f"{facts['name']}-{NAME}", "fusion": facts["fusion"] | FUSION}


def main() -> None:
    """Write it."""
    default = load_bundle("default")
    write_bundle(default.folder, careful_facts(default), list(default.spec.files), SHIPPED[NAME])


if __name__ == "__main__":
    main()
