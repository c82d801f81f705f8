"""Shadows that are no bone, laid into all images of one patient alike: nodules, lines, pleural edges, consolidations.

`training.augment.random_nodules` draws few and smooth ones. These are as many, as sharp and as large as the lesions
that `training.lesions` measures with, drawn in grey levels: every contrast has to stay, whatever the display made of
it. The mark says where they lie, so that a loss can weigh what happens there: they cover little of a framing, and a
network that takes a tenth of each nodule for bone loses next to nothing by the mean error.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from training.simulate.disease import lobed_ball

__all__ = ["random_shadows"]

FloatImage = NDArray[np.float32]
SHARE = 0.9  # of the framings
MOST_BALLS = 9
DIAMETERS = (0.006, 0.09)  # of the side: 3 to 45 mm on a film of 50 cm
STEEPNESS = (0.6, 7.0)  # height of a ball in [-1, 1] over its diameter in sides: ground glass to calcified
TALLEST = 0.6
DARK_SHARE = 0.75  # of the shadows lie where the image is darker than its median: most of that is lung
SMALLEST_MARK = 0.05


def random_shadows(stack: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Lay the same shadows into all images, most of them in the lungs, behind ribs and between them.

    Parameters
    ----------
    stack : (N, H, H) in [-1, 1], the radiograph first; -1 beside the picture, where nothing is drawn.

    Returns
    -------
    stack : the same with shadows, in [-1, 1].
    mark : (H, H) in [0, 1]: the height of the nearest shadow over its own largest; 0 where there is none.
    """
    size = stack.shape[-1]
    total, mark = np.zeros((2, size, size), np.float32)
    if rng.random() > SHARE:
        return stack, torch.from_numpy(mark)
    inside = stack[0].numpy() > -0.98
    places = _Places(stack[0].numpy(), inside, rng)
    for _ in range(int(rng.integers(2, MOST_BALLS + 1))):
        _add(_ball(places.draw(), size, rng), total, mark)
    for draw, chance in ((_line, 0.5), (_pleura, 0.3), (_consolidation, 0.3)):
        if rng.random() < chance:
            _add(draw(places.draw(), size, rng), total, mark)
    total *= inside
    return (stack + torch.from_numpy(total)).clamp(-1, 1), torch.from_numpy(mark * inside)


class _Places:
    """Where shadows go."""

    def __init__(self, image: FloatImage, inside: NDArray[np.bool_], rng: np.random.Generator) -> None:
        self.size, self.rng = len(image), rng
        smooth = gaussian_filter(image, self.size / 100)
        self.dark = inside & (smooth < np.median(smooth[inside])) if inside.any() else inside

    def draw(self) -> tuple[int, int]:
        """Row and column; of eight tries the first that is dark, or wherever, as often as `DARK_SHARE` says."""
        low, high = int(0.08 * self.size), int(0.92 * self.size)
        tries = self.rng.integers(low, high, (8, 2))
        if self.rng.random() < DARK_SHARE:
            for row, column in tries:
                if self.dark[row, column]:
                    return int(row), int(column)
        return int(tries[0, 0]), int(tries[0, 1])


Drawn = tuple[tuple[slice, slice], FloatImage, FloatImage]  # window, change of grey level, mark


def _add(drawn: Drawn, total: FloatImage, mark: FloatImage) -> None:
    window, change, where = drawn
    total[window] += change
    mark[window] = np.maximum(mark[window], np.where(where > SMALLEST_MARK, where, 0))


def _window(at: tuple[int, int], reach: float, size: int) -> tuple[tuple[slice, slice], FloatImage, FloatImage]:
    """A square around a place, cut off at the edges; offsets (h, 1) and (1, w) from its centre, px."""
    spans = [slice(max(c - math.ceil(reach), 0), min(c + math.ceil(reach) + 1, size)) for c in at]
    y, x = (np.arange(span.start, span.stop, dtype=np.float32) - c for span, c in zip(spans, at, strict=True))
    return (spans[0], spans[1]), y[:, None], x[None, :]


