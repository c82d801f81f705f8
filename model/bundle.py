"""A bundle: a folder with `bundle.json` and the weight files that it names, each with its digest.

No torch, no pickle. The digest of the bundle is the SHA-256 of the bytes of `bundle.json`, which holds the digest of
every other file: one number stands for the whole.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Bundle", "BundleError", "ClippingSpec", "FileSpec", "FusionSpec", "ModelSpec", "open_bundle", "write_bundle"]

BUNDLE_FILE = "bundle.json"


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

    strength: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of the layer that is subtracted
    highpass_px: Annotated[float, Field(ge=0)] = 0.0  # Gaussian sigma on the model grid; 0 keeps all frequencies


class FileSpec(_Record):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class ModelSpec(_Record):
    """Everything needed to run the network the way it was trained; the content of `bundle.json`."""

    format: Literal[1] = 1
    name: str
    version: str
    grid: Annotated[int, Field(ge=64)]  # rows = columns of the model's input, px
    latent_channels: Annotated[int, Field(ge=1)] = 4
    downsampling: Annotated[int, Field(ge=1)] = 8
    prediction: Literal["x0", "eps", "v"] = "x0"
    schedule: Literal["cosine"] = "cosine"
    offset_noise: Annotated[float, Field(ge=0)] = 0.1  # coefficient on eta, one eta per sample and channel (Eq. 5)
    steps: Annotated[int, Field(ge=1, le=1000)] = 4
    clipping: ClippingSpec = ClippingSpec()
    fusion: FusionSpec = FusionSpec()
    graphs: dict[Literal["encoder", "denoiser", "decoder"], str]  # role -> file name of an ONNX graph
    files: dict[str, FileSpec]
    training: dict[str, Any] = {}  # provenance for the model card: data, seeds, commit, losses
    licence: str = "research use only"


class Bundle(_Record):
    """An open, verified bundle."""

    folder: Path
    spec: ModelSpec
    digest: str  # SHA-256 of bundle.json, 64 hexadecimal digits

    def path(self, role: Literal["encoder", "denoiser", "decoder"]) -> Path:
        return self.folder / self.spec.graphs[role]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def open_bundle(folder: Path) -> Bundle:
    """Read `bundle.json` and verify the digest of every file it names.

    Raises
    ------
    BundleError
        Not a bundle, a key is unknown, a file is missing, or its size or digest differs.
    """
    try:
        raw = (folder / BUNDLE_FILE).read_bytes()
        spec = ModelSpec.model_validate_json(raw)
    except OSError as error:
        raise BundleError(f"{folder} holds no readable {BUNDLE_FILE}") from error
    except ValueError as error:
        raise BundleError(f"{folder / BUNDLE_FILE} is not valid: {error}") from error
    for name, expected in spec.files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != expected.bytes or _sha256(path) != expected.sha256:
            raise BundleError(f"{path} is missing or is not the file that {BUNDLE_FILE} names")
    missing = set(spec.graphs.values()) - set(spec.files)
    if missing:
        raise BundleError(f"{BUNDLE_FILE} names graphs without a digest: {', '.join(sorted(missing))}")
    return Bundle(folder=folder, spec=spec, digest=hashlib.sha256(raw).hexdigest())


def write_bundle(folder: Path, spec_without_files: dict[str, Any], names: list[str]) -> Bundle:
    """Digest the named files of ``folder``, write `bundle.json` beside them and open the result."""
    files = {name: {"sha256": _sha256(folder / name), "bytes": (folder / name).stat().st_size} for name in sorted(names)}
    spec = ModelSpec.model_validate(spec_without_files | {"files": files})
    (folder / BUNDLE_FILE).write_text(json.dumps(spec.model_dump(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return open_bundle(folder)
