"""A trained rival as ONNX graphs, weights and a description with digests; and such a folder read again."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from export.folder import RIVAL_FILE, appearing_folder, check_target
from export.onnx_graphs import SAMPLE_BATCH, free_shapes, traced_graph
from pacs_node.errors import ModelError
from training.baselines.bs_diff import BSDiff
from training.baselines.registry import BASELINES
from training.baselines.rival import Rival, load_baseline, multiple_of
from training.checkpoint import CheckpointError

__all__ = ["export_rival", "load_exported", "open_rival"]

WEIGHTS = "weights.safetensors"
NEAR = 1e-3  # largest difference of an output in [-1, 1] that still counts as the same: as of a bundle's graphs
Inputs = dict[str, Tensor]


class _Denoiser(nn.Module):
    """What the sampler calls at every step."""

    def __init__(self, network: BSDiff) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        return self.network.predicted(x_t, t, condition)


class _Graph(nn.Module):
    """A graph in the place of the module that it was exported from."""

    def __init__(self, path: Path, config: Any = None) -> None:
        super().__init__()
        self.config = config
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.names = [value.name for value in self.session.get_inputs()]

    def forward(self, *inputs: Tensor) -> Tensor:
        fed = {name: np.ascontiguousarray(value.numpy()) for name, value in zip(self.names, inputs, strict=True)}
        out: Tensor = torch.from_numpy(self.session.run(None, fed)[0])
        return out


class _DrawnByGraphs(BSDiff):
    """BS-Diff whose two networks are graphs; how it samples is the same code."""

    def __init__(self, config: Any, denoiser: _Graph, enhancement: _Graph) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.denoiser, self.enhancement = denoiser, enhancement  # type: ignore[assignment]

    def predicted(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        out: Tensor = self.denoiser(x_t, t, condition)
        return out


def export_rival(source: Path, output: Path, *, force: bool = False) -> dict[str, Any]:
    """Write a rival so that it runs without torch.

    Parameters
    ----------
    source : as `load_baseline` takes it.
    output : gets `network.onnx`, or `denoiser.onnx` and `enhancement.onnx`; `weights.safetensors`; and `rival.json`
        with the sizes, where it is from, SHA-256 of each file, and how far graphs and modules are apart.

    Returns
    -------
    What `rival.json` says.

    Raises
    ------
    CheckpointError
        There is no rival in ``source``.
    ConfigError
        ``output`` holds other files.
    ModelError
        A graph does not compute what its module computes; nothing was written.
    """
    check_target(output, force)
    rival = load_baseline(source)
    with appearing_folder(output, force=force) as work:
        apart = {name: _write_graph(work / f"{name}.onnx", *parts) for name, parts in _modules(rival).items()}
        save_file({name: value.contiguous() for name, value in rival.network.state_dict().items()}, work / WEIGHTS)
        files = {path.name: _digest(path) for path in sorted(work.iterdir())}
        told = {
            "rival": rival.name,
            "title": rival.title,
            "paper": rival.baseline.paper,
            "scale": rival.scale,
            "parameters": rival.parameters,
            "steps": rival.steps,
            "config": rival.meta["config"],
            "trained": {key: rival.meta.get(key) for key in ("step", "cpu_seconds", "provenance")},
            "max_abs_error": apart,
            "files": files,
        }
        (work / RIVAL_FILE).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return told


def _modules(rival: Rival) -> dict[str, tuple[nn.Module, Inputs, str, bool]]:
    """By the name of the graph: module, inputs to trace it with, name of its output, whether its planes are free."""
    network = rival.network
    if isinstance(network, BSDiff):
        image = _noise(network.config.side)
        step = {"x_t": image, "t": torch.linspace(0.25, 0.75, SAMPLE_BATCH), "condition": image.flip(-1)}
        return {
            "denoiser": (_Denoiser(network), step, "prediction", False),
            "enhancement": (network.enhancement, {"image": image}, "enhanced", False),
        }
    return {"network": (network, {"image": _noise(max(2 * multiple_of(network), 64))}, "soft", True)}


def _noise(side: int) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.uniform(-1, 1, (SAMPLE_BATCH, 1, side, side)).astype(np.float32))


def _write_graph(path: Path, module: nn.Module, inputs: Inputs, output: str, free: bool) -> float:
    """Export one graph, and return how far it is from its module; where planes are free, at a second size too."""
    proto = traced_graph(module, inputs, output, free_shapes(inputs, planes=free))
    proto.graph.name = path.stem
    path.write_bytes(proto.SerializeToString())
    graph, apart = _Graph(path), 0.0
    other = {name: torch.cat([value, value], dim=-1) for name, value in inputs.items()}
    for given in (inputs, other) if free else (inputs,):
        with torch.no_grad():
            expected = module(**given)
        apart = max(apart, float((graph(*given.values()) - expected).abs().max()))
    if not apart <= NEAR:  # also when it is no number
        raise ModelError(f"{path.name} differs from the trained network by {apart:.1e}; asked for {NEAR:g}")
    return apart


def _digest(path: Path) -> dict[str, Any]:
    return {"sha256": sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}


def load_exported(folder: Path, *, steps: int | None = None) -> Rival:
    """A rival as its graphs compute it, on the CPU.

    Parameters
    ----------
    steps : of one that samples; its own number when None.

    Raises
    ------
    CheckpointError
        The folder holds no exported rival, or a file is not the one that was exported.
    """
    try:
        told = json.loads((folder / RIVAL_FILE).read_text(encoding="utf-8"))
        baseline = BASELINES[told["rival"]]
        changed = [name for name, facts in told["files"].items() if _digest(folder / name) != facts]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} holds no exported rival, or only a part of one") from error
    if changed:
        raise CheckpointError(f"{', '.join(changed)} in {folder} is not what was exported: export it again")
    with torch.device("meta"):
        config = baseline.read(told["config"]).config
    meta = {"stage": f"baselines/{told['rival']}", "config": told["config"], **told["trained"]}
    network: nn.Module
    if (folder / "network.onnx").is_file():
        network = _Graph(folder / "network.onnx", config)
    else:
        network = _DrawnByGraphs(config, _Graph(folder / "denoiser.onnx"), _Graph(folder / "enhancement.onnx"))
    used = (steps or told["steps"]) if isinstance(network, BSDiff) else 1
    return Rival(baseline, told["scale"], network.eval(), used, meta)


def open_rival(folder: Path, *, steps: int | None = None) -> Rival:
    """An exported rival, or a checkpoint of one.

    Raises
    ------
    CheckpointError
        It is neither.
    """
    exported = (folder / RIVAL_FILE).is_file()
    return load_exported(folder, steps=steps) if exported else load_baseline(folder, steps=steps)
