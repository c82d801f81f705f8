"""Do two engines compute the same? Measured graph by graph and through the whole chain."""

from dataclasses import dataclass, field

import numpy as np

from model.bundle import Role
from model.sampler import Recipe, draw_noise, sample
from pacs_node.engine import Engine
from pacs_node.errors import ModelError
from pacs_node.records import FloatImage

__all__ = ["Bounds", "Parity", "half_bounds", "measure", "require", "runtime_bounds", "storage_bounds"]

MOST_STEPS = 10  # of a chain that is compared: a thousand would take days on a CPU and show nothing else
TIMES = (1.0, 0.5, 0.02)  # noise, the middle, almost clean


@dataclass(frozen=True, slots=True)
class Bounds:
    """What still counts as the same."""

    max_abs_error: float  # of any one graph: standardised latents, or image in [-1, 1]
    decoded_psnr_db: float  # of the decoded image after the whole chain, data range 2


def runtime_bounds(*, quantised: bool) -> Bounds:
    """For one set of weights in two runtimes.

    float32 sums in another order: about 5e-6 was measured between torch and ONNX Runtime; 1e-3 leaves room for deeper
    networks and is still 1/30 of a grey level of an 8-bit image. Of a quantised bottleneck, single latents that lie
    midway between two codes may fall to either side: one of 16,384 moves a decoded image by 60 to 80 dB.
    """
    return Bounds(max_abs_error=1e-3, decoded_psnr_db=50.0 if quantised else 80.0)


def storage_bounds(*, quantised: bool) -> Bounds:
    """For weights before and after they were stored in half precision.

    That rounds each by up to 2**-11: latents move by about 1e-3 and the image by 90 to 105 dB. 50 dB is an error of
    1/3 of a percent of the range; single latents may move further than that shows. Where codes are rounded too, about
    one latent in two hundred takes another code, and the decoder shows the whole step between the two there.
    """
    return Bounds(1.0, 40.0) if quantised else Bounds(0.1, 50.0)


def half_bounds(*, quantised: bool) -> Bounds:
    """For one set of weights computed in float16 and in float32.

    Every operation rounds by up to 2**-11, so that single latents may move by some hundredths; the image after decoding
    keeps 60 dB, an error of a tenth of a percent of the range. Codes flip as in `storage_bounds`.
    """
    return Bounds(1.0, 40.0) if quantised else Bounds(0.1, 60.0)


@dataclass(frozen=True, slots=True)
class Parity:
    """How far two engines are apart.

    Attributes
    ----------
    max_abs_error : per graph, both engines given equal inputs.
    decoded_psnr_db : of the image decoded after encoding and sampling, each engine on its own; data range 2.
    fused_psnr_db : the same of the bone layer, where the bundle has a graph that computes it in one.
    """

    max_abs_error: dict[Role, float] = field(default_factory=dict)
    decoded_psnr_db: float = 0.0
    fused_psnr_db: float | None = None

    def __str__(self) -> str:
        errors = ", ".join(f"{role} {error:.1e}" for role, error in self.max_abs_error.items())
        fused = "" if self.fused_psnr_db is None else f", fused layer {self.fused_psnr_db:.1f} dB"
        return f"max abs error: {errors}; decoded image {self.decoded_psnr_db:.1f} dB{fused}"


def measure(reference: Engine, candidate: Engine, seed: int = 0) -> Parity:
    """Compare two engines of one specification on an image made from ``seed``, at its full grid."""
    image = _image(reference.spec.grid, seed)
    latents = reference.encode(image)
    noise = draw_noise(seed, latents.shape, reference.spec.offset_noise)
    predict = [_distance(_predict(reference, noise, t, latents), _predict(candidate, noise, t, latents)) for t in TIMES]
    errors: dict[Role, float] = {
        "encoder": _distance(latents, candidate.encode(image)),
        "denoiser": max(predict),
        "decoder": _distance(reference.decode(latents), candidate.decode(latents)),
    }
    if reference.spec.network.refiner:
        layer = np.float32(0.1) * np.ascontiguousarray(image[:, :, ::-1])
        errors["refiner"] = _distance(reference.refine(image, layer), candidate.refine(image, layer))
    decoded = _psnr_db(_chain(reference, image, seed), _chain(candidate, image, seed))
    return Parity(errors, decoded, _fused_psnr_db(reference, candidate, image, seed))


def _fused_psnr_db(reference: Engine, candidate: Engine, image: FloatImage, seed: int) -> float | None:
    """Of the layer that the candidate computes as the service would, with its fused graph where it has one."""
    spec = reference.spec
    if "fused" not in spec.graphs:
        return None
    one, other = (engine.coarse_layers(image, spec.steps, [seed]) for engine in (reference, candidate))
    return _psnr_db(one, other)


def _psnr_db(one: FloatImage, other: FloatImage) -> float:
    # Never infinite, so that the number can be written down: 200 dB stands for equal bytes.
    power = max(float(np.mean(np.square(one - other, dtype=np.float64))), 4e-20)
    return 10 * float(np.log10(4 / power))


def require(parity: Parity, bounds: Bounds, what: str) -> None:
    """Fail when two engines are further apart than ``bounds``.

    Raises
    ------
    ModelError
        They are; also when a number is not finite.
    """
    near = all(error <= bounds.max_abs_error for error in parity.max_abs_error.values())
    fused = parity.decoded_psnr_db if parity.fused_psnr_db is None else parity.fused_psnr_db
    if not (near and parity.decoded_psnr_db >= bounds.decoded_psnr_db and fused >= bounds.decoded_psnr_db):
        asked = f"{bounds.max_abs_error:g} and {bounds.decoded_psnr_db:g} dB"
        raise ModelError(f"{what} differs too much ({parity}; asked for {asked})")


def _predict(engine: Engine, x_t: FloatImage, t: float, condition: FloatImage) -> FloatImage:
    return engine.predict(x_t, np.full(len(x_t), t, np.float32), condition)


def _chain(engine: Engine, image: FloatImage, seed: int) -> FloatImage:
    condition = engine.encode(image)
    recipe, steps = Recipe.of(engine.spec), min(engine.spec.steps, MOST_STEPS)
    latents = sample(lambda x_t, t: _predict(engine, x_t, t, condition), condition, recipe, steps, seed)
    return engine.decode(latents)


def _distance(one: FloatImage, other: FloatImage) -> float:
    return float(np.abs(one - other).max())


def _image(grid: int, seed: int) -> FloatImage:
    """(1, 1, grid, grid) in [-1, 1] with coarse, middle and fine structure."""
    rng = np.random.default_rng(seed)
    image = np.zeros((grid, grid), np.float32)
    for cell, weight in ((32, 0.5), (8, 0.3), (1, 0.2)):
        side = -(-grid // cell)
        coarse = rng.uniform(-weight, weight, (side, side)).astype(np.float32)
        image += np.kron(coarse, np.ones((cell, cell), np.float32))[:grid, :grid]
    return image[None, None]
