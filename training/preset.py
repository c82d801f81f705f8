"""A preset: every number of a training, validated, from a TOML file."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model.autoencoder import AutoencoderConfig
from model.bundle import ClippingSpec, FusionSpec, SamplerName
from model.denoiser import DenoiserConfig
from model.process import ProcessName, require_compatible
from model.refiner import RefinerConfig
from model.schedule import ScheduleName
from training.control_network import ControlConfig

__all__ = [
    "AutoencoderTraining",
    "ControlTraining",
    "DiffusionTraining",
    "Optimisation",
    "Preset",
    "PresetError",
    "RefinerTraining",
    "load_preset",
]

SHIPPED = Path(__file__).parent / "presets"

Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Period = Annotated[int, Field(ge=0)]


class PresetError(Exception):
    """The preset does not exist or a number in it is not usable."""


class Optimisation(BaseModel):
    """What all stages share: AdamW, warm-up, cosine decay, EMA, how often to save and to look."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: Positive
    final_learning_rate: Positive
    warmup_steps: Period
    batch: Count
    max_steps: Count
    ema: Annotated[float, Field(gt=0, lt=1)]  # share of the old weights kept per step
    save_every: Count
    validate_every: Period  # 0: never
    clip_gradient_norm: Positive = 1.0
    bfloat16: bool = True  # autocast of convolutions; weights, losses and the last layer stay float32
    accumulate: Count = 1  # batches whose gradients are averaged into one step


class AutoencoderTraining(Optimisation):
    """Weights of the autoencoder's losses."""

    crop: Annotated[int, Field(ge=32)]  # rows and columns of a training patch
    l1: Weight
    mse: Weight
    ms_ssim: Weight
    twin: Weight  # on |(D(E(cxr)) - D(E(soft))) - (cxr - soft)|: what ships is a difference of two decodes
    latent_noise: Weight  # noise on latents while training, in deviations; makes the decoder smooth
    commitment: Weight = 0.25  # vq only
    perceptual: Weight = 0.0  # on the perceptual distance to the image; needs its published weights
    adversarial: Weight = 0.0  # on what a patch discriminator makes of the reconstruction
    discriminator_learning_rate: Positive = 5e-4


class DiffusionTraining(Optimisation):
    """The process, weights of the denoiser's losses, and how time is drawn."""

    process: ProcessName = "diffusion"  # or bridge, flow: from the radiograph's latents, see `model.process`
    schedule: ScheduleName = "cosine"  # of a diffusion
    path_noise: Weight = 0.1  # of a bridge or flow, in deviations of the latents
    scaled_condition: bool = False  # times alpha_t in training alone, as the public code does; an ablation
    offset_noise: Weight
    high_noise_share: Annotated[float, Field(ge=0, le=1)]  # share of a batch with t in [.9, 1]; few steps start there
    own_prediction_share: Annotated[float, Field(ge=0, le=1)] = 0.0  # of samples noised from the network's own guess
    latent: Weight  # error of the latents, or of noise or v
    latent_error: Literal["smooth_l1", "mse"] = "smooth_l1"
    decoded: Weight  # error of the decoded bone layer
    shadow_weight: Weight = 0.0  # how much more both errors count where a shadow lies that is no bone
    sampling_steps: Count
    sampler: SamplerName = "ddim"
    eta: Annotated[float, Field(ge=0, le=1)] = 0.0


class ControlTraining(Optimisation):
    """Weights of the control's losses; what a preset does not say is the default preset's."""

    learning_rate: Positive = 1e-3
    final_learning_rate: Positive = 2e-5
    warmup_steps: Period = 50
    batch: Count = 4
    max_steps: Count = 4000
    ema: Annotated[float, Field(gt=0, lt=1)] = 0.995
    save_every: Count = 50
    validate_every: Period = 200
    l1: Weight = 1.0  # error of the bone layer
    gradient: Weight = 1.0  # error of its edges


