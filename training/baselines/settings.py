"""How each rival is trained, at the sizes of its paper and scaled down for a CPU."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from training.preset import Optimisation

__all__ = ["SETTINGS", "BaselineName", "BaselineTraining", "Scale"]

BaselineName: TypeAlias = Literal["gusarev", "mca_net", "resnet_bs", "bs_diff"]
Scale: TypeAlias = Literal["paper", "small"]


class BaselineTraining(Optimisation):
    """The loop's settings, and what is cut out of a framing.

    Attributes
    ----------
    crop : rows and columns of a training patch, at the scale of the grid; 0 takes framings whole.
    opponent_learning_rate : of the discriminator.
    """

    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    final_learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    batch: Annotated[int, Field(ge=1)] = 4
    max_steps: Annotated[int, Field(ge=1)] = 4000
    ema: Annotated[float, Field(gt=0, lt=1)] = 0.995
    save_every: Annotated[int, Field(ge=1)] = 50
    validate_every: Annotated[int, Field(ge=0)] = 200
    crop: Annotated[int, Field(ge=0)] = 0
    opponent_learning_rate: Annotated[float, Field(gt=0)] = 5e-4


def _published(**numbers: float) -> BaselineTraining:
    """A training as long as a GPU takes a day for; the papers count epochs of their own data."""
    return BaselineTraining.model_validate({"max_steps": 100_000, "save_every": 500, "validate_every": 2000} | numbers)


SETTINGS: dict[BaselineName, dict[Scale, BaselineTraining]] = {
    "gusarev": {
        "paper": _published(learning_rate=1e-3, batch=5),
        "small": BaselineTraining(learning_rate=4e-3, batch=2, crop=128),
    },
    "mca_net": {
        "paper": _published(learning_rate=1e-4, batch=2, opponent_learning_rate=1e-4),
        "small": BaselineTraining(learning_rate=1e-3, batch=2, opponent_learning_rate=1e-4),
    },
    "resnet_bs": {
        "paper": _published(learning_rate=1e-3, batch=8, crop=256),
        "small": BaselineTraining(learning_rate=1e-3, batch=4, crop=128),
    },
    "bs_diff": {
        "paper": _published(learning_rate=1e-4, batch=2, opponent_learning_rate=5e-4),
        "small": BaselineTraining(learning_rate=1e-3, batch=2),
    },
}
