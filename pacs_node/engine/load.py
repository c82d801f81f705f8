"""Find a bundle, verify it, and open an engine on it; runtimes are imported only when they are asked for."""

from importlib.resources import files
from pathlib import Path
from typing import Literal

from model.bundle import BUNDLE_FILE, Bundle, BundleError, open_bundle
from pacs_node.config import Device, ModelSettings
from pacs_node.engine import Engine, TorchOptions
from pacs_node.engine.batching import BatchingEngine
from pacs_node.errors import ConfigError, ModelError

__all__ = ["DEFAULT_BUNDLE", "SHIPPED", "Runtime", "load_bundle", "open_engine", "resolve_bundle"]

DEFAULT_BUNDLE = "default"
# One network, described twice: the second subtracts less, see docs/decisions/0020.
SHIPPED = {DEFAULT_BUNDLE: BUNDLE_FILE, "careful": "careful.json"}

Runtime = Literal["onnx", "torch"]


def resolve_bundle(name_or_path: str | Path) -> Path:
    """The folder of a bundle: `default` and `careful` ship inside the package `model`, anything else is a folder.

    Raises
    ------
    ModelError
        The shipped bundle is missing: the installation is incomplete.
    ConfigError
        The configured folder does not exist or holds no `bundle.json`.
    """
    if description := SHIPPED.get(str(name_or_path)):
        shipped = Path(str(files("model") / "bundles" / DEFAULT_BUNDLE))
        if not (shipped / description).is_file():
            raise ModelError("the shipped bundle is missing: install pacs-node again, or set model.bundle to a folder")
        return shipped
    folder = Path(name_or_path).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"model.bundle: no folder {folder}; give an existing one, or one of {', '.join(SHIPPED)}")
    if not (folder / BUNDLE_FILE).is_file():
        raise ConfigError(
            f"model.bundle: {folder} holds no {BUNDLE_FILE}; make one with pacs-node export-onnx -o {folder}"
        )
    return folder.resolve()


def load_bundle(name_or_path: str | Path) -> Bundle:
    """Resolve, read and verify a bundle.

    Raises
    ------
    ConfigError
        See `resolve_bundle`.
    ModelError
        A file is missing or was changed (the message names it), or `bundle.json` is not valid.
    """
    folder = resolve_bundle(name_or_path)
    try:
        return open_bundle(folder, SHIPPED.get(str(name_or_path), BUNDLE_FILE))
    except BundleError as error:
        raise ModelError(f"{error}: install the bundle again") from error


def open_engine(  # noqa: PLR0913 (a device and threads are the short form of settings)
    bundle: Bundle,
    model: ModelSettings | Device = Device.AUTO,
    threads: int = 0,
    runtime: Runtime = "onnx",
    *,
    torch_options: TorchOptions | None = None,
    warm: bool = True,
) -> Engine:
    """Open the network of ``bundle``.

    Parameters
    ----------
    bundle : Bundle
    model : all of [model], or only the device: `auto` takes CUDA where it works, else the CPU; one that is named is an
        error where it is not there.
    threads : CPU threads; 0 lets the runtime choose. Settings bring their own.
    runtime : `onnx` is what the service runs; `torch` only by name, for comparing.
    torch_options : precision and compilation, for `torch` only.
    warm : run once at full size, so that what is broken or slow at first shows now; `torch` starts cold in any case.

    Raises
    ------
    ModelError
        The runtime is not installed, or cannot run the bundle on that device.
    """
    settings = model if isinstance(model, ModelSettings) else ModelSettings(device=model, threads=threads)
    try:
        if runtime == "torch":
            from pacs_node.engine.torch_engine import TorchEngine  # noqa: PLC0415 (torch is an extra)

            return TorchEngine.open(bundle, settings.device, settings.threads, torch_options or TorchOptions())
        from pacs_node.engine.ort_engine import OrtEngine  # noqa: PLC0415 (either of two extras)

        engine = OrtEngine(bundle, settings=settings, warm=warm)
    except ImportError as error:
        extra = "torch" if runtime == "torch" else "cpu] or pacs-node[gpu"
        raise ModelError(f"the {runtime} runtime is not installed: pip install pacs-node[{extra}]") from error
    return BatchingEngine(engine, engine.max_batch) if engine.max_batch > 1 else engine
