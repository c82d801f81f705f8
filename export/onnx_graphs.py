"""Torch modules -> the ONNX graphs that the service runs, as protos in memory."""

import logging
import warnings
from dataclasses import dataclass

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from model.autoencoder import Autoencoder
from model.bundle import Role
from model.denoiser import Denoiser
from model.refiner import Refiner

__all__ = ["OPSET", "GraphFacts", "to_graphs"]

OPSET = 20
MAX_BATCH = 64
SAMPLE_BATCH = 2  # torch would take a batch of 1 for a constant


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What a graph says about itself, for whoever finds the file alone."""

    bundle: str
    version: str
    licence: str


class _Encoder(nn.Module):
    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, image: Tensor) -> Tensor:
        return self.autoencoder.encode(image)


class _Decoder(nn.Module):
    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, latents: Tensor) -> Tensor:
        return self.autoencoder.decode(latents)


class _Denoiser(nn.Module):
    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

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


def to_graphs(
    autoencoder: Autoencoder, denoiser: Denoiser, refiner: Refiner | None, grid: int, facts: GraphFacts
) -> dict[Role, onnx.ModelProto]:
    """Export encoder, denoiser, decoder and, where there is one, refiner with dynamic batch, rows and columns.

    Parameters
    ----------
    autoencoder, denoiser : modules on the CPU in evaluation mode; initializers keep the names of their tensors
        (`autoencoder.*`, `denoiser.*`) where the exporter does not fold them.
    refiner : the same (`refiner.*`), or None.
    grid : rows = columns of the model's input, px.
    facts : written into the metadata of each graph.

    Returns
    -------
    One proto for each role; inputs `image` / `x_t`, `t`, `condition` / `latents` / `image`, `layer`; outputs
    `latents` / `prediction` / `image` / `refined`.
    """
    image = torch.zeros(SAMPLE_BATCH, 1, grid, grid)
    with torch.inference_mode():
        latents = autoencoder.encode(image)
    t = torch.linspace(0.25, 0.75, SAMPLE_BATCH)
    batch = Dim("batch", min=1, max=MAX_BATCH)
    plane = {0: batch, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    graphs: dict[Role, onnx.ModelProto] = {
        "encoder": _export(_Encoder(autoencoder), {"image": image}, "latents", {"image": plane}),
        "denoiser": _export(
            _Denoiser(denoiser),
            {"x_t": latents, "t": t, "condition": latents.clone()},
            "prediction",
            {"x_t": plane, "t": {0: batch}, "condition": plane},
        ),
        "decoder": _export(_Decoder(autoencoder), {"latents": latents}, "image", {"latents": plane}),
    }
    if refiner is not None:
        shapes: dict[str, object] = {"image": plane, "layer": plane}
        graphs["refiner"] = _export(_Refiner(refiner), {"image": image, "layer": image.clone()}, "refined", shapes)
    for role, proto in graphs.items():
        _describe(proto, role, facts)
    return graphs


def _export(module: nn.Module, inputs: dict[str, Tensor], output: str, shapes: dict[str, object]) -> onnx.ModelProto:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
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
    return proto


def _describe(proto: onnx.ModelProto, role: Role, facts: GraphFacts) -> None:
    """Drop the exporter's notes (stack traces with the paths of this machine), then add ours."""
    graph = proto.graph
    for noted in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del noted.metadata_props[:]
        noted.doc_string = ""
    del graph.value_info[:]  # shapes of inner values: the runtime infers them
    graph.name = role
    proto.doc_string = f"{facts.bundle} {facts.version}, {role}; {facts.licence}"
    onnx.helper.set_model_props(
        proto,
        {"role": role, "bundle": facts.bundle, "version": facts.version, "licence": facts.licence},
    )
