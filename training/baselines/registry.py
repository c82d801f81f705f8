"""The rivals by name: what each is, in which sizes it is built, and how it is trained."""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints

import torch
from torch import nn

from training.adversarial import PatchDiscriminator
from training.baselines.bs_diff import BSDiff, BSDiffConfig, DiffusionAndEnhancement
from training.baselines.diffusion_unet import DiffusionUNetConfig
from training.baselines.enhancement import EnhancementConfig
from training.baselines.gusarev import Gusarev, GusarevConfig
from training.baselines.mca_net import EdgeDiscriminator, MCANet, MCANetConfig
from training.baselines.objectives import Adversarial, Objective, Similarity
from training.baselines.resnet_bs import ResNetBS, ResNetBSConfig
from training.baselines.settings import SETTINGS, BaselineName, BaselineTraining, Scale
from training.checkpoint import CheckpointError
from training.perceptual import load_perceptual

__all__ = ["BASELINES", "Baseline", "BaselineName", "BaselineTraining", "Scale"]


@dataclass(frozen=True, slots=True)
class Baseline:
    """One rival.

    Attributes
    ----------
    name : of it on the command line and in folders.
    title : in a table.
    paper : where it is from.
    configs : its sizes: as published, and scaled down for a training on a CPU.
    network : a configuration -> the network, untrained.
    objective : the loss of its paper and its opponent, untrained.
    """

    name: BaselineName
    title: str
    paper: str
    configs: dict[Scale, Any]
    network: Callable[[Any], nn.Module]
    objective: Callable[[Scale], Objective]

    def build(self, scale: Scale = "small") -> nn.Module:
        """The untrained network, with random weights of torch's generator."""
        return self.network(self.configs[scale])

    def parameters(self, scale: Scale = "small") -> int:
        """How many weights the network has; what is trained against it is not counted."""
        with torch.device("meta"):
            return sum(weight.numel() for weight in self.build(scale).parameters())

    def training(self, scale: Scale = "small") -> BaselineTraining:
        """How it is trained unless told otherwise."""
        return SETTINGS[self.name][scale]

    def read(self, values: dict[str, Any]) -> nn.Module:
        """The untrained network of the sizes that `dataclasses.asdict` gave, perhaps by way of JSON.

        Raises
        ------
        CheckpointError
            They are not sizes of this network.
        """
        try:
            return self.network(_configured(type(self.configs["paper"]), values))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"these are not the sizes of {self.title}") from error


def _configured(kind: type, values: dict[str, Any]) -> Any:
    """A configuration again from plain values; JSON has no tuples."""
    types, known = get_type_hints(kind), {}
    for item in fields(kind):
        value = values[item.name]
        if is_dataclass(types[item.name]):
            value = _configured(types[item.name], value)
        known[item.name] = tuple(value) if isinstance(value, list) else value
    return kind(**known)


# Instance normalisation hides the grey level: without it minutes reach the input, see docs/rivals.md.
SMALL_MCA_NET = MCANetConfig(widths=(16, 32, 64, 128, 128, 128, 128), last=8, normed=False)
SMALL_BS_DIFF = BSDiffConfig(
    side=128,
    steps=2,
    prediction="x0",
    residual=True,
    unet=DiffusionUNetConfig((32, 32, 64, 96), 1, (False, False, False, True)),
    enhancement=EnhancementConfig((16, 32, 48), 1, (False, False, True), latents=8, shortcut=True),
)

_ALL = (
    Baseline(
        "gusarev",
        "Gusarev autoencoder",
        "Gusarev et al. 2017, CIBCB, doi 10.1109/CIBCB.2017.8058543",
        # 64,400 weights fit any budget; tied, they learn so slowly that minutes do not reach the input
        {"paper": GusarevConfig(), "small": GusarevConfig(tied=False)},
        Gusarev,
        lambda _scale: Similarity("mse"),
    ),
    Baseline(
        "mca_net",
        "MCA-Net",
        "Zhou et al. 2018, ACCV, arXiv 1810.09354",
        {"paper": MCANetConfig(), "small": SMALL_MCA_NET},
        MCANet,
        lambda scale: Adversarial(EdgeDiscriminator(64 if scale == "paper" else 16)),
    ),
    Baseline(
        "resnet_bs",
        "ResNet-BS",
        "Rajaraman et al. 2021, Diagnostics 11:840",
        {"paper": ResNetBSConfig(), "small": ResNetBSConfig(width=32, blocks=6)},
        ResNetBS,
        lambda _scale: Similarity("mae"),
    ),
    Baseline(
        "bs_diff",
        "BS-Diff",
        "Chen et al. 2023, arXiv 2311.15328",
        {"paper": BSDiffConfig(), "small": SMALL_BS_DIFF},
        BSDiff,
        lambda scale: (
            DiffusionAndEnhancement(PatchDiscriminator(), load_perceptual())
            if scale == "paper"
            else DiffusionAndEnhancement(PatchDiscriminator(base=16), None)
        ),
    ),
)
BASELINES: dict[BaselineName, Baseline] = {baseline.name: baseline for baseline in _ALL}
