"""A trained network -> a bundle folder: weights once, a graph for each role, digests; checked before it appears."""

import logging
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from export.folder import appearing_folder
from export.onnx_graphs import can_fuse, to_graphs
from export.parity import Bounds, Parity, half_bounds, measure, require, runtime_bounds, storage_bounds
from export.weights import index_weights, round_weights, share_weights, write_weights
from model.autoencoder import Autoencoder
from model.bundle import ROLES, Bundle, BundleError, FileSpec, ModelSpec, Role, open_bundle, validate_spec, write_bundle
from model.denoiser import Denoiser
from model.refiner import Refiner
from pacs_node.config import Device, ModelSettings, Precision
from pacs_node.engine import Engine
from pacs_node.engine.load import load_bundle
from pacs_node.engine.ort_engine import OrtEngine
from pacs_node.engine.torch_engine import TorchEngine, rebuild
from pacs_node.errors import ConfigError

__all__ = ["Network", "Report", "export_network", "merged", "reexport_bundle"]

log = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"

Report = Callable[[str, Parity], None]


@dataclass(frozen=True, slots=True)
class Network:
    """Trained modules on the CPU; the configurations they carry go into the bundle."""

    autoencoder: Autoencoder
    denoiser: Denoiser
    refiner: Refiner | None = None

    def modules(self) -> dict[str, nn.Module]:
        """By the name under which their weights are stored."""
        found: dict[str, nn.Module] = {"autoencoder": self.autoencoder, "denoiser": self.denoiser}
        return found if self.refiner is None else found | {"refiner": self.refiner}


def export_network(
    network: Network,
    out: Path,
    facts: dict[str, Any],
    *,
    force: bool = False,
    report: Report | None = None,
) -> Bundle:
    """Write, check and put in place the bundle of ``network``.

    Parameters
    ----------
    network : not changed.
    out : the folder; it appears whole or not at all, in place of an older bundle.
    facts : the keys of ModelSpec that the modules do not know: name, version, grid, steps, clipping, training, ...;
        ``precision`` is how the weights are stored; ``fp16`` adds graphs that compute in float16, ``shapes="fixed"``
        bakes the grid into all of them.
    force : replace a folder that holds other files (they are kept beside it).
    report : is told each parity that was measured, with a name.

    Raises
    ------
    ConfigError
        ``out`` holds other files, or ``facts`` do not make a valid ModelSpec.
    ModelError
        A weight is not finite; the graphs, or the stored weights, do not compute what the modules compute.
    """
    spec = _plan(network, facts)
    for module in network.modules().values():
        module.eval()
    trained, rounded = network, deepcopy(network)
    for module in rounded.modules().values():
        round_weights(module, spec.precision)
    with appearing_folder(out, force=force) as folder:
        bundle = _write(rounded, folder, spec)
        _check(bundle, trained, rounded, report or _log_parity)
    return open_bundle(out)


def reexport_bundle(
    source: Path | str,
    out: Path,
    *,
    force: bool = False,
    report: Report | None = None,
    **changes: Any,
) -> Bundle:
    """Make the graphs of a bundle again from its safetensors.

    Parameters
    ----------
    source : a folder, or `default`.
    changes : keys of ModelSpec to replace, as ``version="0.2"`` or ``fusion={"strength": 0.75}`` (its other keys
        stay).

    Raises
    ------
    ConfigError, ModelError
        The source cannot be opened; else as `export_network`.
    """
    bundle = load_bundle(source)
    network = Network(*rebuild(bundle))
    facts = merged(bundle.spec.model_dump(exclude={*_derived(network), "graphs", "half_graphs", "files"}), changes)
    return export_network(network, out, facts, force=force, report=report)


def merged(facts: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``facts`` with ``changes``; a group such as ``fusion={"strength": 0.75}`` changes only the keys it names."""
    joined = dict(facts)
    for key, value in changes.items():
        old = joined.get(key)
        joined[key] = old | value if isinstance(old, dict) and isinstance(value, dict) else value
    return joined


def _plan(network: Network, facts: dict[str, Any]) -> ModelSpec:
    """What the bundle will say, checked before the long work; digests are still blank."""
    roles: list[Role] = [*ROLES] if network.refiner is None else [*ROLES, "refiner"]
    try:
        plain = _blank(facts | _derived(network), roles)
        return _blank(facts | _derived(network), [*roles, "fused"]) if can_fuse(plain) else plain
    except BundleError as error:
        raise ConfigError(str(error)) from error


def _blank(facts: dict[str, Any], roles: list[Role]) -> ModelSpec:
    """The description of a bundle with these graphs, each with a twin in half precision where weights are stored so."""
    graphs = {role: f"{role}.onnx" for role in roles}
    halves = {role: f"{role}.half.onnx" for role in roles} if facts.get("precision") == "fp16" else {}
    files = {name: FileSpec(sha256="0" * 64, bytes=0) for name in (WEIGHTS, *graphs.values(), *halves.values())}
    return validate_spec(facts | {"graphs": graphs, "half_graphs": halves, "files": files})


def _derived(network: Network) -> dict[str, Any]:
    """The keys of ModelSpec that follow from the modules."""
    return {
        "latent_channels": network.autoencoder.config.latent_channels,
        "downsampling": network.autoencoder.config.downsampling,
        "prediction": network.denoiser.config.prediction,
        "network": {name: asdict(module.config) for name, module in network.modules().items()},  # type: ignore[call-overload]
        "weights": WEIGHTS,
    }


def _write(network: Network, folder: Path, spec: ModelSpec) -> Bundle:
    write_weights(folder / WEIGHTS, network.modules(), spec.precision)
    index = index_weights(folder / WEIGHTS)
    for half, names in ((False, spec.graphs), (True, spec.half_graphs)):
        protos = to_graphs(network.modules(), spec, half=half) if names else {}
        for role, proto in protos.items():
            share_weights(proto, index, WEIGHTS)
            (folder / names[role]).write_bytes(proto.SerializeToString(deterministic=True))
    return write_bundle(folder, spec.model_dump(exclude={"files"}), list(spec.files))


def _check(bundle: Bundle, trained: Network, rounded: Network, report: Report) -> None:
    """Trained modules against stored ones, stored ones against all that a user can open."""
    quantised = trained.autoencoder.quantizer is not None
    reference = _in_torch(bundle.spec, rounded)

    def check(what: str, one: Engine, other: Engine, bounds: Bounds) -> None:
        parity = measure(one, other)
        report(what, parity)
        require(parity, bounds, what)

    runtime = runtime_bounds(quantised=quantised)
    with _in_runtime(bundle, Precision.FP32) as service:
        check("ONNX Runtime against torch", reference, service, runtime)
    check("torch rebuilt from the bundle", reference, TorchEngine.open(bundle, Device.CPU), runtime)
    if bundle.spec.precision != "fp32":
        storage = storage_bounds(quantised=quantised)
        check(f"{bundle.spec.precision} storage", _in_torch(bundle.spec, trained), reference, storage)
    if bundle.spec.half_graphs:
        with _in_runtime(bundle, Precision.FP16) as service:
            check("float16 graphs against torch", reference, service, half_bounds(quantised=quantised))


def _in_torch(spec: ModelSpec, network: Network) -> TorchEngine:
    return TorchEngine(spec, network.autoencoder, network.denoiser, network.refiner)


def _in_runtime(bundle: Bundle, precision: Precision) -> OrtEngine:
    settings = ModelSettings(device=Device.CPU, precision=precision)
    return OrtEngine(bundle, settings=settings, warm=False)


def _log_parity(what: str, parity: Parity) -> None:
    log.info("%s: %s", what, parity)
