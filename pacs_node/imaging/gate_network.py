"""The gate's classifier in NumPy: a small convolutional network on a thumbnail, about a millisecond a look.

No runtime is needed for it, so that a node whose network sits on a GPU, or whose runtime is broken, still knows a hip
from a chest. The weights were trained by ``python -m training.gate``; docs/gate.md says on what.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pacs_node.records import FloatImage

__all__ = ["CLASSES", "WEIGHTS", "Network", "load_network", "shipped_network"]

WEIGHTS = Path(__file__).parent / "frontal_chest.npz"
# In the order of the network's outputs.
CLASSES = ("frontal", "inverted", "rotated", "lateral", "other", "cropped", "bone")
STRIDES = (2, 2, 2, 1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Weights with their normalisation folded in.

    Attributes
    ----------
    layers : of each convolution, kernels (in * 3 * 3, out) and biases (out,), float32.
    head : (features, classes) and (classes,), float32.
    """

    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    head: tuple[NDArray[np.float32], NDArray[np.float32]]

    def probabilities(self, images: FloatImage) -> NDArray[np.float32]:
        """What each picture is.

        Parameters
        ----------
        images : (n, 2, 64, 64) float32, as from `pacs_node.imaging.gate_thumbnail.with_ranks`.

        Returns
        -------
        (n, classes) float32; rows sum to 1, columns are ``CLASSES``.
        """
        x = images
        for (kernels, biases), stride in zip(self.layers, STRIDES, strict=True):
            x = np.maximum(_convolved(x, kernels, stride) + biases[:, None, None], 0)
        n, channels, rows, columns = x.shape
        quarters = x.reshape(n, channels, rows // 2, 2, columns // 2, 2).mean(axis=(3, 5)).reshape(n, -1)
        logits = quarters @ self.head[0] + self.head[1]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float32)


def _convolved(x: FloatImage, kernels: NDArray[np.float32], stride: int) -> FloatImage:
    """3 x 3 convolution with a margin of one zero, as one product of matrices."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::stride, ::stride]  # (n, c, h, w, 3, 3)
    n, channels, rows, columns = windows.shape[:4]
    flat = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * rows * columns, channels * 9)
    return np.ascontiguousarray((flat @ kernels).reshape(n, rows, columns, -1).transpose(0, 3, 1, 2))


def load_network(path: Path) -> Network:
    """Read weights that `training.gate` wrote.

    Raises
    ------
    OSError, KeyError, ValueError
        It is no such file.
    """
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name].astype(np.float32) for name in stored.files if stored[name].dtype.kind == "f"}
    layers = []
    for index in range(len(STRIDES)):
        weight = arrays[f"weight{index}"]
        layers.append((np.ascontiguousarray(weight.reshape(len(weight), -1).T), arrays[f"bias{index}"]))
    return Network(tuple(layers), (np.ascontiguousarray(arrays["head_weight"].T), arrays["head_bias"]))


@lru_cache(maxsize=1)
def shipped_network() -> Network:
    """The network beside this file, read once."""
    return load_network(WEIGHTS)
