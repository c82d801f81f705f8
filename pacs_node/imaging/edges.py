"""The edges of a bone layer, strengthened as far as the radiograph shows them.

A network that is not sure of an edge draws a part of it, and the rest stays in the companion as a thin line. Where the
finest detail of the layer is that of the radiograph, only fainter, the edge is bone's, and the radiograph knows it
better:

    layer + w * (min(1, gain * a) * mean along the edge of d(radiograph) - d(layer)),      d(f) = f - Gaussian(f)

``a`` is the share of the radiograph's detail that the layer has by itself (regression in a window); ``w`` grows with
the square of their correlation, which does not depend on how faint the layer is. ``gain`` bounds what a faint imprint
of something else, such as a vessel or a catheter, can become. Averaged along the edge, noise falls, and what crosses
it is spread out.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from pacs_node.records import FloatImage

__all__ = ["smooth", "tangents", "with_edges"]

DETAIL_CELLS = 1.0  # deviation of the Gaussian whose difference is the detail
WINDOW_CELLS = 2.0  # deviation of the window of the regression
DIRECTION_CELLS = 1.5
ALONG = 4  # cells to each side, lines between them: cubic ones gain a twentieth of the ghost for twice the time
TAPS = np.exp(-0.5 * (np.arange(-ALONG, ALONG + 1) / 2.4) ** 2)
TAPS /= TAPS.sum()
TRUST_POWER = 0.25  # of the squared correlation: of .5, .25 and 1 the best on seven dual-energy pairs, by a little
LEAST_DETAIL = 6e-4  # of the network's units in the radiograph: less is rounding
RIM_CELLS = 5  # along the border of the image, where trust sets in
AXES = ((slice(None), None), (None, slice(None)))  # a column of values for rows, a row of them for columns
LEAST_TRUST = 0.02  # squared correlation; less is not worth the work


def with_edges(layer: FloatImage, image: FloatImage, gain: float) -> FloatImage:
    """The layer with its edges up to ``gain`` times as strong, and never stronger than the radiograph's own.

    Parameters
    ----------
    layer : (rows, columns) float32 on the grid without its letterbox, as it is to be subtracted, in any unit.
    image : of the same shape and unit, what the layer is subtracted from.
    gain : at least 1.

    Returns
    -------
    (rows, columns) float32; exactly the layer's own where it is 0 for six cells around.
    """
    of_layer, of_image = (part - smooth(part, DETAIL_CELLS) for part in (layer, image))
    common = np.maximum(smooth(of_layer * of_image, WINDOW_CELLS), 0)
    own, whole = (smooth(part * part, WINDOW_CELLS) for part in (of_layer, of_image))
    rounding = np.float32(LEAST_DETAIL**2)
    trust = np.clip(common * common / ((own + rounding / 10) * (whole + rounding)), 0, 1)
    trust *= np.minimum(*(_away_from_ends(length)[shape] for length, shape in zip(layer.shape, AXES, strict=True)))
    there = np.nonzero(trust > LEAST_TRUST)
    if len(there[0]) == 0:
        return layer
    share = np.minimum(1, np.float32(gain) * common[there] / (whole[there] + rounding))
    wanted = share * _mean_along(of_image, tangents(layer, DIRECTION_CELLS), there)
    edged = layer.copy()
    weight = ((trust[there] - LEAST_TRUST) / (1 - LEAST_TRUST)) ** TRUST_POWER
    edged[there] += weight.astype(np.float32) * (wanted - of_layer[there])
    return edged


def _away_from_ends(length: int) -> FloatImage:
    """0 for `RIM_CELLS` at both ends, 1 from twice as many on: the frame of a film is no bone."""
    cells = np.arange(length, dtype=np.float32)
    return np.clip(np.minimum(cells, cells[::-1]) / np.float32(RIM_CELLS) - 1, 0, 1)


def _mean_along(
    detail: FloatImage, tangent: tuple[FloatImage, FloatImage], there: tuple[NDArray[np.intp], ...]
) -> FloatImage:
    """Weighted mean of ``detail`` along the tangent through each of the N cells ``there``: (N,) float32."""
    rows, columns = (cells.astype(np.float32) for cells in there)
    down, right = (step[there] for step in tangent)
    total = np.zeros(len(rows), np.float32)
    for far, tap in zip(range(-ALONG, ALONG + 1), TAPS, strict=True):
        where = np.stack([rows + far * down, columns + far * right])
        total += np.float32(tap) * map_coordinates(detail, where, order=1, mode="nearest", output=np.float32)
    return total


def tangents(layer: FloatImage, sigma: float) -> tuple[FloatImage, FloatImage]:
    """Unit vectors (down, right) along the edges of a layer: the weak direction of its structure tensor.

    Parameters
    ----------
    sigma : deviation of the window of the tensor, cells.
    """
    down, right = (np.gradient(layer, axis=axis).astype(np.float32, copy=False) for axis in (0, 1))
    yy, xx, xy = (smooth(product, sigma) for product in (down * down, right * right, down * right))
    across = 0.5 * np.arctan2(2 * xy, xx - yy)  # angle of the gradient, from the right downwards
    return np.cos(across), -np.sin(across)


def smooth(image: FloatImage, sigma: float) -> FloatImage:
    """A window of this deviation, cut off at two of them: where exactly it ends does not matter here."""
    return gaussian_filter(image, sigma, mode="nearest", radius=round(2 * sigma))