class RefinerTraining(Optimisation):
    """Weights of the refiner's losses; without the perceptual one where a preset does not say."""

    learning_rate: Positive = 1e-3
    final_learning_rate: Positive = 2e-5
    warmup_steps: Period = 50
    batch: Count = 6
    max_steps: Count = 800
    ema: Annotated[float, Field(gt=0, lt=1)] = 0.99
    save_every: Count = 100
    validate_every: Period = 100
    crop: Annotated[int, Field(ge=32)] = 288  # rows and columns of a training patch
    framings: Count = 600  # at most; each gives many crops, and sampling one costs as much as a step
    l1: Weight = 1.0  # error of the bone layer
    gradient: Weight = 1.0  # error of its edges
    energy: Weight = 0.0  # squared error of the layer over the energy of the true one
    edge_energy: Weight = 0.0  # the same of its edges
    steady: Weight = 0.0  # energy of what shadows that are no bone change in the layer, over their own
    perceptual: Weight = 0.0  # distance of what is left of the radiograph to the truth; needs its published weights
    perceptual_crop: Annotated[int, Field(ge=32)] | None = None  # side of the window it is taken in; None: the crop
    shadow_weight: Weight = 0.0  # how much more l1, gradient and energy count where a shadow lies that is no bone


class Preset(BaseModel):
    """Every stage and the sizes of every network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    grid: Annotated[int, Field(ge=64)]
    autoencoder: AutoencoderConfig
    autoencoder_training: AutoencoderTraining
    denoiser: DenoiserConfig
    diffusion: DiffusionTraining
    clipping: ClippingSpec
    refiner: RefinerConfig | None = None  # None: no such stage
    refiner_training: RefinerTraining = RefinerTraining()
    control: ControlConfig = ControlConfig()
    control_training: ControlTraining = ControlTraining()
    fusion: FusionSpec = FusionSpec()  # how the bundle of such a run subtracts its bone layer
    views: Annotated[int, Field(ge=1, le=4)] = 1  # of one image, over which such a bundle averages the layer
    shadows: bool = (
        False  # `training.shadows` in the framings of denoiser and refiner, in the place of few soft nodules
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        way = self.diffusion
        require_compatible(way.process, self.denoiser.prediction, way.sampler, way.eta)
        if way.own_prediction_share and self.denoiser.prediction != "x0":
            raise ValueError("own_prediction_share is for a denoiser that predicts x0: set it to 0")
        if way.scaled_condition and way.process != "diffusion":
            raise ValueError(
                "scaled_condition is an ablation of the diffusion: a bridge or flow starts from the condition"
            )
        return self

    @model_validator(mode="after")
    def _fitting_sizes(self) -> Self:
        levels = (self.autoencoder.channels, self.autoencoder.blocks), (self.denoiser.multipliers, self.denoiser.blocks)
        if any(len(widths) != len(blocks) for widths, blocks in levels):
            raise ValueError("a network needs as many numbers of blocks as it has levels")
        multiple = self.autoencoder.downsampling * 2 ** (len(self.denoiser.multipliers) - 1)
        if self.grid % multiple:
            raise ValueError(
                f"grid {self.grid} has to be a multiple of {multiple}, for the coarsest level of both networks"
            )
        return self

    @model_validator(mode="after")
    def _fitting_refiner(self) -> Self:
        if self.refiner is None:
            return self
        if len(self.refiner.channels) != len(self.refiner.blocks):
            raise ValueError("the refiner needs as many numbers of blocks as it has levels")
        if self.refiner_training.steady and not self.shadows:
            raise ValueError("refiner_training.steady is about shadows: set shadows = true, or leave steady out")
        multiple, crop = self.refiner.multiple, self.refiner_training.crop
        if self.grid % multiple or crop % multiple:
            raise ValueError(f"grid {self.grid} and the refiner's crop {crop} have to be multiples of {multiple}")
        return self


def load_preset(name_or_path: str | Path) -> Preset:
    """Read a preset that is shipped, by name, or any other, by path.

    Raises
    ------
    PresetError
        No such preset, unreadable TOML, an unknown key or a number out of range; the message says which.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = SHIPPED / f"{name_or_path}.toml"
    try:
        return Preset.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        names = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.toml")))
        raise PresetError(f"no preset {name_or_path}; shipped are: {names}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise PresetError(f"{path.name} is not a usable preset: {wrong}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PresetError(f"{path.name} is not a usable preset: {error}") from error
