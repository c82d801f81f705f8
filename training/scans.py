"""CT scans of a folder as anatomies in a cache: read once, projected in as many poses and builds as are asked for."""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.raycast import TorchSampler
from training.simulate.anatomy import save_anatomy
from training.simulate.ct import draw_pose, project, separate
from training.simulate.ct.files import Found, find_scans, read_scan
from training.simulate.ct.scan import Refused

__all__ = ["Shelf", "anatomy_name", "draw_poses", "identity"]

log = logging.getLogger(__name__)
DRAWN = 0xC7  # keeps the poses apart from what else a seed draws


@dataclass(frozen=True, slots=True)
class Shelf:
    """The scans of a folder that can be used, by identity, and why the others cannot."""

    scans: dict[str, Found]
    refused: dict[str, str]

    @classmethod
    def of(cls, folder: Path) -> "Shelf":
        """Find the scans; whether one can be read turns out when it is."""
        return cls({identity(found): found for found in find_scans(folder)}, {})


def identity(found: Found) -> str:
    """Eight digits that stay when the folder is moved: of the names and sizes of the files, not of the patient."""
    told = "".join(f"{path.name}:{path.stat().st_size};" for path in (*found.paths, *filter(None, [found.labels])))
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def anatomy_name(scan: str, pose: int, size: int) -> str:
    """File of one pose of a scan in the cache."""
    return f"anatomy-{scan}-{pose:04d}-{size}.npz"


def draw_poses(
    found: Found, poses: Iterable[int], folder: Path, size: int, *, device: str = "cpu"
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Project a scan into the poses that the cache lacks; pose n of a scan is the same in every folder.

    Parameters
    ----------
    found : from `find_scans`.
    folder : the cache, read by `training.simulate.cache.AnatomyCache`.
    device : where the rays are sent; not tried on a GPU.

    Yields
    ------
    The number of each new pose, and what was amiss with the scan and was mended.

    Raises
    ------
    Refused
        The scan cannot be used; the message says why.
    """
    scan = identity(found)
    missing = [pose for pose in poses if not (folder / anatomy_name(scan, pose, size)).exists()]
    if not missing:
        return
    read = read_scan(found)
    try:
        volume = separate(read.hu, read.spacing_mm, read.labels)
    except ValueError as error:
        raise Refused(str(error)) from error
    sampler, number = TorchSampler(volume, device), int(scan, 16)
    for pose in missing:
        view = draw_pose(np.random.default_rng([number, pose, DRAWN]))
        save_anatomy(project(volume, view, size, pose, sampler), folder / anatomy_name(scan, pose, size))
        yield pose, read.notes
