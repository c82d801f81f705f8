"""What is no radiograph of a body, or not of a chest: real hips and ankles, photographs, text, noise, test patterns."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, UnidentifiedImageError
from scipy import ndimage

from pacs_node.errors import Rejected
from pacs_node.imaging.read import read_radiograph
from training.gate.film import FOLDS, Film, small

__all__ = ["PATTERNS", "patterns", "pictures", "real_others"]

SIZE = 192  # px
Rng = np.random.Generator
Pattern = NDArray[np.float64]
SUFFIXES = {".png", ".jpg", ".jpeg", ".tif"}


def real_others(data: Path) -> Iterator[Film]:
    """The hip and ankle films that can be decoded."""
    folds = {"RG2": 3, "RG3": 4}
    for path in sorted((data / "dicom_not_chest").glob("*.dcm")):
        try:
            pixels = read_radiograph(path).pixels
        except Rejected:
            continue
        yield Film(small(pixels), "other", "dicom_not_chest", path.stem, folds.get(path.stem.split("_")[0], 0))


def pictures() -> Iterator[Film]:
    """Photographs and drawings that come with scikit-image and matplotlib, in grey."""
    folders = [_installed("skimage") / "data", _installed("matplotlib") / "mpl-data" / "sample_data"]
    paths = [path for folder in folders for path in sorted(folder.glob("*")) if path.suffix in SUFFIXES]
    for index, path in enumerate(paths):
        try:
            with Image.open(path) as picture:
                grey = np.asarray(picture.convert("L"), dtype=np.float32) / 255
        except (UnidentifiedImageError, OSError):
            continue
        if min(grey.shape) >= 64 and grey.std() > 0.01:
            yield Film(small(grey), "other", "picture", path.stem, index % FOLDS)


def _installed(package: str) -> Path:
    """Folder of an installed package, which is not imported for its pictures.

    Raises
    ------
    ModuleNotFoundError
        It is not installed.
    """
    found = find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed, and its pictures are part of the training of the gate")
    return Path(found.origin).parent


def patterns(count: int) -> Iterator[Film]:
    """``count`` pictures of every pattern."""
    for index, name in enumerate(PATTERNS):
        for number in range(count):
            picture = np.clip(PATTERNS[name](np.random.default_rng([index, number, 0x40])), 0, 1).astype(np.float32)
            yield Film(picture, "other", f"pattern/{name}", str(number), (index + number) % FOLDS)


def _grid() -> tuple[Pattern, Pattern]:
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    return rows, columns


def _white(rng: Rng) -> Pattern:
    return np.asarray(rng.uniform(0, 1, (SIZE, SIZE)) if rng.random() < 0.5 else rng.normal(0.5, 0.2, (SIZE, SIZE)))


def _cloudy(rng: Rng) -> Pattern:
    """Noise of any grain, also as an ellipse or with a gradient."""
    spectrum = np.fft.rfft2(rng.standard_normal((SIZE, SIZE)))
    rows, columns = np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None, :]
    noise = np.fft.irfft2(spectrum / np.maximum(np.hypot(rows, columns), 1 / SIZE) ** rng.uniform(0.3, 2.2))
    return np.asarray(0.5 + 0.25 * noise / noise.std())


def _blobs(rng: Rng) -> Pattern:
    return np.asarray(0.5 + 0.3 * _unit(ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), rng.uniform(3, 30))))


def _ellipses(rng: Rng) -> Pattern:
    """A few ellipses on a field: what two lungs are, without being lungs."""
    rows, columns = _grid()
    image = np.full((SIZE, SIZE), rng.uniform(0, 1))
    for _ in range(int(rng.integers(1, 9))):
        at, radii = rng.uniform(0, 1, 2), rng.uniform(0.04, 0.5, 2)
        image += rng.normal(0, 0.4) * (((rows - at[0]) / radii[0]) ** 2 + ((columns - at[1]) / radii[1]) ** 2 < 1)
    return ndimage.gaussian_filter(image, rng.uniform(0, 4)) + rng.normal(0, 0.02, image.shape)


def _gradient(rng: Rng) -> Pattern:
    rows, columns = _grid()
    angle, power = rng.uniform(0, 6.3), rng.uniform(0.5, 3)
    ramp = np.clip(0.5 + (rows - 0.5) * np.sin(angle) + (columns - 0.5) * np.cos(angle), 0, 1) ** power
    if rng.random() < 0.4:
        ramp = np.hypot(rows - rng.uniform(0, 1), columns - rng.uniform(0, 1))
    return np.asarray(ramp + rng.normal(0, rng.uniform(0, 0.05), ramp.shape))


def _stripes(rng: Rng) -> Pattern:
    rows, columns = _grid()
    angle, pitch = rng.uniform(0, 6.3), rng.uniform(2, 40)
    wave = np.sin(6.28 * pitch * (rows * np.sin(angle) + columns * np.cos(angle)) + rng.uniform(0, 6))
    if rng.random() < 0.5:
        wave = wave * np.sin(6.28 * pitch * (columns * np.sin(angle) - rows * np.cos(angle)))
    wave = np.sign(wave) if rng.random() < 0.4 else wave
    return np.asarray(0.5 + 0.4 * wave + rng.normal(0, 0.03, wave.shape))


def _steps(rng: Rng) -> Pattern:
    """Boxes and discs of even grey: step wedges, phantoms, test images."""
    image = np.full((SIZE, SIZE), rng.uniform(0, 1))
    rows, columns = _grid()
    for _ in range(int(rng.integers(1, 14))):
        at, half = rng.uniform(0, 1, 2), rng.uniform(0.03, 0.35, 2)
        box = (np.abs(rows - at[0]) < half[0]) & (np.abs(columns - at[1]) < half[1])
        disc = np.hypot(rows - at[0], columns - at[1]) < half[0]
        image[box if rng.random() < 0.6 else disc] = rng.uniform(0, 1)
    return image + rng.normal(0, rng.uniform(0, 0.04), image.shape)


def _text(rng: Rng) -> Pattern:
    """A page or a screen of words."""
    page = Image.new("L", (SIZE, SIZE), 255)
    draw = ImageDraw.Draw(page)
    for line in range(int(rng.integers(2, 16))):
        letters = rng.integers(97, 123, int(rng.integers(3, 40)))
        words = "".join(" " if rng.random() < 0.15 else chr(letter) for letter in letters)
        draw.text((float(rng.uniform(2, 30)), 4 + line * 12), words, fill=int(rng.integers(0, 120)))
    image = np.asarray(page, dtype=np.float64) / 255
    return np.asarray(1 - image if rng.random() < 0.5 else image)


def _unit(image: Pattern) -> Pattern:
    return image / max(float(image.std()), 1e-6)


PATTERNS: dict[str, Callable[[Rng], Pattern]] = {
    "white noise": _white,
    "cloudy noise": _cloudy,
    "blobs": _blobs,
    "ellipses": _ellipses,
    "gradient": _gradient,
    "stripes": _stripes,
    "steps": _steps,
    "text": _text,
}
