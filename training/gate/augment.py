"""What scanners, collimators, windows and people do to a film before the gate sees it."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from pacs_node.imaging.gate_thumbnail import glance_at
from pacs_node.records import FloatImage
from training.gate.film import KINDS, Film, Pool

__all__ = ["CROPPED", "framed", "thumbnails", "toned", "varied"]

Rng = np.random.Generator
Tones = NDArray[np.float64]
SIDE = 144  # px of a varied film, longer side
CROPPED = len(KINDS)  # label of a useless crop
# Share of each side that stays: enough to work with, and too little. What lies between is shown to nobody.
USEFUL, USELESS = (0.72, 1.0), (0.2, 0.48)


def varied(film: Film, rng: Rng, *, useless_crop: bool = False) -> FloatImage:
    """One of many ways the same picture might have been taken and shown; (rows, columns) float32 in [0, 1]."""
    picture = film.picture
    if film.kind == "lateral" and rng.random() < 0.65:
        picture = _collimated(picture, rng)
    return toned(framed(picture, rng, USELESS if useless_crop else USEFUL, turn=film.kind != "other"), rng)


def _collimated(picture: FloatImage, rng: Rng) -> FloatImage:
    """The film without most of the air in front of and behind the patient, as laterals are exposed."""
    body = np.flatnonzero(np.median(picture, axis=0) > np.percentile(picture, 95) * rng.uniform(0.12, 0.35))
    if body.size < picture.shape[1] // 4:
        return picture
    return picture[:, body[0] : body[-1] + 1]


def framed(picture: FloatImage, rng: Rng, kept: tuple[float, float], *, turn: bool = True) -> FloatImage:
    """Cut, turned by up to 15 degrees, stretched, bent a little, mirrored."""
    share = rng.uniform(*kept, 2) if rng.random() < 0.75 or kept != USEFUL else np.ones(2)
    size = np.array(picture.shape)
    start = rng.uniform(0, 1, 2) * (1 - share) * size
    out = np.maximum(np.rint(share * size * SIDE / (share * size).max()), 24).astype(int)
    stretch = np.exp(rng.normal(0, 0.06))
    angle = np.deg2rad(np.clip(rng.normal(0, 5), -15, 15)) if turn else rng.normal(0, 0.15)
    grid = (np.mgrid[0 : out[0], 0 : out[1]].astype(np.float64) + 0.5) / out[:, None, None] - 0.5
    turned = np.stack(
        [
            np.cos(angle) * grid[0] + np.sin(angle) * grid[1] * stretch,
            np.cos(angle) * grid[1] - np.sin(angle) * grid[0] / stretch,
        ]
    )
    bend = rng.normal(0, 0.012, 4)
    turned[0] += bend[0] * np.sin(6.28 * grid[1] + rng.uniform(0, 6)) + bend[1] * np.sin(6.28 * grid[0])
    turned[1] += bend[2] * np.sin(6.28 * grid[0] + rng.uniform(0, 6)) + bend[3] * np.sin(6.28 * grid[1])
    at = (turned + 0.5) * (share * size)[:, None, None] + start[:, None, None] - 0.5
    at = np.asarray(at, dtype=np.float64)
    if rng.random() < 0.6:  # what lies beyond the film: more of the same, or black
        at = np.clip(at, 0, size[:, None, None] - 1)
    image = ndimage.map_coordinates(picture, at, order=1, mode="constant", output=np.float32)
    return image[:, ::-1] if rng.random() < 0.3 else image


def toned(film: FloatImage, rng: Rng) -> FloatImage:
    """Another window, gamma, local contrast, blur, noise; collimation, frames, markers and words."""
    image: Tones = np.array(film, dtype=np.float64)
    if rng.random() < 0.5:
        image = image - np.float32(rng.uniform(-0.4, 0.7)) * ndimage.gaussian_filter(image, rng.uniform(5, 30))
        image = (image - image.min()) / max(float(np.ptp(image)), 1e-6)
    low, high = np.percentile(image, (rng.uniform(0, 4), rng.uniform(95, 100)))
    image = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1) ** np.exp(rng.normal(0, 0.35))
    if rng.random() < 0.35:
        image = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.6))
    if rng.random() < 0.5:
        image = image + rng.normal(0, rng.uniform(0, 0.07), image.shape)
    image = rng.uniform(0, 0.2) + image * rng.uniform(0.6, 1.0)
    if rng.random() < 0.35:
        image = _bordered(image, rng)
    if rng.random() < 0.4:
        image = _labelled(image, rng)
    return np.asarray(np.clip(image, 0, 1), dtype=np.float32)


def _bordered(image: Tones, rng: Rng) -> Tones:
    """Black, grey or white strips along some edges, as collimators, letterboxes and digitised films have them."""
    shade = 0.0 if rng.random() < 0.7 else float(rng.uniform(0, 1))
    wide = [int(size * rng.uniform(0.02, 0.22)) * (rng.random() < 0.5) for size in np.repeat(image.shape, 2)]
    if rng.random() < 0.5:
        return np.pad(image, (wide[:2], wide[2:]), constant_values=shade)
    bordered, (top, bottom, left, right) = image.copy(), (w // 2 for w in wide)
    bordered[:top], bordered[:, :left] = shade, shade
    bordered[bordered.shape[0] - bottom :], bordered[:, bordered.shape[1] - right :] = shade, shade
    return bordered


def _labelled(image: Tones, rng: Rng) -> Tones:
    """A side marker or a few words somewhere, mostly near an edge."""
    picture = Image.fromarray(np.asarray(255 * np.clip(image, 0, 1), dtype=np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 4))):
        words = "".join(chr(c) for c in rng.integers(65, 91, int(rng.choice([1, 1, 2, 6, 12]))))
        at = (
            float(rng.uniform(0, 0.9)) * image.shape[1],
            float(rng.choice([0.02, 0.9, rng.uniform(0, 0.9)])) * image.shape[0],
        )
        draw.text(at, words, fill=int(rng.choice([0, 255, 255])), font_size=float(rng.uniform(6, 18)))
    return np.asarray(picture, dtype=np.float64) / 255


def thumbnails(film: Film, count: int, seed: int, *, useless_crop: bool = False) -> Pool:
    """``count`` variants of one film as the gate sees them; the first is the film itself unless it is cut."""
    looks = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        untouched = number == 0 and not useless_crop
        picture = film.picture if untouched else varied(film, rng, useless_crop=useless_crop)
        looks.append(np.rint(255 * glance_at(picture).tones).astype(np.uint8))
    label = CROPPED if useless_crop else KINDS.index(film.kind)
    return Pool(np.stack(looks), np.full(count, label, np.uint8), np.full(count, film.fold, np.uint8))
