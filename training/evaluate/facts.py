"""What makes a report one that can be repeated: bundle, digest, data, command, versions."""

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from model.bundle import Bundle, FusionSpec
from pacs_node import __version__

__all__ = ["RESEARCH_USE", "facts", "model_facts"]

RESEARCH_USE = "Research use only: no medical device, and no reader has judged what is shown here."
LIBRARIES = ("numpy", "scipy", "onnxruntime", "onnxruntime-gpu", "torch")
LOOKED_AT = "looked at only"  # of pairs that chose a checkpoint or the fusion, and were not trained on


def facts(bundle: Bundle, device: str, command: str, data: dict[str, str]) -> dict[str, str]:
    """Name -> value, in the order they are shown.

    Parameters
    ----------
    device : what ran, `cpu` or `cuda`.
    data : what was measured on.
    """
    return {
        **model_facts(bundle),
        "device": f"{device}, {platform.machine()}",
        **data,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "command": command,
        "versions": ", ".join([f"pacs-node {__version__}", f"Python {platform.python_version()}", *_libraries()]),
    }


def model_facts(bundle: Bundle) -> dict[str, str]:
    """What is measured: name, version, digest, and how its layer is made and subtracted."""
    spec = bundle.spec
    fusion = spec.fusion
    shape = f"high-passed at {fusion.highpass_px:g} px of the grid" if fusion.highpass_px else "whole"
    trained = spec.training.get("diffusion", {}).get("provenance", {}).get("data", {})
    seen = trained.get("real_pairs") if isinstance(trained, dict) else None
    seen = None if seen == LOOKED_AT else seen
    steps = f"{spec.steps} step{'s' if spec.steps > 1 else ''}"
    refined = ", refined" if spec.network.refiner else ""
    return {
        "bundle": f"{spec.name} {spec.version}",
        "digest": bundle.digest,
        "network": f"grid {spec.grid} x {spec.grid}, {spec.process}, predicts {spec.prediction}, {steps}",
        "bone layer": f"mean of {spec.views} views{refined}, {_spared(fusion)}{shape}, {_strength(fusion)}",
        # figures of pairs that were trained on must not pass for those of unseen ones
        **({"real pairs in its training": str(seen)} if seen else {}),
    }


def _libraries() -> list[str]:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _spared(fusion: FusionSpec) -> str:
    if not fusion.spare_px:
        return ""
    return f"without what is shorter than {fusion.spare_px:g} px in every direction, "


def _strength(fusion: FusionSpec) -> str:
    if not fusion.spare_px or fusion.gap_strength in (None, fusion.strength):
        return f"strength {fusion.strength:g}"
    return f"strength {fusion.strength:g} on ribs and {fusion.gap_strength:g} between them"
