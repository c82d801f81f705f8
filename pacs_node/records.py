"""What one stage hands to the next: frozen, and free of behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

__all__ = ["DerivedInstance", "FloatImage", "Inference", "Look", "MaskImage", "Radiograph", "ReceivedInstance"]

FloatImage = NDArray[np.float32]
MaskImage = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ReceivedInstance:
    """One SOP Instance, durable in ``incoming/``."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    path: Path
    size_bytes: int
    calling_ae_title: str
    peer_address: str
    received_at: datetime  # UTC, aware


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """How the stored values of a source become the P-values that a person sees, in the terms of a presentation state.

    Attributes
    ----------
    rescale : slope and intercept in front of ``window`` (PS3.3 C.11.1).
    window : center, width and VOILUTFunction (C.11.2.1.2), or None where ``table`` says it.
    table : (entries,) uint16, P-values in 65535ths of the stored values from ``first_stored`` on, before inversion.
    is_inverted : PresentationLUTShape INVERSE: the smallest output is white (C.11.6).
    """

    rescale: tuple[float, float]
    window: tuple[float, float, str] | None
    table: NDArray[np.uint16] | None
    first_stored: int
    is_inverted: bool


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """A decoded frontal radiograph as a person sees it at its default window.

    Attributes
    ----------
    pixels : (rows, columns) float32, P-values in [0, 1], 0 is black, not quantised.
    padding : (rows, columns) bool or None
        True where the source holds PixelPaddingValue (PS3.3 C.7.5.1.1.2); ``pixels`` is 0 there.
    bits_stored : int, 8 to 16; the companion is written at this depth.
    ds : the source data set, without pixel data.
    polarity_corrected : the default look was a negative, and ``pixels`` are its negative: bone is bright again.
    look : how ``pixels`` follow from the stored values, before any correction; None where they come from no DICOM file.
    """

    pixels: FloatImage
    padding: MaskImage | None
    bits_stored: int
    ds: Dataset
    polarity_corrected: bool = False
    look: Look | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """What the network made of one radiograph, and how.

    Attributes
    ----------
    soft_tissue : (rows, columns) uint16 P-values, 0 .. 2**bits_stored - 1, at native resolution.
    bone_layer : (rows, columns) float32, what was subtracted from the P-values in [0, 1].
    noise_seed : int, the seed of the one noise generator.
    steps : int, network evaluations of the sampler.
    polarity_corrected : as of the radiograph; the companion is the negative of the source's default look.
    guard : figures of `pacs_node.imaging.guard` by name; None where they were not taken.
    """

    soft_tissue: NDArray[np.uint16]
    bone_layer: FloatImage
    noise_seed: int
    steps: int
    polarity_corrected: bool = False
    guard: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class DerivedInstance:
    """One companion, durable in ``outbox/``."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    source_sop_instance_uid: str
    study_instance_uid: str
    path: Path
    pixel_sha256: str