def _ball(at: tuple[int, int], size: int, rng: np.random.Generator) -> Drawn:
    """A lobed nodule, blurred a little."""
    diameter = math.exp(rng.uniform(*np.log(DIAMETERS)))
    height = min(diameter * math.exp(rng.uniform(*np.log(STEEPNESS))), TALLEST)
    radius = diameter * size / 2
    window, y, x = _window(at, 1.7 * radius + 4, size)
    profile = lobed_ball(rng, x, y, radius) / (2 * radius)
    profile = gaussian_filter(np.asarray(profile, dtype=np.float32), float(rng.uniform(0.3, 1.0)))
    return window, np.float32(height) * profile, profile


def _consolidation(at: tuple[int, int], size: int, rng: np.random.Generator) -> Drawn:
    """A wide, soft, uneven cloud; its mark is faint, for it needs no help."""
    sigma = float(rng.uniform(0.02, 0.08)) * size
    window, y, x = _window(at, 3 * sigma, size)
    profile = np.exp(-0.5 * ((y / sigma) ** 2 + (x / sigma / float(np.exp(rng.normal(0, 0.3)))) ** 2))
    grain = gaussian_filter(rng.standard_normal(profile.shape).astype(np.float32), sigma / 4)
    profile = np.clip(profile * (1 + 0.25 * grain / max(float(grain.std()), 1e-6)), 0, 1).astype(np.float32)
    return window, np.float32(rng.uniform(0.05, 0.4)) * profile, np.float32(0.2) * profile


def _line(at: tuple[int, int], size: int, rng: np.random.Generator) -> Drawn:
    """A catheter or wire: a smooth curve across half of the image, one to five pixels wide."""
    angle, length = rng.uniform(0, math.pi), float(rng.uniform(0.15, 0.6)) * size
    t = np.linspace(-0.5, 0.5, int(4 * length), dtype=np.float32)
    bend = float(rng.normal(0, 0.25)) * (t**2 - 1 / 12) + float(rng.normal(0, 0.5)) * (t**3 - 0.15 * t)
    rows = at[0] + length * (t * math.sin(angle) + bend * math.cos(angle))
    columns = at[1] + length * (t * math.cos(angle) - bend * math.sin(angle))
    hit = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
    drawn = np.zeros((size, size), np.float32)
    drawn[rows[hit].astype(int), columns[hit].astype(int)] = 1
    profile = gaussian_filter(drawn, float(math.exp(rng.uniform(*np.log((0.5, 2.0))))))
    profile /= max(float(profile.max()), 1e-6)
    height = float(math.exp(rng.uniform(*np.log((0.03, 0.4)))))
    return (slice(0, size), slice(0, size)), np.float32(height) * profile, np.float32(0.6) * profile


def _pleura(at: tuple[int, int], size: int, rng: np.random.Generator) -> Drawn:
    """A fine bright arc, and less brightness beyond it, fading out: the edge of a pneumothorax."""
    reach = float(rng.uniform(0.08, 0.22)) * size
    window, y, x = _window(at, reach, size)
    radius, angle = float(rng.uniform(0.1, 0.5)) * size, float(rng.uniform(0, 2 * math.pi))
    beyond = np.hypot(y + radius * math.sin(angle), x + radius * math.cos(angle)) - radius
    fade = np.clip(1 - (y**2 + x**2) / reach**2, 0, 1) ** 2
    width = float(rng.uniform(0.5, 1.5))
    line = np.exp(-((beyond / width) ** 2)) * fade
    air = np.clip(beyond / width, 0, 1) * fade
    height = float(math.exp(rng.uniform(*np.log((0.02, 0.15)))))
    change = height * line - height * float(rng.uniform(0.3, 2.0)) * air
    return window, change.astype(np.float32), line.astype(np.float32)
