"""The same radiograph shown to the network in several ways, and the mean of what it finds.

A mirrored or slightly moved chest has the same bones; what the network sees in one view alone is more often a mistake
than a bone. Half a latent of movement also moves the image against the autoencoder's own grid.
"""

from dataclasses import dataclass

import numpy as np

from pacs_node.records import FloatImage

__all__ = ["VIEWS", "View", "mean_layer", "views"]


@dataclass(frozen=True, slots=True)
class View:
    """One way of showing an image.

    Attributes
    ----------
    mirrored : left and right exchanged.
    moved : by half a latent, down and to the right, after mirroring.
    """

    mirrored: bool = False
    moved: bool = False

    def shown(self, image: FloatImage, pixels: int) -> FloatImage:
        """``image`` (..., H, W) in this view; what moves in from outside repeats the edge.

        Parameters
        ----------
        pixels : how far to move, px.
        """
        if self.mirrored:
            image = image[..., ::-1]
        if self.moved and pixels:
            around = [(0, 0)] * (image.ndim - 2) + [(pixels, 0)] * 2
            image = np.pad(image, around, mode="edge")[..., :-pixels, :-pixels]
        return np.ascontiguousarray(image)

    def undone(self, layer: FloatImage, pixels: int) -> tuple[FloatImage, FloatImage]:
        """A layer (H, W) of this view, brought back, and where it is known: 1, or 0 where it was moved out."""
        known = np.ones_like(layer)
        if self.moved and pixels:
            back = [(0, pixels)] * 2
            layer, known = (np.pad(part, back)[pixels:, pixels:] for part in (layer, known))
        return (layer[:, ::-1], known[:, ::-1]) if self.mirrored else (layer, known)


VIEWS = (View(), View(mirrored=True), View(moved=True), View(mirrored=True, moved=True))


def views(count: int) -> tuple[View, ...]:
    """The first ``count`` of `VIEWS`; the first one is the image as it is."""
    return VIEWS[:count]


def mean_layer(layers: list[tuple[FloatImage, FloatImage]]) -> FloatImage:
    """Mean of layers that were `View.undone`, each counted where it is known.

    Parameters
    ----------
    layers : pairs (H, W) of values and of 0 or 1; the first is known everywhere.
    """
    total, count = np.zeros_like(layers[0][0]), np.zeros_like(layers[0][0])
    for layer, known in layers:
        total += layer * known
        count += known
    mean: FloatImage = total / count
    return mean
