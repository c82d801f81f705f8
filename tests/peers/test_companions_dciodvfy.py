"""Bone image, presentation states and Key Object as independent programs see them: dciodvfy, DCMTK, Orthanc."""

import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread

from pacs_node.config import OutputSettings, Peer
from pacs_node.derive.bone_image import derive_bone_image
from pacs_node.derive.companion import derive
from pacs_node.derive.key_object import derive_key_object
from pacs_node.derive.presentation_state import presentation_states
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging.fuse import quantised
from pacs_node.imaging.read import open_dataset, read_dataset
from pacs_node.records import Inference, Radiograph
from pacs_node.send.scu import store
from tests.peers.orthanc import running_orthanc
from tests.peers.test_companion_dciodvfy import REAL_FILES
from tests.sources import CREATED_AT, PLAIN, bundle
from tests.unit.derive.test_presentation_state import CASES, STORED
from tests.unit.imaging.synthetic import dataset, saved

REFUSAL = Rejected(ReasonCode.NOT_FRONTAL, "ViewPosition or ViewCodeSequence is a lateral or oblique view")
IODS = {"bone": "SCImage", "source state": "GrayscaleSoftcopyPresentationState", "key object": "KeyObjectSelection"}


def everything(radiograph: Radiograph) -> dict[str, Dataset]:
    """A companion that takes nothing out, and all that can be made beside it."""
    layer = np.random.default_rng(5).normal(0, 0.02, radiograph.pixels.shape).astype(np.float32)
    same = Inference(quantised(radiograph.pixels, radiograph.bits_stored), layer, 1, 4, guard={"tile_ratio": 1.25})
    companion = derive(radiograph.ds, same, bundle(), PLAIN, CREATED_AT)
    assert radiograph.look is not None
    states = presentation_states(radiograph.ds, radiograph.look, companion, same, bundle(), PLAIN, CREATED_AT)
    note = derive_key_object(radiograph.ds, REFUSAL, OutputSettings(), CREATED_AT)
    assert note is not None
    return {
        "companion": companion,
        "bone": derive_bone_image(radiograph.ds, same, bundle(), OutputSettings(), CREATED_AT),
        "source state": states[0],
        "companion state": states[1],
        "key object": note,
    }


def written(made: dict[str, Dataset], folder: Path) -> dict[str, Path]:
    paths = {name: folder / f"{name.replace(' ', '_')}.dcm" for name in made}
    for name, ds in made.items():
        ds.save_as(paths[name], enforce_file_format=True)
    return paths


def require_no_error(paths: dict[str, Path]) -> None:
    for name, path in paths.items():
        run = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", check=False)
        findings = (run.stdout + run.stderr).splitlines()
        assert IODS.get(name, "") in "\n".join(findings), "it recognised the IOD and so really looked"
        assert [line for line in findings if "Error" in line] == [], name


@pytest.mark.peer("dicom3tools")
@pytest.mark.parametrize("name", REAL_FILES)
def test_dciodvfy_finds_no_error_in_what_is_made_of_a_real_radiograph(
    name: str, shared_data: Path, tmp_path: Path
) -> None:
    require_no_error(written(everything(read_dataset(open_dataset(shared_data / "dicom" / name))), tmp_path))


@pytest.mark.peer("dicom3tools")
@pytest.mark.parametrize("attributes", CASES.values(), ids=CASES.keys())
def test_dciodvfy_finds_no_error_whatever_the_look_of_the_source(attributes: dict[str, Any], tmp_path: Path) -> None:
    path = saved(dataset(STORED, **attributes), tmp_path / "source.dcm")
    require_no_error(written(everything(read_dataset(open_dataset(path))), tmp_path))


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize("case", ["window", "rescaled", "table", "negative", "negative table", "no window"])
def test_dcmtk_shows_source_and_companion_alike_under_their_states(case: str, tmp_path: Path) -> None:
    source = saved(dataset(STORED, **CASES[case]), tmp_path / "source.dcm")
    radiograph = read_dataset(open_dataset(source))
    paths = written(everything(radiograph), tmp_path)
    shown = []
    for state, image in (("source state", source), ("companion state", paths["companion"])):
        target = tmp_path / f"{state[:4]}.pgm"
        subprocess.run(["dcmp2pgm", "-p", str(paths[state]), str(image), str(target)], check=True, capture_output=True)
        shown.append(np.asarray(Image.open(target)).astype(np.int64))
    assert np.abs(shown[0] - shown[1]).max() <= 1  # of 255: 8 bits are rounded twice
    assert np.abs(shown[0] - 255 * radiograph.pixels).max() <= 1.05  # the look that the node read; DCMTK cuts


@pytest.mark.peer("orthanc")
def test_orthanc_shows_all_of_them_in_the_study_of_the_source(tmp_path: Path, free_port: int) -> None:
    source = saved(dataset(STORED, WindowCenter="1500", WindowWidth="2500"), tmp_path / "source.dcm")
    made = everything(read_dataset(open_dataset(source)))
    paths = [source, *written(made, tmp_path).values()]
    with running_orthanc(tmp_path / "orthanc", free_port) as orthanc:
        peer = Peer(name="pacs", ae_title="ORTHANC", host="127.0.0.1", port=orthanc.dicom_port)
        assert [outcome.status for outcome in store(paths, peer, "NODE", 20)] == [0] * 6
        assert [outcome.status for outcome in store(paths, peer, "NODE", 20)] == [0] * 6  # again: no second copy
        (study,) = orthanc.get("/studies?expand")
        series = orthanc.get("/series?expand")
        stored = [dcmread(BytesIO(orthanc.file_of(each))) for one in series for each in one["Instances"]]
    assert len(study["Series"]) == 5  # the two states share one
    assert sorted(one["MainDicomTags"]["Modality"] for one in series).count("PR") == 1
    assert {ds.SOPInstanceUID for ds in stored} >= {ds.SOPInstanceUID for ds in made.values()}
    assert len(stored) == 6
