"""Read what a training left: averaged weights in safetensors, sizes and provenance in JSON.

A run holds `autoencoder/` and `diffusion/`, each with `best/` (by validation, where there was one) and `last/`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from export.fingerprint import fingerprint
from export.to_bundle import Network, Report, export_network, merged
from model.autoencoder import Autoencoder, AutoencoderConfig
from model.bundle import Bundle
from model.denoiser import Denoiser, DenoiserConfig
from pacs_node.errors import ConfigError

__all__ = ["Checkpoint", "Stage", "export_bundle", "read_checkpoint", "stage_folder"]

WEIGHTS, META = "weights.safetensors", "meta.json"
Stage = Literal["autoencoder", "diffusion"]
KEPT = ("step", "scores", "provenance")  # of meta.json, for the model card


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One stage of a training: its folder and the content of its `meta.json`."""

    folder: Path
    meta: dict[str, Any]

    def config(self) -> dict[str, Any]:
        """Arguments of the module's configuration; JSON has no tuples."""
        arguments = self.meta["config"]
        return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}

    def fill(self, module: nn.Module) -> None:
        """Load the weights.

        Raises
        ------
        ConfigError
            They are not those of such a module.
        """
        try:
            module.load_state_dict(load_file(self.folder / WEIGHTS), strict=True)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise ConfigError(f"{self.folder / WEIGHTS} does not hold the network that its {META} describes") from error
        module.eval()


def stage_folder(run: Path, stage: Stage) -> Path:
    """`best/` of a stage, else `last/`.

    Raises
    ------
    ConfigError
        The run has neither.
    """
    for name in ("best", "last"):
        folder = run / stage / name
        if (folder / META).is_file() and (folder / WEIGHTS).is_file():
            return folder
    raise ConfigError(f"{run} holds no {stage}/best or {stage}/last: name the folder of a run of pacs-node train")


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
    run : folder with `autoencoder/` and `diffusion/`.
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
    compression = read_checkpoint(stage_folder(run, "autoencoder"), "autoencoder")
    diffusion = read_checkpoint(stage_folder(run, "diffusion"), "diffusion")
    network = _network(compression, diffusion)
    provenance = dict(diffusion.meta.get("provenance") or {})
    known = dict(provenance.pop("bundle", {}))
    training = {"autoencoder": _kept(compression), "diffusion": _kept(diffusion)}
    named = {"name": run.resolve().name, "version": "0"}
    return export_network(
        network, out, merged(named | known | {"training": training}, facts), force=force, report=report
    )


def _network(compression: Checkpoint, diffusion: Checkpoint) -> Network:
    try:
        autoencoder = Autoencoder(AutoencoderConfig(**compression.config()))
        denoiser = Denoiser(DenoiserConfig(**diffusion.config()))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"the sizes in {META} do not fit the networks of this version") from error
    if autoencoder.config.latent_channels != denoiser.config.latent_channels:
        raise ConfigError("autoencoder and denoiser have different latent channels: they are not of one run")
    compression.fill(autoencoder)
    diffusion.fill(denoiser)
    trained_on = (diffusion.meta.get("provenance") or {}).get("autoencoder_sha256")
    if trained_on not in (None, fingerprint(autoencoder)):
        # Latents of another autoencoder mean nothing to this denoiser, and parity would not notice.
        raise ConfigError(f"the denoiser was trained on another autoencoder than the one in {compression.folder}")
    return Network(autoencoder, denoiser)


def _kept(checkpoint: Checkpoint) -> dict[str, Any]:
    return {key: checkpoint.meta[key] for key in KEPT if key in checkpoint.meta}
