"""What was measured, in records that JSON can carry, and tables that a person can read."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from pacs_node.bench.spread import Spread

__all__ = ["TOTAL", "Grid", "Part", "Rate", "Row", "StageTime", "best_rate"]

TOTAL = "end to end"  # the name of the stage that holds all others


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: every row has one cell for each column."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Rate:
    """How many operations a second a device did of a plain product.

    Attributes
    ----------
    flops : multiplications and additions a second, the best of some.
    by : what did it, as `ONNX Runtime Conv 256 x 64 x 64`.
    precision : fp32, tf32, bf16 or fp16.
    device : cpu or cuda.
    """

    flops: float
    by: str
    precision: str = "fp32"
    device: str = "cpu"


def best_rate(rates: Sequence[Rate], precision: str, device: str) -> Rate | None:
    """The highest one of that precision on that device; None where none was measured."""
    fitting = [rate for rate in rates if (rate.precision, rate.device) == (precision, device)]
    return max(fitting, key=lambda rate: rate.flops, default=None)


@dataclass(frozen=True, slots=True)
class Row:
    """One way of running a network on a batch of images.

    Attributes
    ----------
    key : short name that stays, for scripts.
    what : what ran, for people.
    device : cpu or cuda.
    precision : of the products.
    batch : images at once.
    seconds : of one batch; None where it was not measured.
    flop : of one image, counted; None where it was not.
    peak_bytes : resident set on the CPU, device memory on CUDA.
    psnr_db : of the refined layer to that of float32, data range 2; soft tissue is the image minus it.
    parts : seconds of what the figure is made of, as ``{"encode": .1, "step": .2}``.
    note : how the figure came about, as of an extrapolation.
    missing : why there is none.
    """

    key: str
    what: str
    device: str
    precision: str = "fp32"
    batch: int = 1
    seconds: Spread | None = None
    flop: float | None = None
    peak_bytes: int | None = None
    psnr_db: float | None = None
    parts: dict[str, float] = field(default_factory=dict)
    note: str = ""
    missing: str = ""

    @property
    def images_per_s(self) -> float | None:
        """None where it was not measured."""
        return self.batch / self.seconds.median if self.seconds else None

    def share_of(self, rates: Sequence[Rate]) -> float | None:
        """Operations a second over those of the best plain product of this precision on this device."""
        rate, speed = best_rate(rates, self.precision, self.device), self.images_per_s
        return self.flop * speed / rate.flops if rate and speed and self.flop else None

    def to_json(self) -> dict[str, Any]:
        """Fields, and the images a second."""
        return asdict(self) | {"images_per_s": self.images_per_s}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """From what `to_json` made."""
        fields = {key: part for key, part in value.items() if key != "images_per_s"}
        seconds = fields.get("seconds")
        return cls(**(fields | {"seconds": Spread.from_json(seconds) if seconds else None}))


@dataclass(frozen=True, slots=True)
class StageTime:
    """What one stage took.

    Attributes
    ----------
    name : as the stage names itself.
    per_image : s, all its calls of one image together.
    per_call : s.
    calls : of one image.
    """

    name: str
    per_image: Spread
    per_call: Spread
    calls: int

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """From what `dataclasses.asdict` made."""
        spreads = {key: Spread.from_json(value[key]) for key in ("per_image", "per_call")}
        return cls(**(value | spreads))


@dataclass(frozen=True, slots=True)
class Part:
    """One graph of the network on one image of the model's grid.

    Attributes
    ----------
    role : encoder, denoiser, decoder or refiner.
    calls : of one companion: views and steps counted.
    seconds : of one call.
    flop : of one call.
    """

    role: str
    calls: int
    seconds: Spread
    flop: float

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """From what `dataclasses.asdict` made."""
        return cls(**(value | {"seconds": Spread.from_json(value["seconds"])}))
