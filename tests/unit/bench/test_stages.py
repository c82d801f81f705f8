"""The service's own way, measured on a small bundle."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from pacs_node.bench.onnx_rows import Samples, layers_of, measure_onnx, onnx_rows
from pacs_node.bench.rows import TOTAL
from pacs_node.bench.stages import Subject, measure_parts, measure_stages
from pacs_node.config import Device, Settings
from pacs_node.engine.load import open_engine
from pacs_node.pipeline import predicted_bone
from tests.bundles import TINY_GRID, tiny_bundle
from tests.radiographs import radiograph, saved


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    bundle = tiny_bundle(tmp_path / "bundle")
    bundle = bundle.model_copy(update={"spec": bundle.spec.model_copy(update={"views": 3})})
    settings = Settings.model_validate({"model": {"device": "cpu", "threads": 1}})
    return Subject(bundle, open_engine(bundle, settings.model), settings)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, 1, TINY_GRID, TINY_GRID)).astype(np.float32)


def test_every_stage_of_a_companion_is_timed_and_the_companion_is_written(subject: Subject, tmp_path: Path) -> None:
    source = saved(radiograph(), tmp_path / "in.dcm")
    stages = measure_stages(subject, source, tmp_path / "out.dcm", repeat=2)
    by_name = {stage.name: stage for stage in stages}
    outer = {"decode DICOM", "preprocess", "network", "fuse", "derive", "encode DICOM", "fsync"}
    assert outer < set(by_name)
    assert by_name[TOTAL].per_image.median >= sum(by_name[name].per_image.low for name in outer) * 0.5
    assert by_name[TOTAL].per_image.count == 2
    assert dcmread(tmp_path / "out.dcm").Rows == radiograph().Rows


def test_calls_of_the_graphs_are_those_of_one_companion(subject: Subject) -> None:
    calls = {part.role: part.calls for part in measure_parts(subject, repeat=1)}
    assert calls == {"encoder": 3, "denoiser": 6, "decoder": 6}  # 3 views, 2 steps, 2 decodes, no refiner


def test_several_images_at_once_have_the_layers_that_each_has_alone(subject: Subject) -> None:
    batch = images(2)
    together = layers_of(batch, subject.engine, 2, [5, 6])
    for image, layer, seed in zip(batch, together, [5, 6], strict=True):
        alone = predicted_bone(image[None], subject.engine, 2, seed)
        np.testing.assert_allclose(layer[0], alone, atol=1e-4)  # float32 sums in another order


def test_a_way_that_cannot_run_here_says_why(subject: Subject) -> None:
    (cuda,) = [row for row in onnx_rows(Device.CPU) if row.key == "onnx-cuda"]
    (found,) = measure_onnx(cuda, subject, Samples(images(1), (1, 2), 1e6, 1))
    assert found.seconds is None
    assert found.device == "cuda"
    assert "CUDA" in found.missing


def test_the_service_is_timed_for_every_number_of_images(subject: Subject) -> None:
    service = onnx_rows(Device.CPU)[0]
    found = list(measure_onnx(service, subject, Samples(images(1), (1, 3), 1e6, 2)))
    assert [row.batch for row in found] == [1, 3]
    assert all(row.seconds is not None and row.precision == "fp32" and row.flop == 1e6 for row in found)
