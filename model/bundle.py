"""A bundle: a folder with `bundle.json` and the weight files that it names, each with its digest.

No torch, no pickle. The digest of the bundle is the SHA-256 of the bytes of `bundle.json`, which holds the digest of
every other file: one number stands for the whole. The weights exist once, in one safetensors file: the ONNX graphs
point into it, and the torch modules are rebuilt from it with the constructor arguments in ``ModelSpec.network``.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model.process import Prediction, ProcessName, require_compatible
from model.schedule import ScheduleName

__all__ = [
    "BUNDLE_FILE",
    "ROLES",
    "Bundle",
    "BundleError",
    "ClippingSpec",
    "FileSpec",
    "FusionSpec",
    "ModelSpec",
    "NetworkSpec",
    "Role",
    "SamplerName",
    "open_bundle",
    "validate_spec",
    "write_bundle",
]

BUNDLE_FILE = "bundle.json"

Role = Literal["encoder", "denoiser", "decoder", "refiner", "fused"]
SamplerName = Literal["ddim", "ddpm", "dpmpp_2m"]
ROLES: tuple[Role, ...] = ("encoder", "denoiser", "decoder")  # what every bundle has; refiner and fused are optional

# A plain name: a bundle can never make us open a file outside its own folder.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]


class BundleError(Exception):
    """The folder is no bundle, or a file in it is missing or changed."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClippingSpec(_Record):
    """How predicted clean latents are bounded during sampling (paper, Table 2)."""

    kind: Literal["none", "static", "dynamic_thresholding", "dynamic_clipping"] = "dynamic_clipping"
    bound: float = 1.0  # static: [-bound, bound]; in standardised units
    percentile: Annotated[float, Field(gt=0, le=1)] = 0.995  # dynamic thresholding (Saharia et al. 2022)
    omega: float = 3.0  # dynamic clipping, Eq. 6, per unit of progress (paper: .003 per step of 1000)
    b: float = 1.4


class FusionSpec(_Record):
    """How the bone layer reaches native resolution."""

    strength: Annotated[float, Field(gt=0, le=2)] = 1.0  # of the layer that is subtracted; losses shrink what is unsure
    highpass_px: Annotated[float, Field(ge=0)] = 0.0  # Gaussian sigma on the model grid; 0 keeps all frequencies
    spare_px: Annotated[float, Field(ge=0, le=256)] = 0.0  # what is shorter in every direction is no bone; 0 takes all
    gap_strength: Annotated[float, Field(gt=0, le=2)] | None = None  # strength between ribs, with spare_px; as on them
    edge_gain: Annotated[float, Field(ge=1)] = 1.0  # how much stronger the layer's edges may become; 1 leaves them
    guided: bool = True  # detail below the grid is taken from the radiograph, where it runs along the layer's edges


class NetworkSpec(_Record):
    """Constructor arguments of the torch modules whose weights the bundle holds."""

    autoencoder: dict[str, Any] = {}
    denoiser: dict[str, Any] = {}
    refiner: dict[str, Any] = {}  # empty: there is none


class FileSpec(_Record):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class ModelSpec(_Record):
    """Everything needed to run the network the way it was trained; the content of `bundle.json`."""

    format: Literal[1] = 1
    name: Annotated[str, Field(min_length=1, max_length=64)]
    version: Annotated[str, Field(min_length=1, max_length=64)]
    grid: Annotated[int, Field(ge=64)]  # rows = columns of the model's input, px
    latent_channels: Annotated[int, Field(ge=1)] = 4
    downsampling: Annotated[int, Field(ge=1)] = 8
    prediction: Prediction = "x0"
    process: ProcessName = "diffusion"  # what it was trained as; see `model.process`
    schedule: ScheduleName = "cosine"
    path_noise: Annotated[float, Field(ge=0)] = 0.1  # of a bridge or flow, in deviations of the latents
    offset_noise: Annotated[float, Field(ge=0)] = 0.1  # coefficient on eta, one eta per sample and channel (Eq. 5)
    sampler: SamplerName = "ddim"
    eta: Annotated[float, Field(ge=0, le=1)] = 0.0  # share of the noise that `ddim` draws anew in each step
    steps: Annotated[int, Field(ge=1, le=1000)] = 4
    views: Annotated[int, Field(ge=1, le=4)] = 1  # whose layers are averaged: `pacs_node.imaging.views`
    clipping: ClippingSpec = ClippingSpec()
    fusion: FusionSpec = FusionSpec()
    network: NetworkSpec = NetworkSpec()
    precision: Literal["fp32", "fp16"] = "fp32"  # how the weights are stored; `graphs` compute in float32 in both
    weights: FileName = "weights.safetensors"  # tensors `autoencoder.*`, `denoiser.*`, `refiner.*`
    shapes: Literal["dynamic", "fixed"] = "dynamic"  # fixed: the graphs take images of the grid only, of any number
    graphs: dict[Role, FileName]  # role -> file name of an ONNX graph
    half_graphs: dict[Role, FileName] = {}  # the same computing in float16, for CUDA; inputs and outputs stay float32
    files: dict[FileName, FileSpec]
    training: dict[str, Any] = {}  # provenance for the model card: data, seeds, commit, losses
    licence: str = "research use only"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        absent = [role for role in ROLES if role not in self.graphs]
        if absent:
            raise ValueError(f"no graph for {', '.join(absent)}")
        if bool(self.network.refiner) != ("refiner" in self.graphs):
            raise ValueError("a refiner needs both its graph and its sizes")
        if "fused" in self.graphs and not self.draws_once:
            raise ValueError("a fused graph draws no noise on its way: take eta 0, and no ddpm or bridge")
        if strangers := sorted(set(self.half_graphs) - set(self.graphs)):
            raise ValueError(f"{', '.join(strangers)} computes in half precision only")
        named = {*self.graphs.values(), *self.half_graphs.values(), self.weights}
        unverified = sorted(named - set(self.files))
        if unverified:
            raise ValueError(f"no digest for {', '.join(unverified)}")
        if self.grid % self.downsampling:
            raise ValueError(f"grid {self.grid} is not a multiple of downsampling {self.downsampling}")
        require_compatible(self.process, self.prediction, self.sampler, self.eta)
        return self

    @property
    def draws_once(self) -> bool:
        """Whether all noise is that of the start, so that one graph can hold every step (see role `fused`)."""
        return self.sampler != "ddpm" and self.eta == 0 and self.process != "bridge"


