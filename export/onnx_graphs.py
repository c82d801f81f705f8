"""Torch modules -> the ONNX graphs that the service runs, as protos in memory."""

import logging
import warnings
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from export.half import in_half
from export.runtime_layers import for_runtime
from model.autoencoder import Autoencoder
from model.bundle import ModelSpec, Role
from model.denoiser import Denoiser
from model.refiner import Refiner
from model.sampler import Given, Recipe, walk
from model.schedule import timesteps

__all__ = [
    "FUSED_MOST_STEPS",
    "OPSET",
    "SAMPLE_BATCH",
    "Traced",
    "can_fuse",
    "free_shapes",
    "to_graphs",
    "traced_graph",
]

OPSET = 20
MAX_BATCH = 64
SAMPLE_BATCH = 2  # torch would take a batch of 1 for a constant
FUSED_MOST_STEPS = 8  # each step is the whole denoiser once more, in the file and when the runtime plans


@dataclass(frozen=True, slots=True)
class Traced:
    """The modules as they are traced: rewritten for the runtime, in float32 or float16."""

    autoencoder: Autoencoder
    denoiser: Denoiser
    refiner: Refiner | None

    @classmethod
    def of(cls, modules: dict[str, nn.Module], *, half: bool) -> "Traced":
        """Rewrite the modules, given under the names of their weights; they are not changed."""
        rewritten: dict[str, Any] = {
            name: (in_half if half else for_runtime)(module).eval() for name, module in modules.items()
        }
        return cls(rewritten["autoencoder"], rewritten["denoiser"], rewritten.get("refiner"))


class _Encoder(nn.Module):
    def __init__(self, traced: Traced) -> None:
        super().__init__()
        self.autoencoder = traced.autoencoder

    def forward(self, image: Tensor) -> Tensor:
        return self.autoencoder.encode(image)


class _Decoder(nn.Module):
    def __init__(self, traced: Traced) -> None:
        super().__init__()
        self.autoencoder = traced.autoencoder

    def forward(self, latents: Tensor) -> Tensor:
        return self.autoencoder.decode(latents)


