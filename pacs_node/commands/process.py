"""`pacs-node process`: one file in, its companion out, without any network."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from model.bundle import Bundle
from pacs_node.commands.terminal import print_json, stderr, stdout, table
from pacs_node.config import Settings, load_settings
from pacs_node.engine import Engine
from pacs_node.engine.load import load_bundle, open_engine
from pacs_node.errors import ConfigError, DiskFull
from pacs_node.imaging.read import read_radiograph
from pacs_node.pipeline import make_companion
from pacs_node.preview import write_preview
from pacs_node.records import Inference, Radiograph
from pacs_node.timing import stage

__all__ = ["run"]


def run(radiograph: Path, output: Path, *, preview: Path | None, config: Path | None, as_json: bool) -> int:
    """Write the companion of ``radiograph`` to ``output`` and say what was done.

    Raises
    ------
    Rejected
        The file is not a radiograph that can be processed.
    ConfigError
        There is no such file; ``output`` or ``preview`` would replace the source, the other one or a device, or lies in
        no folder.
    """
    if not radiograph.is_file():
        raise ConfigError(f"{radiograph} is not a file")
    for path in (output, preview):
        _check_target(path, radiograph)
    if preview is not None and preview.resolve() == output.resolve():
        raise ConfigError("the preview must not replace the companion; give another --preview")
    settings = load_settings(config)
    with stderr().status("loading the network") as progress:
        bundle = load_bundle(settings.model.bundle)
        engine = open_engine(bundle, settings.model, warm=False)  # the one image shows what a rehearsal would
        progress.update("making the companion")
        started = time.perf_counter()
        companion, inference = make_companion(radiograph, engine, bundle, settings)
        seconds = time.perf_counter() - started
        _write(companion, output)
        if preview is not None:
            _write_preview(preview, read_radiograph(radiograph), inference)
    _record(settings, bundle, companion, inference, seconds)
    facts = _facts(companion, inference, engine, settings)
    facts |= {"bundle_digest": bundle.digest, "seconds": round(seconds, 2), "output": str(output)}
    facts |= {"preview": str(preview)} if preview else {}
    if as_json:
        print_json(facts)
    else:
        stdout().print(table(("what", "value"), [(key.replace("_", " "), value) for key, value in facts.items()]))
    return 0


def _check_target(path: Path | None, radiograph: Path) -> None:
    if path is None:
        return
    if not path.resolve().parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent}")
    if path.resolve() == radiograph.resolve():
        raise ConfigError("the companion must not replace its source; give another --output")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name the file to write, as {path / 'companion.dcm'}")
    if path.exists() and not path.is_file():  # the finished file would take the place of /dev/null itself
        raise ConfigError(f"{path} is a device or a pipe; name the file to write")


def _write(companion: Dataset, output: Path) -> None:
    """Whole or not at all: a former companion of this name is replaced by a finished one."""
    unfinished = output.with_name(f".{output.name}.part")
    try:
        with stage("encode DICOM"):
            companion.save_as(unfinished, enforce_file_format=True)
        unfinished.replace(output)
    except OSError as error:
        with suppress(OSError):  # a folder that cannot be written cannot be tidied either
            unfinished.unlink(missing_ok=True)
        raise DiskFull(f"{output} cannot be written: {error.strerror}") from error


def _write_preview(path: Path, radiograph: Radiograph, inference: Inference) -> None:
    white = np.float32(2**radiograph.bits_stored - 1)
    try:
        write_preview(path, radiograph.pixels, inference.soft_tissue.astype(np.float32) / white, inference.bone_layer)
    except OSError as error:
        raise DiskFull(f"{path} cannot be written: {error.strerror}") from error


def _record(settings: Settings, bundle: Bundle, companion: Dataset, inference: Inference, seconds: float) -> None:
    with suppress(OSError):  # a folder that cannot be looked at may be a node's: `record_command` says so
        if not settings.node.data_dir.is_dir():
            return  # no node ever ran there: the database library, a fifth of the start-up, is not needed
    from pacs_node.commands.record import record_command  # noqa: PLC0415 (see above)

    record_command(
        settings,
        "process",
        source_sop_instance_uid=str(companion.SourceImageSequence[0].ReferencedSOPInstanceUID),
        derived_sop_instance_uid=str(companion.SOPInstanceUID),
        study_instance_uid=str(companion.StudyInstanceUID),
        model=f"{bundle.spec.name} {bundle.spec.version}",
        model_digest=bundle.digest,
        noise_seed=inference.noise_seed,
        steps=inference.steps,
        duration_s=seconds,
    )


def _facts(companion: Dataset, inference: Inference, engine: Engine, settings: Settings) -> dict[str, Any]:
    layer = np.abs(inference.bone_layer)
    return {
        "source": f"{companion.Rows} rows, {companion.Columns} columns, {companion.BitsStored} bits",
        "sop_instance_uid": str(companion.SOPInstanceUID),
        "transfer_syntax": settings.output.transfer_syntax.value,
        "network": f"{engine.spec.name} {engine.spec.version}, {inference.steps} steps on {engine.device}",
        "noise_seed": inference.noise_seed,
        # of the full grey scale; both numbers are small because most of a radiograph holds no bone edge
        "bone_layer_mean_percent": round(100 * float(layer.mean()), 2),
        "bone_layer_p99_percent": round(100 * float(np.percentile(layer, 99)), 2),
    }
