"""Which checkpoint is best on real pairs? The figures of the validation while training, for any finished run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.fingerprint import fingerprint
from model.autoencoder import Autoencoder
from model.bundle import ClippingSpec
from model.process import Process
from pacs_node.errors import ConfigError
from training.checkpoint import CheckpointError, load_autoencoder, load_denoiser, read_meta
from training.control import control_layers, load_control
from training.validate import RealPairs, Sampling, bone_layers, score_pairs

__all__ = ["Choice", "checkpoints", "rank"]

STAGES = ("diffusion", "control")
NAMES = ("best", "last")


@dataclass(frozen=True, slots=True)
class Choice:
    """One checkpoint and what it scores with the fusion that suits it best.

    Attributes
    ----------
    score : see `training.validate.choice_score`.
    strength, highpass_px : of that fusion, as the keys of a bundle's.
    bsr_tone, lungs, ribs_left : means over the pairs.
    """

    folder: Path
    stage: str
    step: int
    score: float
    strength: float
    highpass_px: float
    bsr_tone: float
    lungs: float
    ribs_left: float


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints below a run, or the folder itself where it is one.

    Raises
    ------
    ConfigError
        There is none of a denoiser or of a control.
    """
    if (run / "meta.json").is_file():
        return [run]
    found = [run / stage / name for stage in STAGES for name in NAMES]
    found = [folder for folder in found if (folder / "meta.json").is_file()]
    if not found:
        raise ConfigError(f"{run} holds no diffusion/best, diffusion/last, control/best or control/last to choose from")
    return found


def rank(folders: Sequence[Path], pairs: RealPairs, steps: int | None = None) -> list[Choice]:
    """Score checkpoints on real pairs at the grid of ``pairs``, the best first.

    Parameters
    ----------
    steps : network evaluations; None for what each was trained to be sampled with.

    Raises
    ------
    ConfigError
        A checkpoint cannot be read, or its autoencoder is not beside it.
    """
    try:
        choices = [_choice(folder, pairs, steps) for folder in folders]
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
    return sorted(choices, key=lambda choice: -choice.score)


def _choice(folder: Path, pairs: RealPairs, steps: int | None) -> Choice:
    meta = read_meta(folder)
    if meta["stage"] == "control":
        layers = control_layers(load_control(folder), pairs.images())
    else:
        networks = _autoencoder(folder, meta), load_denoiser(folder)
        layers = bone_layers(*networks, pairs.images(), _sampling(meta, steps)).numpy()
    scores = score_pairs(pairs, layers)
    _, strength, highpass = max((key for key in scores if key.startswith("choice/")), key=scores.__getitem__).split("/")
    found = {name: scores[f"{name}/{strength}/{highpass}"] for name in ("bsr_tone", "lungs", "ribs_left")}
    fusion = float(strength), float(highpass.removeprefix("hp"))
    return Choice(folder, meta["stage"], int(meta["step"]), scores["score"], *fusion, **found)


def _sampling(meta: dict[str, Any], steps: int | None) -> Sampling:
    """How the training sampled while it was looked at; what an early one does not say is a diffusion by DDIM."""
    facts = meta["provenance"]["bundle"]
    process = Process(facts.get("process", "diffusion"), facts.get("schedule", "cosine"), facts.get("path_noise", 0.1))
    return Sampling(
        steps=steps or facts["steps"],
        clipping=ClippingSpec(**facts["clipping"]),
        offset_noise=facts["offset_noise"],
        process=process,
        sampler=facts.get("sampler", "ddim"),
        eta=facts.get("eta", 0.0),
    )


def _autoencoder(folder: Path, meta: dict[str, Any]) -> Autoencoder:
    """The autoencoder whose latents the denoiser knows, from the same run."""
    wanted = meta["provenance"].get("autoencoder_sha256")
    for name in NAMES:
        place = folder.parent.parent / "autoencoder" / name
        if (place / "meta.json").is_file():
            autoencoder = load_autoencoder(place)
            if wanted in (None, fingerprint(autoencoder)):
                return autoencoder
    raise ConfigError(f"the autoencoder that {folder} was trained on is not in {folder.parent.parent / 'autoencoder'}")
