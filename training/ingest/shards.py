"""Ingested pairs in the form that the training maps into memory, beside the simulated ones."""

import hashlib
from pathlib import Path

from training.ingest.manifest import Split, Tone, open_pairs
from training.pairs import SHARD, write_shard

__all__ = ["to_shards"]


def to_shards(ingested: Path, folder: Path, split: Split = "train", *, size: int = 512, tone: Tone = "cxr") -> int:
    """Write the pairs of a split as shards that `training.pairs.PairShards` opens.

    Parameters
    ----------
    ingested : FOLDER of `pacs-node ingest`.
    folder : of shards; may hold others. What is there already is not written again; shards that an earlier state of the
        same ``ingested`` left are removed.
    size, tone : as in `open_pairs`; simulated twins have the radiograph's tone, so real ones get it too.

    Returns
    -------
    Number of pairs in the split.

    Raises
    ------
    ConfigError
        See `open_pairs`.
    """
    pairs = open_pairs(ingested, split, size=size, tone=tone)
    state = repr([(record.pair_id, record.written_sha256, record.tone_curve) for record in pairs.records])
    name, digest = _short(str(ingested.resolve())), _short(f"{split} {size} {tone} {state}")
    starts = range(0, len(pairs), SHARD)
    wanted = {folder / f"ingested-{name}-{digest}-{first // SHARD:03d}.npy": first for first in starts}
    for path, first in wanted.items():
        if not path.exists():
            write_shard(path, list(pairs[first : first + SHARD]))
    for stale in set(folder.glob(f"ingested-{name}-*.npy")) - wanted.keys():
        stale.unlink()
    return len(pairs)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
