"""Checkpoints: safetensors and JSON, each file replaced whole, no pickle.

A checkpoint folder holds

- `weights.safetensors`: the averaged (EMA) weights, what is evaluated and exported;
- `meta.json`: sizes of the network, step, scores, what it was trained on;
- `state.safetensors` (only in `last`): everything a training needs to go on bit for bit. Its JSON header carries the
  step and the state of the random generator, so that one file, replaced at once, is one consistent moment.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from model.autoencoder import Autoencoder, AutoencoderConfig
from model.denoiser import Denoiser, DenoiserConfig
from model.refiner import Refiner, RefinerConfig
from training.control_network import ControlConfig

__all__ = [
    "STATE",
    "CheckpointError",
    "TrainingState",
    "load_autoencoder",
    "load_denoiser",
    "load_refiner",
    "load_state",
    "optimiser_tensors",
    "read_meta",
    "require_sizes",
    "restore_optimiser",
    "save_state",
    "save_weights",
]

WEIGHTS, META, STATE = "weights.safetensors", "meta.json", "state.safetensors"
Header = dict[str, Any]


class CheckpointError(Exception):
    """There is no checkpoint here, or it does not fit the network."""


@dataclass(frozen=True, slots=True)
class TrainingState:
    """One moment of a training: tensors by name, and what JSON can hold (step, generator state, scores)."""

    tensors: dict[str, Tensor]
    header: Header


def _replace(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` so that a crash leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")  # always the same name: what a crash leaves is written over
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # else a power cut may bring the old name back
    finally:
        os.close(folder)


def save_weights(folder: Path, model: nn.Module, meta: Header) -> None:
    """Write the weights, then the description that names their step."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    _replace(folder / WEIGHTS, save(tensors, metadata={"step": str(meta.get("step", 0))}))
    _replace(folder / META, (json.dumps(meta, indent=1, sort_keys=True) + "\n").encode())


def save_state(folder: Path, state: TrainingState) -> None:
    """Write everything a training needs to go on."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    _replace(folder / STATE, save(tensors, metadata={"header": json.dumps(state.header)}))


def load_state(folder: Path) -> TrainingState | None:
    """What `save_state` wrote, or None where there is nothing yet.

    Raises
    ------
    CheckpointError
        The file is damaged.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="pt") as stream:
            header = json.loads((stream.metadata() or {})["header"])
        return TrainingState(load_file(path), header)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: bring back a copy, or start over with --restart") from error


def read_meta(folder: Path) -> Header:
    """The description of the weights in ``folder``.

    Raises
    ------
    CheckpointError
        No readable `meta.json`.
    """
    try:
        meta: Header = json.loads((folder / META).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} holds no checkpoint: train that stage first") from error
    if not isinstance(meta, dict) or "config" not in meta:
        raise CheckpointError(f"{folder / META} describes no checkpoint: train that stage again")
    return meta


def require_sizes(folder: Path, config: AutoencoderConfig | DenoiserConfig | RefinerConfig | ControlConfig) -> None:
    """See that the checkpoint in ``folder`` is of a network of the sizes ``config``.

    Raises
    ------
    CheckpointError
        It is of another one, or no readable `meta.json` says so.
    """
    meta = read_meta(folder)
    known = {key: value for key, value in asdict(type(config)()).items() if key not in meta["config"]}
    if known | _sizes(meta["config"]) != asdict(config):  # a size that a checkpoint is too old to name has its default
        preset = (meta.get("provenance") or {}).get("preset", "another")
        raise CheckpointError(f"{folder} is of another network, preset {preset}: name that preset or another folder")


def _load_weights(folder: Path, model: nn.Module) -> None:
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"the weights in {folder} do not fit the network that its {META} describes") from error
    model.eval().requires_grad_(False)


def _sizes(config: Header) -> Header:
    """JSON has no tuples; configurations compare by them."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}


def load_autoencoder(folder: Path) -> Autoencoder:
    """The averaged autoencoder of a checkpoint, frozen, in evaluation mode."""
    model = Autoencoder(AutoencoderConfig(**_sizes(read_meta(folder)["config"])))
    _load_weights(folder, model)
    return model


def load_denoiser(folder: Path) -> Denoiser:
    """The averaged denoiser of a checkpoint, frozen, in evaluation mode."""
    model = Denoiser(DenoiserConfig(**_sizes(read_meta(folder)["config"])))
    _load_weights(folder, model)
    return model


def load_refiner(folder: Path) -> Refiner:
    """The averaged refiner of a checkpoint, frozen, in evaluation mode."""
    model = Refiner(RefinerConfig(**_sizes(read_meta(folder)["config"])))
    _load_weights(folder, model)
    return model


def optimiser_tensors(optimiser: torch.optim.Optimizer, prefix: str = "optimiser") -> dict[str, Tensor]:
    """The state of an Adam as flat names: ``<prefix>.<parameter index>.<field>``."""
    entries = optimiser.state_dict()["state"].items()
    return {f"{prefix}.{index}.{field}": tensor for index, fields in entries for field, tensor in fields.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor], prefix: str = "optimiser") -> None:
    """Undo `optimiser_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        found, _, rest = name.partition(".")
        if found == prefix:
            index, _, field = rest.partition(".")
            state.setdefault(int(index), {})[field] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
