"""Everything that is compared on a pair: what is trivial, the control, the bundle, and what bounds it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch

from model.bundle import Bundle, FusionSpec, ModelSpec
from pacs_node.engine import Engine
from pacs_node.imaging.fit import GridImage, from_grid, letterbox, to_grid
from pacs_node.imaging.fuse import native_layer, quantised
from pacs_node.imaging.views import mean_layer, views
from pacs_node.pipeline import noise_seed, run_network
from pacs_node.records import FloatImage, Radiograph
from training.baselines.rival import Rival
from training.control import control_layers
from training.control_network import ControlNetwork
from training.evaluate.cases import Twins
from training.metrics import tone_fitted

__all__ = ["Contender", "Kind", "OpenFold", "Others", "Output", "contenders", "suppressed"]

WHOLE = FusionSpec()  # the layer as it was predicted
Kind = Literal["trivial", "rival", "control", "bundle", "bound"]
OpenFold = Callable[[str], tuple[Bundle, Engine]]


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """What a contender makes of a radiograph: both (rows, columns) float32 in P-values."""

    soft: FloatImage
    layer: FloatImage


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of the report.

    Attributes
    ----------
    key : in the JSON.
    title : in a table.
    make : (name of the pair, the pair) -> its output; only bounds and trivial rows look at the truth.
    evaluations : of the bundle's denoiser, for an estimate of the time.
    """

    key: str
    title: str
    kind: Kind
    make: Callable[[str, Twins], Output]
    evaluations: int = 0


@dataclass(frozen=True, slots=True)
class Others:
    """What a bundle is compared with, as far as it was asked for.

    Attributes
    ----------
    fold : name of a pair -> a bundle that was fine-tuned on other pairs than it.
    rivals : each gives two rows: the difference that it makes subtracted, and its own picture.
    """

    control: ControlNetwork | None = None
    fold: OpenFold | None = None
    rivals: Sequence[Rival] = ()


def contenders(bundle: Bundle, engine: Engine, steps: tuple[int, ...], others: Others) -> Iterator[Contender]:
    """The rows of the report, from the untouched radiograph to the truth.

    Parameters
    ----------
    steps : numbers of network evaluations to run the bundle with; its own number is added.
    """
    yield Contender("identity", "identity (the input)", "trivial", _identity)
    yield Contender("tone_curve", "best tone curve", "trivial", _toned)
    for number, rival in enumerate(others.rivals):
        yield from _rivalling(rival, bundle.spec.grid, f"{rival.name}_{number}" if number else rival.name)
    control = others.control
    if control is not None:
        title = "one-pass U-Net control"
        yield Contender("control", title, "control", partial(_controlled, control, bundle.spec))
        if bundle.spec.fusion != WHOLE:
            whole = bundle.spec.model_copy(update={"fusion": WHOLE})
            yield Contender("control_whole", f"{title}, whole layer", "control", partial(_controlled, control, whole))
    for count in sorted({*steps, bundle.spec.steps}):
        yield _ours(bundle, engine, count)
    if others.fold is not None:
        work = bundle.spec.steps * bundle.spec.views
        yield Contender("left_out", "fine-tuned, this pair left out", "bundle", partial(_left_out, others.fold), work)
    yield Contender("oracle", "bound: decoded true twins, fused", "bound", partial(_oracle, engine, True, True))
    yield Contender("oracle_whole", "bound: decoded true twins, whole", "bound", partial(_oracle, engine, True, False))
    yield Contender("oracle_fusion", "bound: true layer, fused", "bound", partial(_oracle, engine, False, True))
    yield Contender("truth", "the truth", "bound", _truth)


def _ours(bundle: Bundle, engine: Engine, steps: int) -> Contender:
    shipped = " (what ships)" if steps == bundle.spec.steps else ""
    title = f"{bundle.spec.name}, {steps} step{'s' if steps > 1 else ''}{shipped}"

    def make(name: str, twins: Twins) -> Output:
        return suppressed(twins.radiograph, engine, steps, noise_seed(name, bundle.digest, steps, 0))

    return Contender(f"steps_{steps}", title, "bundle", make, evaluations=steps * bundle.spec.views)


def _left_out(fold: OpenFold, name: str, twins: Twins) -> Output:
    bundle, engine = fold(name)
    steps = bundle.spec.steps
    return suppressed(twins.radiograph, engine, steps, noise_seed(name, bundle.digest, steps, 0))