class Bundle(_Record):
    """An open, verified bundle."""

    folder: Path
    spec: ModelSpec
    digest: str  # SHA-256 of bundle.json, 64 hexadecimal digits

    @property
    def roles(self) -> tuple[Role, ...]:
        """Of the graphs that run one after the other, in that order; `fused` stands for the first three of them."""
        return ROLES if "refiner" not in self.spec.graphs else (*ROLES, "refiner")

    def path(self, role: Role, *, half: bool = False) -> Path:
        """Where the ONNX graph of ``role`` lies.

        The graph `fused` is the bundle's own recipe, ``spec.steps`` and all, in one: `image` (B, 1, H, W) in [-1, 1]
        and `noise` (B, C, h, w) from `model.sampler.draw_noise` -> `layer` (B, 1, H, W), the decoded latents of the
        image minus the decoded sample.

        Parameters
        ----------
        half : the variant that computes in float16, from and to float32; see ``spec.half_graphs`` for what has one.

        Raises
        ------
        BundleError
            The bundle has no such graph.
        """
        try:
            return self.folder / (self.spec.half_graphs if half else self.spec.graphs)[role]
        except KeyError as error:
            raise BundleError(f"{self.folder} has no {'half-precision ' if half else ''}graph {role}") from error

    @property
    def weights_path(self) -> Path:
        """Where the safetensors file lies."""
        return self.folder / self.spec.weights


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _verify(path: Path, expected: FileSpec, description: str) -> None:
    if not path.is_file():
        raise BundleError(f"{path} is missing; {description} names it")
    size = path.stat().st_size
    if size != expected.bytes:
        raise BundleError(f"{path} has {size} bytes; {description} says {expected.bytes}")
    try:
        actual = _sha256(path)
    except OSError as error:
        raise BundleError(f"{path} cannot be read") from error
    if actual != expected.sha256:
        raise BundleError(f"{path} was changed: its SHA-256 is not the one in {description}")


def _complaints(error: ValidationError) -> str:
    """What is wrong and where, one line, without the input values."""
    lines = (f"{'.'.join(map(str, each['loc'])) or 'bundle'}: {each['msg']}" for each in error.errors())
    return "; ".join(lines)


def open_bundle(folder: Path, description: str = BUNDLE_FILE) -> Bundle:
    """Read the description of a bundle and verify the digest of every file it names.

    Parameters
    ----------
    description : name of the file in ``folder``; a folder may hold a second one, of the same network used otherwise.

    Raises
    ------
    BundleError
        Not a bundle, a key is unknown, a file is missing, or its size or digest differs; the message names the file.
    """
    path = folder / description
    try:
        raw = path.read_bytes()
        spec = ModelSpec.model_validate_json(raw)
    except OSError as error:
        raise BundleError(f"{folder} holds no readable {description}") from error
    except ValidationError as error:
        raise BundleError(f"{path} is not valid: {_complaints(error)}") from error
    for name, expected in spec.files.items():
        _verify(folder / name, expected, description)
    return Bundle(folder=folder, spec=spec, digest=hashlib.sha256(raw).hexdigest())


def validate_spec(description: dict[str, Any]) -> ModelSpec:
    """Check a description of a bundle.

    Raises
    ------
    BundleError
        A key is unknown, absent or out of range; the message names each.
    """
    try:
        return ModelSpec.model_validate(description)
    except ValidationError as error:
        raise BundleError(f"the description of the bundle is not valid: {_complaints(error)}") from error


def write_bundle(
    folder: Path, spec_without_files: dict[str, Any], names: list[str], description: str = BUNDLE_FILE
) -> Bundle:
    """Digest the named files of ``folder``, write the description beside them and open the result.

    Raises
    ------
    BundleError
        The description is not a valid ModelSpec.
    """
    files = {
        name: {"sha256": _sha256(folder / name), "bytes": (folder / name).stat().st_size} for name in sorted(names)
    }
    try:
        spec = ModelSpec.model_validate(spec_without_files | {"files": files})
    except ValidationError as error:
        raise BundleError(f"the description of the bundle is not valid: {_complaints(error)}") from error
    # Written in binary with sorted keys: the same content has the same digest on every system.
    text = json.dumps(spec.model_dump(), indent=1, sort_keys=True) + "\n"
    (folder / description).write_bytes(text.encode("utf-8"))
    return open_bundle(folder, description)
