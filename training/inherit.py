"""Starting a training from the weights of another one: new pairs, another rate, a fine-tuning on a few real pairs."""

import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from model.refiner import Refiner
from training.checkpoint import META, WEIGHTS, CheckpointError, read_meta

__all__ = ["bring_stage", "start_weights"]

Weights = dict[str, Tensor]


def start_weights(model: nn.Module, stage: str, earlier: Path) -> str:
    """Give ``model`` the averaged weights that a stage of another run ended with.

    Parameters
    ----------
    model : of the same sizes; changed in place. A refiner may have more levels than the earlier one, and starts by
        computing what that did.
    earlier : folder of the run, with `STAGE/last/` in it.

    Returns
    -------
    Where they come from, for the provenance: stage and step, no path.

    Raises
    ------
    CheckpointError
        There is no such checkpoint, it is damaged, or it is of other sizes.
    """
    folder = earlier / stage / "last"
    meta = read_meta(folder)
    try:
        weights = load_file(folder / WEIGHTS)
        if isinstance(model, Refiner):
            weights = _grown(model, weights, tuple(meta["config"]["channels"]), tuple(meta["config"]["blocks"]))
        model.load_state_dict(weights)
    except SafetensorError as error:
        raise CheckpointError(f"{folder / WEIGHTS} is damaged: bring back a copy, or name another run") from error
    except (OSError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"{folder} is of another network: name the preset that it was trained with") from error
    return f"{stage}, {meta.get('step', '?')} steps"


def _grown(model: Refiner, weights: Weights, channels: tuple[int, ...], blocks: tuple[int, ...]) -> Weights:
    """The weights of a refiner of ``channels`` and ``blocks``, with those of ``model`` for its further, coarser levels.

    The way up from those levels is silenced, so that they add nothing at first.
    """
    known = len(channels)
    further = known < len(model.config.channels)
    if not further or model.config.channels[:known] != channels or model.config.blocks[:known] != blocks:
        return weights
    model.grow[known - 1].silence()  # type: ignore[operator]
    own: Weights = model.state_dict()
    return own | weights


def bring_stage(folder: Path, earlier: Path, stage: str) -> None:
    """Put a finished stage of another run into ``folder``, where there is none: what was made with it stays valid.

    Parameters
    ----------
    stage : name of it; its `last/` is taken over, and its `best/` where it has one.

    Raises
    ------
    CheckpointError
        The other run has none, or ``folder`` holds that of a third run: two networks that never met would be mixed.
    """
    own, other = folder / stage, earlier / stage
    if own.resolve() == other.resolve():
        return
    read_meta(other / "last")
    if (own / "last" / META).is_file():
        if (own / "last" / WEIGHTS).read_bytes() != (other / "last" / WEIGHTS).read_bytes():
            raise CheckpointError(f"{own} is not from {earlier}: name another folder for the run, or leave --from out")
        return
    for kept in ("best", "last"):
        if not (other / kept / META).is_file():
            continue
        (own / kept).mkdir(parents=True, exist_ok=True)
        for name in (WEIGHTS, META):  # the description last: without it the copy counts as not there
            shutil.copyfile(other / kept / name, own / kept / name)