class _Denoiser(nn.Module):
    def __init__(self, traced: Traced) -> None:
        super().__init__()
        self.denoiser = traced.denoiser

    def forward(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        prediction: Tensor = self.denoiser(x_t, t, condition)
        return prediction


class _Refiner(nn.Module):
    def __init__(self, refiner: Refiner) -> None:
        super().__init__()
        self.refiner = refiner

    def forward(self, image: Tensor, layer: Tensor) -> Tensor:
        refined: Tensor = self.refiner(image, layer)
        return refined


class _Fused(nn.Module):
    """What the bundle's recipe makes of an image, with the one sampler unrolled."""

    def __init__(self, traced: Traced, spec: ModelSpec) -> None:
        super().__init__()
        self.autoencoder, self.denoiser = traced.autoencoder, traced.denoiser
        self.recipe, self.times = Recipe.of(spec), timesteps(spec.steps)

    def forward(self, image: Tensor, noise: Tensor) -> Tensor:
        condition = self.autoencoder.encode(image)

        def predict(x_t: Tensor, t: float) -> Tensor:
            # One time for the whole batch: so the runtime knows all that follows from it before the first image.
            prediction: Tensor = self.denoiser(x_t, torch.full((1,), t), condition)
            return prediction

        start = self.recipe.process.start(condition, lambda: noise)
        soft = walk(predict, start, self.times, self.recipe, Given(condition))
        return self.autoencoder.decode(condition) - self.autoencoder.decode(soft)


def can_fuse(spec: ModelSpec) -> bool:
    """Whether the whole way is one graph: few steps, no noise on the way, nothing that is looked up in the data."""
    return spec.draws_once and spec.steps <= FUSED_MOST_STEPS and spec.clipping.kind != "dynamic_thresholding"


def to_graphs(modules: dict[str, nn.Module], spec: ModelSpec, *, half: bool = False) -> dict[Role, onnx.ModelProto]:
    """Export every graph that ``spec.graphs`` names, or with ``half`` every one of ``spec.half_graphs``.

    Parameters
    ----------
    modules : `autoencoder`, `denoiser` and perhaps `refiner`, on the CPU, in evaluation mode; not changed.
    spec : whose ``grid`` is traced, and with ``shapes="fixed"`` baked in; the batch is free in both. Its recipe is what
        `fused` holds.
    half : compute in float16; inputs and outputs stay float32.

    Returns
    -------
    One proto for each role; inputs `image` / `x_t`, `t`, `condition` / `latents` / `image`, `layer` / `image`, `noise`;
    outputs `latents` / `prediction` / `image` / `refined` / `layer`.
    """
    traced = Traced.of(modules, half=half)
    image = torch.zeros(SAMPLE_BATCH, 1, spec.grid, spec.grid)
    side = spec.grid // spec.downsampling
    latents = torch.zeros(SAMPLE_BATCH, spec.latent_channels, side, side)
    step = {"x_t": latents, "t": torch.linspace(0.25, 0.75, SAMPLE_BATCH), "condition": latents.clone()}
    sources: dict[Role, tuple[nn.Module, dict[str, Tensor], str]] = {
        "encoder": (_Encoder(traced), {"image": image}, "latents"),
        "denoiser": (_Denoiser(traced), step, "prediction"),
        "decoder": (_Decoder(traced), {"latents": latents}, "image"),
    }
    if traced.refiner is not None:
        sources["refiner"] = (_Refiner(traced.refiner), {"image": image, "layer": image.clone()}, "refined")
    if "fused" in spec.graphs:
        sources["fused"] = (_Fused(traced, spec), {"image": image, "noise": latents}, "layer")
    graphs = {
        role: traced_graph(module, inputs, output, free_shapes(inputs, planes=spec.shapes == "dynamic"))
        for role, (module, inputs, output) in sources.items()
    }
    for role, proto in graphs.items():
        _describe(proto, role, spec, half=half)
    return graphs


def free_shapes(inputs: dict[str, Tensor], *, planes: bool) -> dict[str, dict[int, object]]:
    """What the exporter must not take for constants: the batch, and with ``planes`` rows and columns of images."""
    batch: dict[int, object] = {0: Dim("batch", min=1, max=MAX_BATCH)}
    plane = batch | ({2: Dim.DYNAMIC, 3: Dim.DYNAMIC} if planes else {})
    return {name: plane if tensor.ndim == 4 else batch for name, tensor in inputs.items()}


def traced_graph(
    module: nn.Module, inputs: dict[str, Tensor], output: str, shapes: dict[str, dict[int, object]]
) -> onnx.ModelProto:
    """One module as a graph, without the exporter's notes: those quote the paths of this machine."""
    for chatty in ("torch.onnx", "onnxscript"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
        program = torch.onnx.export(
            module.eval(),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=[output],
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=shapes,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    proto = onnx.ModelProto()
    proto.CopyFrom(program.model_proto)
    graph = proto.graph
    for noted in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del noted.metadata_props[:]
        noted.doc_string = ""
    del graph.value_info[:]  # shapes of inner values: the runtime infers them
    return proto


def _describe(proto: onnx.ModelProto, role: Role, spec: ModelSpec, *, half: bool) -> None:
    proto.graph.name = role
    proto.doc_string = f"{spec.name} {spec.version}, {role}; {spec.licence}"
    facts = {"role": role, "bundle": spec.name, "version": spec.version, "licence": spec.licence}
    facts |= {"grid": str(spec.grid), "shapes": spec.shapes, "computes_in": "float16" if half else "float32"}
    if role == "fused":
        facts["recipe"] = f"{spec.process} {spec.prediction}, {spec.sampler}, {spec.steps} steps"
    onnx.helper.set_model_props(proto, facts)
