"""`pacs-node reproduce`: identical, or how not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from pacs_node import cli
from pacs_node.audit import AUDIT_FILE, Audit, AuditEvent, EventKind
from pacs_node.derive.companion import pixel_sha256
from pacs_node.reproduce import compared
from tests.bundles import tiny_bundle
from tests.unit.imaging.synthetic import dataset, saved, scene

CONFIG = """
[node]
data_dir = "var"
[model]
bundle = "{bundle}"
device = "cpu"
[guard]
withhold = false
[gate]
pixels = false
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A source and the companion that a tiny bundle made of it, in a folder with its configuration."""
    monkeypatch.chdir(tmp_path)
    bundle = tiny_bundle(tmp_path / "bundle")
    (tmp_path / "config.toml").write_text(CONFIG.format(bundle=bundle.folder))
    stored = np.rint(4095 * scene(300, 260)).astype(np.int64)
    source = saved(dataset(stored, WindowCenter="2048", WindowWidth="4096"), tmp_path / "source.dcm")
    companion = tmp_path / "companion.dcm"
    assert cli.main(["process", str(source), "-o", str(companion)]) == 0
    return source, companion


def test_another_process_makes_identical_pixels(made: tuple[Path, Path]) -> None:
    source, companion = made
    words = [sys.executable, "-m", "pacs_node", "reproduce", str(companion), "--source", str(source), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    facts = json.loads(done.stdout)
    assert (facts["identical"], facts["max_difference"]) == (True, 0)


def test_a_changed_companion_is_told_apart_and_how(
    made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, companion = made
    ds = dcmread(companion)
    pixels = ds.pixel_array.copy()
    pixels[10, 10] += 7
    ds.PixelData = pixels.tobytes()
    changed = saved(ds, tmp_path / "changed.dcm")
    capsys.readouterr()
    assert cli.main(["reproduce", str(changed), "--source", str(source), "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["max_difference"] == 7
    assert facts["share_different"] == pytest.approx(1 / 78000)
    assert facts["psnr_db"] == pytest.approx(20 * np.log10(4095 / (7 / np.sqrt(78000))))


def test_a_uid_is_compared_with_the_digest_of_the_audit(
    made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, companion = made
    ds = dcmread(companion)
    words = ["reproduce", str(ds.SOPInstanceUID), "--source", str(source)]
    assert cli.main(words) == 2
    assert "no digest" in capsys.readouterr().err
    trail = Audit(tmp_path / "var" / AUDIT_FILE)
    for digest, code in ((pixel_sha256(ds), 0), ("ab" * 32, 1)):
        uid = str(ds.SOPInstanceUID)
        trail.record(AuditEvent(kind=EventKind.DERIVED, derived_sop_instance_uid=uid, pixel_sha256=digest))
        assert cli.main(words) == code
    trail.close()


@pytest.mark.parametrize("configured", ["default", "careful"])
def test_either_description_that_ships_is_found_by_the_companion_itself(
    made: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    configured: str,
) -> None:
    source, companion = made[0], tmp_path / "by_careful.dcm"
    monkeypatch.setenv("PACS_NODE_MODEL__BUNDLE", "careful")
    assert cli.main(["process", str(source), "-o", str(companion)]) == 0
    ds = dcmread(companion)
    digest = ds.SoftwareVersions[-1]
    trail = Audit(tmp_path / "var" / AUDIT_FILE)
    event = AuditEvent(
        kind=EventKind.DERIVED,
        derived_sop_instance_uid=str(ds.SOPInstanceUID),
        pixel_sha256=pixel_sha256(ds),
        model_digest=digest,
    )
    trail.record(event)
    trail.close()
    monkeypatch.setenv("PACS_NODE_MODEL__BUNDLE", configured)
    for named in (str(companion), str(ds.SOPInstanceUID)):
        capsys.readouterr()
        assert cli.main(["reproduce", named, "--source", str(source), "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert (facts["identical"], facts["bundle_digest"]) == (True, digest)


def test_a_bundle_that_is_not_here_is_named(
    made: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, companion = made
    monkeypatch.setenv("PACS_NODE_MODEL__BUNDLE", "default")
    assert cli.main(["reproduce", str(companion), "--source", str(source)]) == 2
    assert dcmread(companion).SoftwareVersions[-1][:12] in capsys.readouterr().err


def test_another_source_or_recipe_is_named_as_the_reason(
    made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, companion = made
    monkeypatch.setenv("PACS_NODE_MODEL__SEED", "5")
    assert cli.main(["reproduce", str(companion), "--source", str(source)]) == 2
    assert "makes no instance" in capsys.readouterr().err
    assert cli.main(["reproduce", str(companion), "--source", str(tmp_path / "nowhere.dcm")]) == 2


def test_an_image_without_a_name_is_no_mistake_of_ours(
    made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ds = dcmread(made[1])
    ds.SOPInstanceUID = ""
    nameless = saved(ds, tmp_path / "nameless.dcm")
    assert cli.main(["reproduce", str(nameless), "--source", str(made[0])]) == 2
    assert "names no SOP Instance UID" in capsys.readouterr().err


def test_images_of_another_size_are_not_identical(made: tuple[Path, Path], tmp_path: Path) -> None:
    ds = dcmread(made[1])
    smaller = dcmread(made[1])
    smaller.Rows = 299
    smaller.PixelData = ds.PixelData[: 299 * 260 * 2]
    assert compared(smaller, ds).identical is False
