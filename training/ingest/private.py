"""What must stay with the person who ingests: the key of the hashes, and where each pair came from."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from pydantic import BaseModel, ValidationError

from pacs_node.errors import ConfigError
from training.ingest.found import Candidate
from training.ingest.manifest import Manifest, Split

__all__ = ["Origin", "Private"]

NAME = "private.json"
ID_DIGITS = 16  # of 64: enough that no two pairs of any set meet


class Origin(BaseModel):
    """Where a pair came from: the key of its source, its name there, and its patient as the source names them."""

    source: str
    name: str
    cxr: str
    soft: str
    patient: str


class Private(BaseModel):
    """`private.json`, readable by its owner only.

    Attributes
    ----------
    key : 32 random bytes as hex. Without it, nobody can find a PatientID by hashing all there are.
    origins : by pair id.
    digests : size, modification time in ns and SHA-256 of each file read, so that it need not be read again.
    splits : by seed, the split that each patient was ever given; a pair that is made anew has lost its record.
    """

    key: str
    origins: dict[str, Origin] = {}
    digests: dict[str, tuple[int, int, str]] = {}
    splits: dict[int, dict[str, Split]] = {}

    @classmethod
    def open(cls, folder: Path, *, must_exist: bool = False) -> "Private":
        """Read ``folder/private.json``, or begin a new one.

        Raises
        ------
        ConfigError
            It is damaged, or missing though it ``must_exist``.
        """
        path = folder / NAME
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            if must_exist:
                told = f"{path} is missing, without which no pair of this folder is known again"
                raise ConfigError(f"{told}: bring it back, or ingest into a new folder") from None
            return cls(key=secrets.token_hex(32))
        except ValidationError:
            raise ConfigError(f"{path} is damaged: bring back a copy, or ingest into a new folder") from None

    def write(self, folder: Path) -> None:
        """Replace the file in one step."""
        temporary = folder / f".{NAME}.part"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(self.model_dump_json(indent=1) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(folder / NAME)

    def hashed(self, text: str) -> str:
        """The keyed hash of a name, 16 hex digits."""
        return hmac.new(bytes.fromhex(self.key), text.encode(), hashlib.sha256).hexdigest()[:ID_DIGITS]

    def hashed_patient(self, patient: str) -> str:
        """The keyed hash of a patient, which no pair's or file's is."""
        return self.hashed(f"patient {patient}")

    def digest(self, path: Path) -> str:
        """SHA-256 of a file, remembered as long as its size and time of modification stay."""
        stat = path.stat()
        known = self.digests.get(str(path))
        if known is not None and known[:2] == (stat.st_size, stat.st_mtime_ns):
            return known[2]
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        self.digests[str(path)] = (stat.st_size, stat.st_mtime_ns, digest)
        return digest

    def learn_splits(self, manifest: Manifest) -> None:
        """Note the splits that a manifest holds, by what its patients are called now: `--patient` may have changed."""
        known = self.splits.setdefault(manifest.split_seed, {})
        for record in manifest.pairs:
            if record.split is not None and record.pair_id in self.origins:
                known.setdefault(self.origins[record.pair_id].patient, record.split)

    def remember(self, pair_id: str, source: str, pair: Candidate) -> None:
        """Note where a pair came from."""
        self.origins[pair_id] = Origin(
            source=source, name=pair.name, cxr=str(pair.cxr), soft=str(pair.soft), patient=pair.patient
        )
