"""Read what a training left: averaged weights in safetensors, sizes and provenance in JSON.

A run holds `autoencoder/`, `diffusion/` and perhaps `refiner/`, each with `best/` (by validation) and `last/`.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from export.fingerprint import fingerprint
from export.to_bundle import Network, Report, export_network, merged
from model.autoencoder import Autoencoder, AutoencoderConfig
from model.bundle import Bundle
from model.denoiser import Denoiser, DenoiserConfig
from model.refiner import Refiner, RefinerConfig
from pacs_node.errors import ConfigError

__all__ = ["Checkpoint", "Stage", "export_bundle", "read_checkpoint", "stage_folders"]

WEIGHTS, META = "weights.safetensors", "meta.json"
log = logging.getLogger(__name__)
Stage = Literal["autoencoder", "diffusion", "refiner"]
Trained = TypeVar("Trained", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One stage of a training: its folder and the content of its `meta.json`."""

    folder: Path
    meta: dict[str, Any]

    def provenance(self) -> dict[str, Any]:
        """What the training knew: `bundle` (keys of ModelSpec), `autoencoder_sha256`, its data."""
        return dict(self.meta.get("provenance") or {})

    def fill(self, build: Callable[[dict[str, Any]], Trained]) -> Trained:
        """Build the module of these sizes and load the weights, in evaluation mode.

        Raises
        ------
        ConfigError
            Sizes or weights are not those of such a module.
        """
        sizes = {
            name: tuple(value) if isinstance(value, list) else value for name, value in self.meta["config"].items()
        }
        try:
            module = build(sizes)
            module.load_state_dict(load_file(self.folder / WEIGHTS), strict=True)
        except (OSError, SafetensorError, TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(f"{self.folder / WEIGHTS} does not hold the network that its {META} describes") from error
        return module.eval()


def stage_folders(run: Path, stage: Stage) -> list[Path]:
    """Those of `best/` and `last/` that a stage has.

    Raises
    ------
    ConfigError
        The run has neither.
    """
    folders = [run / stage / name for name in ("best", "last")]
    found = [folder for folder in folders if (folder / META).is_file() and (folder / WEIGHTS).is_file()]
    if not found:
        raise ConfigError(f"{run} holds no {stage}/best or {stage}/last: name the folder of a run of pacs-node train")
    return found


def read_checkpoint(folder: Path, stage: Stage) -> Checkpoint:
    """Read and check `meta.json`.

    Raises
    ------
    ConfigError
        It is not readable, or is that of another stage.
    """
    try:
        meta = json.loads((folder / META).read_bytes())
        found = meta["stage"], dict(meta["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{folder / META} is not the description of a checkpoint") from error
    if found[0] != stage:
        raise ConfigError(f"{folder} is a checkpoint of another stage than {stage}")
    return Checkpoint(folder, meta)


def export_bundle(run: Path, out: Path, *, force: bool = False, report: Report | None = None, **facts: Any) -> Bundle:
    """Export a training run as a bundle.

    Parameters
    ----------
    run : folder with `autoencoder/` and `diffusion/`, and `refiner/` where one was trained.
    out : the bundle's folder; it appears whole or not at all, in place of an older bundle.
    force : replace a folder that holds other files (they are kept beside it).
    report : is told each parity that was measured, with a name.
    facts : keys of ModelSpec, as ``name``, ``version``, ``precision``, ``steps``, ``fusion``; grid, steps, offset noise
        and clipping default to what the run was trained with, the name to that of the folder.

    Raises
    ------
    ConfigError
        No usable run, other files in ``out``, or facts that make no ModelSpec.
    ModelError
        The exported network does not compute what the trained one computes.
    """
    diffusion = read_checkpoint(stage_folders(run, "diffusion")[0], "diffusion")
    denoiser = diffusion.fill(lambda sizes: Denoiser(DenoiserConfig(**sizes)))
    compression, autoencoder = _autoencoder(run, diffusion.provenance().get("autoencoder_sha256"))
    if autoencoder.config.latent_channels != denoiser.config.latent_channels:
        raise ConfigError("autoencoder and denoiser have different latent channels: they are not of one run")
    training = {"autoencoder": _kept(compression), "diffusion": _kept(diffusion)}
    refiner = None
    if (run / "refiner").is_dir():
        refinement = read_checkpoint(stage_folders(run, "refiner")[0], "refiner")
        refiner = refinement.fill(lambda sizes: Refiner(RefinerConfig(**sizes)))
        training["refiner"] = _kept(refinement)
        _require_company(refinement, {"autoencoder": autoencoder, "denoiser": denoiser})
    found = {"name": run.resolve().name, "version": "0", "training": training}
    found |= diffusion.provenance().get("bundle", {})
    return export_network(
        Network(autoencoder, denoiser, refiner), out, merged(found, facts), force=force, report=report
    )


def _require_company(refinement: Checkpoint, exported: dict[str, nn.Module]) -> None:
    """See that the refiner learned from layers of the networks that are exported, where it says whose they were.

    Another autoencoder is an error. A denoiser that was trained on makes like layers, so that is only told.
    """
    for name, module in exported.items():
        if refinement.provenance().get(f"{name}_sha256") in (None, fingerprint(module)):
            continue
        advice = f"remove {refinement.folder.parent.parent / 'coarse'} and train it again"
        if name == "autoencoder":
            raise ConfigError(f"the refiner was trained on layers of another autoencoder: {advice}")
        log.warning("the refiner was trained on layers of an earlier denoiser: %s", advice)


def _autoencoder(run: Path, trained_on: str | None) -> tuple[Checkpoint, Autoencoder]:
    """The autoencoder that the denoiser was trained on; the best one where that is not known.

    Latents of another autoencoder mean nothing to the denoiser, and no comparison of runtimes would notice.
    """
    for folder in stage_folders(run, "autoencoder"):
        checkpoint = read_checkpoint(folder, "autoencoder")
        autoencoder = checkpoint.fill(lambda sizes: Autoencoder(AutoencoderConfig(**sizes)))
        if trained_on in (None, fingerprint(autoencoder)):
            return checkpoint, autoencoder
    raise ConfigError(f"the denoiser was trained on another autoencoder than those in {run / 'autoencoder'}")


def _kept(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the model card needs, without what `bundle.json` says elsewhere."""
    kept = {key: checkpoint.meta[key] for key in ("step", "scores") if key in checkpoint.meta}
    provenance = {key: value for key, value in checkpoint.provenance().items() if key != "bundle"}
    return kept | {"provenance": provenance}
