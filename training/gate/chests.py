"""Frontal chests, lateral ones and bone images: real, simulated, projected from CT, and cartoons."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from pacs_node.errors import Rejected
from pacs_node.imaging.fit import intensity_range
from pacs_node.imaging.read import read_radiograph
from pacs_node.records import FloatImage
from training.gate.film import FOLDS, Film, small
from training.raycast import TorchSampler
from training.simulate.ct import Pose, Volume, draw_pose, project, separate
from training.simulate.ct.files import find_scans, read_scan
from training.simulate.pair import form_pair, simulate_pair

__all__ = ["INVERTED_FILES", "cartoons", "films_of_ct", "grey", "real_chests", "real_pairs", "simulated"]

SIZE = 256  # px of simulated and projected films
FRONTAL_DEG, LATERAL_DEG = 12.0, (45.0, 135.0)  # what lies between is shown to nobody: either answer is right there
# Displayed inverted: a file whose header was made wrong on purpose, and pairs that were published as negatives.
INVERTED_FILES = ("txrv_Fake_MONOHR1", "jsrt_")


def grey(path: Path) -> FloatImage:
    """An 8- or 16-bit picture in [0, 1]."""
    with Image.open(path) as picture:
        deep = picture.mode.startswith("I")
        values = np.asarray(picture if deep else picture.convert("L"), dtype=np.float32)
    return values / np.float32(65535 if deep else 255)


def real_chests(data: Path) -> Iterator[Film]:
    """The radiographs of ``cxr/`` and ``dicom/``, one fold for each."""
    for index, path in enumerate(sorted((data / "cxr").glob("*.jpg"))):
        yield Film(small(grey(path)), "frontal", "cxr", path.stem, index % FOLDS)
    people = {"RG1": 0, "txrv": 1, "nih": 2}  # several files show one person
    for path in sorted((data / "dicom").glob("*.dcm")):
        try:
            pixels = read_radiograph(path).pixels
        except Rejected:
            continue
        upright = 1 - pixels if path.stem.startswith(INVERTED_FILES) else pixels
        yield Film(small(upright), "frontal", "dicom", path.stem, people[path.stem.split("_")[0]])


def real_pairs(data: Path) -> Iterator[Film]:
    """Radiographs, soft-tissue images and bone images of dual-energy pairs.

    A soft-tissue image counts as a frontal chest: its pixels do not tell it from a plain film of low contrast.
    """
    for index, path in enumerate(sorted((data / "pairs").glob("*_cxr.*"))):
        cxr, soft = grey(path), grey(next(path.parent.glob(path.name.replace("_cxr", "_soft").split(".")[0] + ".*")))
        if path.stem.startswith(INVERTED_FILES):
            cxr, soft = 1 - cxr, 1 - soft
        fold = index % FOLDS
        yield Film(small(cxr), "frontal", "pairs", path.stem, fold)
        yield Film(small(soft), "frontal", "pairs/soft", path.stem, fold)
        if cxr.shape == soft.shape:
            yield Film(small(_bone_image(cxr, soft)), "bone", "pairs/bone", path.stem, fold)


def _bone_image(cxr: FloatImage, soft: FloatImage) -> FloatImage:
    """What the twin lacks, shown as a bone image is: bone bright on grey."""
    low, high = intensity_range(cxr - soft)
    return np.asarray(np.clip((cxr - soft - low) / (high - low), 0, 1), dtype=np.float32)


def simulated(count: int, seed: int = 7000) -> Iterator[Film]:
    """Chests of people that were drawn, and the bone images of every third."""
    for number in range(count):
        pair = simulate_pair(seed + number, SIZE)
        yield Film(small(pair.cxr), "frontal", "simulated", str(number), number % FOLDS)
        if number % 3 == 0:
            yield Film(small(_bone_image(pair.cxr, pair.soft)), "bone", "simulated/bone", str(number), number % FOLDS)


def films_of_ct(folder: Path, frontal: int, lateral: int) -> Iterator[Film]:
    """Projections of every scan of a folder: frontal, and lateral from either side. One fold for each scan."""
    for fold, found in enumerate(find_scans(folder)):
        scan = read_scan(found)
        volume = separate(scan.hu, scan.spacing_mm, scan.labels)
        sampler = TorchSampler(volume)
        for number in range(frontal + lateral):
            rng = np.random.default_rng([fold, number, 0x6A7E])
            kind = "frontal" if number < frontal else "lateral"
            picture = _projection(volume, sampler, _turned(draw_pose(rng), kind, rng), rng, number)
            yield Film(small(picture), kind, f"ct/{kind}", f"{found.name.split('.')[0]}-{number}", fold % FOLDS)
        yield from _slices(scan.hu, found.name.split(".")[0], fold % FOLDS)


def _turned(pose: Pose, kind: str, rng: np.random.Generator) -> Pose:
    pitch, roll, _ = pose.angles_rad
    if kind == "frontal":
        yaw = float(np.clip(rng.normal(0, 5), -FRONTAL_DEG, FRONTAL_DEG))
        return replace(pose, angles_rad=(pitch, roll, np.deg2rad(yaw)))
    yaw = float(np.clip(rng.normal(90, 14), *LATERAL_DEG)) if rng.random() < 0.8 else float(rng.uniform(*LATERAL_DEG))
    wide, deep, long = np.exp(rng.normal(0, [0.08, 0.12, 0.08]))
    side = 1 if rng.random() < 0.5 else -1
    return replace(
        pose,
        angles_rad=(pitch / 2, roll, side * np.deg2rad(yaw)),
        fov_mm=float(rng.uniform(290, 420)),
        size=(float(wide), float(deep), float(long)),
    )


def _projection(volume: Volume, sampler: TorchSampler, pose: Pose, rng: np.random.Generator, number: int) -> FloatImage:
    anatomy = project(volume, pose, SIZE, number, sampler)
    return form_pair(anatomy, anatomy, rng, SIZE).cxr


def _slices(hu: FloatImage, name: str, fold: int) -> Iterator[Film]:
    """Axial and sagittal slices at a few windows: pictures of a chest that are no radiographs."""
    for number in range(12):
        rng = np.random.default_rng([fold, number])
        at = float(rng.uniform(0.2, 0.8))
        part = hu[:, :, int(at * hu.shape[2])] if number % 2 else hu[int(at * hu.shape[0])]
        center, width = (40, 400) if rng.random() < 0.5 else (-500, 1500)
        picture = np.clip((part.T[::-1] - center) / width + 0.5, 0, 1)
        yield Film(small(picture), "other", "ct/slice", f"{name}-slice-{number}", fold)


def cartoons(count: int) -> Iterator[Film]:
    """Two dark lungs on a bright body: the simplest picture that people draw of a chest, as tests of nodes send it."""
    for number in range(count):
        rng = np.random.default_rng([number, 0xCA])
        rows, columns = np.mgrid[0:SIZE, 0:SIZE] / SIZE
        wide, high, power = rng.uniform(0.1, 0.17), rng.uniform(0.22, 0.36), rng.uniform(1, 2.5)
        middle, apart = rng.uniform(0.44, 0.56), rng.uniform(0.17, 0.23)
        lungs = sum(
            np.exp(-((((columns - 0.5 - side * apart) / wide) ** 2 + ((rows - middle) / high) ** 2) ** power))
            for side in (-1, 1)
        )
        body = rng.uniform(0.6, 1.0) - rng.uniform(0.4, 0.6) * lungs
        if rng.random() < 0.5:
            body += 0.15 * np.exp(-(((columns - 0.5) / 0.06) ** 2))
        picture = np.clip(body + rng.normal(0, rng.uniform(0.002, 0.03), body.shape), 0, 1).astype(np.float32)
        yield Film(small(picture), "frontal", "cartoon", str(number), number % FOLDS)