def suppressed(radiograph: Radiograph, engine: Engine, steps: int, seed: int) -> Output:
    """What the service makes of a radiograph, at the depth it delivers."""
    inference = run_network(radiograph, engine, steps, seed)
    levels = np.float32(2**radiograph.bits_stored - 1)
    return Output(inference.soft_tissue.astype(np.float32) / levels, inference.bone_layer)


def _identity(_name: str, twins: Twins) -> Output:
    return _rounded(twins.radiograph, np.zeros_like(twins.radiograph.pixels))


def _truth(_name: str, twins: Twins) -> Output:
    return Output(twins.truth, twins.radiograph.pixels - twins.truth)


def _rounded(radiograph: Radiograph, layer: FloatImage) -> Output:
    """The radiograph less a layer, at its own depth, as the service rounds."""
    levels = np.float32(2**radiograph.bits_stored - 1)
    return Output(quantised(radiograph.pixels - layer, radiograph.bits_stored).astype(np.float32) / levels, layer)


def _toned(_name: str, twins: Twins) -> Output:
    cxr = twins.radiograph.pixels
    soft = tone_fitted(cxr, twins.truth, np.ones(cxr.shape, dtype=bool))
    return Output(soft, cxr - soft)


def _controlled(control: ControlNetwork, spec: ModelSpec, _name: str, twins: Twins) -> Output:
    """The control on the bundle's grid, in as many views, its layer subtracted as the bundle's is."""
    radiograph, moved = twins.radiograph, spec.downsampling // 2
    grid_image = to_grid(radiograph, spec.grid)
    layers = []
    for view in views(spec.views):
        image = torch.from_numpy(view.shown(grid_image.pixels, moved))
        layers.append(view.undone(2 * control_layers(control, image)[0], moved))
    layer = native_layer(mean_layer(layers), radiograph, grid_image, spec.fusion)
    return _rounded(radiograph, layer)


def _rivalling(rival: Rival, grid: int, key: str) -> Iterator[Contender]:
    yield Contender(key, rival.title, "rival", partial(_rivalled, rival, grid, False))
    yield Contender(f"{key}_plain", f"{rival.title}, own picture", "rival", partial(_rivalled, rival, grid, True))


def _rivalled(rival: Rival, grid: int, plain: bool, _name: str, twins: Twins) -> Output:
    """A rival on the bundle's grid, brought to native resolution with its sign and without any fusion.

    Either the difference of what it was given and what it made is enlarged and subtracted, so that detail below the
    grid stays the radiograph's; or its picture is enlarged as it is (``plain``), as its paper would show it.
    """
    radiograph = twins.radiograph
    grid_image, size = to_grid(radiograph, grid), radiograph.pixels.shape
    image = torch.from_numpy(grid_image.pixels)
    if not plain:
        return _rounded(radiograph, from_grid(rival.layers(image)[0, 0].numpy(), grid_image, *size))
    above_black = from_grid(rival.plain(image)[0, 0].numpy() + 1, grid_image, *size)
    return _rounded(radiograph, radiograph.pixels - (grid_image.low + above_black))


def _oracle(engine: Engine, decoded: bool, fused: bool, _name: str, twins: Twins) -> Output:
    """What is left of the true bone layer on its way through autoencoder, grid and fusion.

    The truth is brought to the radiograph's tone first: a layer of bone, not of tone, is what the network predicts.
    """
    radiograph = twins.radiograph
    everywhere = np.ones(twins.truth.shape, dtype=bool)
    soft = tone_fitted(twins.truth, radiograph.pixels, everywhere)
    grid_image = to_grid(radiograph, engine.spec.grid)
    twin = _on_the_same_grid(soft, grid_image)
    cxr = grid_image.pixels
    if decoded:
        cxr, twin = (engine.decode(engine.encode(image)) for image in (cxr, twin))
    layer = (cxr - twin)[0, 0]
    if fused:
        return _rounded(radiograph, native_layer(layer, radiograph, grid_image, engine.spec.fusion))
    return _rounded(radiograph, from_grid(layer, grid_image, *radiograph.pixels.shape))


def _on_the_same_grid(soft: FloatImage, grid_image: GridImage) -> FloatImage:
    """A twin stretched exactly as its radiograph was."""
    values = letterbox(soft, grid_image.placement)
    scaled = (values - grid_image.low) * (2 / (grid_image.high - grid_image.low)) - 1
    twin: FloatImage = np.clip(scaled, -1, 1).astype(np.float32)[None, None]
    return twin
