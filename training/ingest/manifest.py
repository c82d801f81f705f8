"""The manifest of a folder of ingested pairs, and the one way to read them again.

::

    FOLDER/manifest.json          what was made of what, without a name or an id of anybody
    FOLDER/pairs/ID_cxr.png       16 bit, square, the radiograph as the service hands it to the network
    FOLDER/pairs/ID_soft.png      its soft-tissue twin, registered onto it
    FOLDER/private.json           the key of the hashed ids and where each pair came from: not to be passed on
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from pacs_node.errors import ConfigError
from pacs_node.imaging.fit import Placement, letterbox, place

__all__ = ["IngestedPairs", "Manifest", "PairRecord", "SourceFacts", "Split", "Tone", "Unpaired", "open_pairs"]

FloatImage: TypeAlias = NDArray[np.float32]
Split: TypeAlias = Literal["train", "validation", "test"]
Tone: TypeAlias = Literal["own", "cxr"]
Size: TypeAlias = tuple[int, int]
NAME = "manifest.json"
PICTURES = "pairs"
FULL_SCALE = 65535


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceFacts(_Strict):
    """What is known about a set.

    Attributes
    ----------
    licence : None where nobody said.
    tone : what `open_pairs` gives of it unless asked otherwise, see `IngestedPairs`.
    options : of `training.ingest.normalise.Recipe`, as last used.
    """

    title: str
    layout: str
    licence: str | None
    tone: Tone = "own"
    options: dict[str, str | int | float | bool | None] = {}


class PairRecord(_Strict):
    """One pair, taken or refused.

    Attributes
    ----------
    pair_id, patient : keyed hashes (HMAC-SHA256) of the two files and of the patient; they tell nothing without the
        key.
    source : key of `Manifest.sources`.
    split : None when refused, and as long as an ingest that was interrupted is not finished.
    refused : a reason code, and ``explanation`` one sentence; None when taken.
    recipe : digest of the options; another one means that the pair is made anew.
    source_sha256, written_sha256 : of the two files read, of the two pictures written; cxr first.
    cxr_size, soft_size : (rows, columns) as delivered.
    cxr_inverted, soft_inverted : whether it was delivered as a negative and turned around.
    chest_score : how sure that is, 0 to 1 (`training.ingest.polarity.chest_score`); look at those below .4.
    picture : (rows, columns) of the part that both twins cover, in px of the radiograph; letterboxed into the square.
    matrix : rows of the 2 x 3 affine map from a place (row, column) on the letterboxed radiograph to the place on the
        letterboxed twin that shows the same, without the smooth warp of `Recipe.deform`, which is not kept. This and
        the next three count px of squares of 1024, whatever the size.
    shift_px : mean length of that displacement.
    residual_before_px, residual_px : median displacement between pieces of the twins, before and after.
    similarity, matched_share : correlation of the twins' structure after it, and the share of pieces that match.
    tone_curve : points (soft, cxr) of a monotone curve that brings the twin to the radiograph's tone, in [0, 1].
    """

    pair_id: str
    patient: str
    source: str
    split: Split | None = None
    refused: str | None = None
    explanation: str | None = None
    recipe: str
    source_sha256: tuple[str, str]
    written_sha256: tuple[str, str] | None = None
    cxr_size: Size | None = None
    soft_size: Size | None = None
    cxr_inverted: bool = False
    soft_inverted: bool = False
    chest_score: float | None = None
    picture: Size | None = None
    matrix: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    shift_px: float | None = None
    residual_before_px: float | None = None
    residual_px: float | None = None
    similarity: float | None = None
    matched_share: float | None = None
    tone_curve: tuple[tuple[float, float], ...] = ()


class Unpaired(_Strict):
    """A file that makes no pair: a hashed name, the key of its source, a reason code and one sentence."""

    name: str
    source: str
    reason: str
    explanation: str


class Manifest(_Strict):
    """What `manifest.json` holds; ``size`` is rows = columns of every picture."""

    format: Literal[1] = 1
    size: int
    split_seed: int = 0
    sources: dict[str, SourceFacts]
    pairs: tuple[PairRecord, ...]
    unpaired: tuple[Unpaired, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read ``folder/manifest.json``.

        Raises
        ------
        ConfigError
            There is none, or it is not one of ours.
        """
        path = folder / NAME
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise ConfigError(f"{folder} holds no {NAME}: `pacs-node ingest SOURCE -o {folder}` makes one") from None
        except ValidationError as error:
            place_of_error = ".".join(str(part) for part in error.errors()[0]["loc"])
            told = f"{path} is no manifest of ingested pairs ({place_of_error or 'not JSON'})"
            raise ConfigError(f"{told}; ingest into a new folder") from None

    def write(self, folder: Path) -> None:
        """Replace ``folder/manifest.json`` in one step: a reader sees the old one or the new one."""
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{NAME}.part"
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(self.model_dump_json(indent=1) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(folder / NAME)


class IngestedPairs(Sequence[tuple[FloatImage, FloatImage]]):
    """Ingested pairs in the manifest's order; each is read from disk when it is asked for.

    Attributes
    ----------
    records : what is known about each pair, in the same order.
    size : rows and columns of what is given, px.
    tones : for each source, "own" or "cxr". "own" gives the twin as delivered, each twin stretched to its own range:
        the truth to measure against. "cxr" gives it under the monotone curve that brings it to the radiograph's tone,
        so that radiograph minus twin is bone and little else: what a network should learn to take away.
    """

    def __init__(self, folder: Path, records: Sequence[PairRecord], size: int, tones: Mapping[str, Tone]) -> None:
        self.folder, self.records, self.size, self.tones = folder, tuple(records), size, tones

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> tuple[FloatImage, FloatImage]: ...
    @overload
    def __getitem__(self, index: slice) -> "IngestedPairs": ...
    def __getitem__(self, index: int | slice) -> "tuple[FloatImage, FloatImage] | IngestedPairs":
        """Pair ``index`` as (cxr, soft), each (size, size) float32 in [0, 1]; a slice gives fewer pairs."""
        if isinstance(index, slice):
            return IngestedPairs(self.folder, self.records[index], self.size, self.tones)
        record = self.records[index]
        cxr, soft = (self._picture(record, kind) for kind in ("cxr", "soft"))
        if self.tones[record.source] == "cxr" and record.tone_curve:
            rows, columns = self.placement(index).covered()  # the letterbox stays black
            known, wanted = np.array(record.tone_curve).T
            soft[rows, columns] = np.interp(soft[rows, columns], known, wanted)
        return cxr, soft

    def placement(self, index: int) -> Placement:
        """Where the picture lies in the square; `covered()` of it is the part that is no letterbox."""
        rows, columns = self.records[index].picture or (self.size, self.size)
        return place(rows, columns, self.size)

    def _picture(self, record: PairRecord, kind: str) -> FloatImage:
        path = self.folder / PICTURES / f"{record.pair_id}_{kind}.png"
        try:
            with Image.open(path) as picture:
                values = np.asarray(picture, dtype=np.float32) / np.float32(FULL_SCALE)
        except OSError:
            told = f"{path} cannot be read, though the manifest names it"
            raise ConfigError(f"{told}; the same `pacs-node ingest` command makes it anew") from None
        if values.shape == (self.size, self.size):
            return values
        side = values.shape[0]
        return letterbox(values, place(side, side, self.size))


def open_pairs(
    folder: Path, split: Split | None = None, *, size: int | None = None, tone: Tone | None = None
) -> IngestedPairs:
    """Open the pairs that `pacs-node ingest` wrote; iterate it, or index it, for (cxr, soft).

    Parameters
    ----------
    folder : the FOLDER of `pacs-node ingest SOURCE -o FOLDER`.
    split : "train", "validation" or "test"; None for all three.
    size : rows and columns of what is given, area-resized; None for what the folder holds (1024 unless asked else).
    tone : "own" or "cxr", see `IngestedPairs`; None for what each source was ingested with.

    Returns
    -------
    A sequence of (cxr, soft), each (size, size) float32 in [0, 1], 0 in the letterbox; the radiograph's robust range
    (`pacs_node.imaging.fit.intensity_range`) is [0, 1], as the service stretches it. Refused pairs are left out.

    Raises
    ------
    ConfigError
        There is no manifest, or no pair in the split; when read: a picture is missing or damaged.
    """
    manifest = Manifest.read(folder)
    kept = [record for record in manifest.pairs if record.split is not None and split in (None, record.split)]
    if not kept:
        raise ConfigError(f"{folder} holds no pair of the split {split}" if split else f"{folder} holds no pair")
    tones = {key: tone or facts.tone for key, facts in manifest.sources.items()}
    return IngestedPairs(folder, kept, size or manifest.size, tones)
