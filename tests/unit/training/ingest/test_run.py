"""A whole source: done once, gone on with when interrupted, told in a manifest that names nobody."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pacs_node.cli import main
from pacs_node.errors import ConfigError
from tests.unit.training.ingest.chests import dicom, moved, other_tone, png8, png16, twins
from training.ingest.layouts import Wish
from training.ingest.manifest import Manifest, PairRecord, open_pairs
from training.ingest.normalise import Recipe
from training.ingest.private import Private
from training.ingest.run import Order, ingest
from training.ingest.split import assign_splits

SMALL = ["--size", "256"]


@pytest.fixture(scope="module")
def szch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four patients; the last one's twin is another person's, one file is damaged, one has no twin."""
    folder = tmp_path_factory.mktemp("source")
    for number in range(4):
        cxr, soft = twins(number, 256)
        png8(cxr, folder / "CXR" / f"{number}.png")
        png8(other_tone(soft if number < 3 else twins(9, 256)[1]), folder / "BS" / f"{number}.png")
    png8(cxr, folder / "CXR" / "7.png")
    png8(cxr, folder / "CXR" / "8.png")
    (folder / "BS" / "8.png").write_bytes(b"not a picture")
    return folder


@pytest.fixture(scope="module")
def finished(szch: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "ingested"
    assert main(["ingest", str(szch), "-o", str(out), *SMALL, "--json"]) == 1  # some were left out
    return out


def state(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_what_was_taken_and_left_out_is_told(szch: Path, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest", str(szch), "-o", str(finished), *SMALL, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert {one["name"]: one["reason"] for one in told["left_out"]} == {
        "3": "not_twins",
        "7": "missing_twin",
        "8": "damaged",
    }
    assert (told["taken"], sum(told["splits"].values()), told["licence"]) == (3, 3, "CC BY-NC 4.0")
    assert set(told["splits"].values()) == {1}


def test_a_person_is_told_the_same_in_words(szch: Path, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest", str(szch), "-o", str(finished), *SMALL]) == 1
    told = capsys.readouterr()
    assert "3 (1 train, 1 validation, 1 test)" in told.out
    assert "missing_twin" in told.out
    assert f"next: pacs-node train all -o RUN --data {finished}" in told.err


def test_the_second_time_nothing_is_done(szch: Path, finished: Path) -> None:
    before = state(finished)
    outcome = ingest(Order(szch, finished, recipe=Recipe(size=256)))
    assert outcome.plan.jobs == []
    changed = {name for name, time in state(finished).items() if before.get(name) != time}
    assert changed <= {"private.json"}


def test_pairs_are_read_again_as_arrays(finished: Path) -> None:
    pairs = open_pairs(finished)
    assert len(pairs) == 3
    assert sum(len(open_pairs(finished, split)) for split in ("train", "validation", "test")) == 3
    for cxr, soft in pairs:
        assert cxr.shape == soft.shape == (256, 256)
        assert cxr.dtype == soft.dtype == np.float32
        assert min(cxr.min(), soft.min()) >= 0
        assert max(cxr.max(), soft.max()) <= 1
    assert [image.shape for image in open_pairs(finished, size=64)[0]] == [(64, 64), (64, 64)]
    with Image.open(finished / "pairs" / f"{pairs.records[0].pair_id}_cxr.png") as picture:
        assert picture.mode.startswith("I;16")


def test_the_tone_of_the_radiograph_leaves_bone_alone_in_the_difference(finished: Path) -> None:
    own, fitted = (open_pairs(finished, tone=tone)[0] for tone in ("own", "cxr"))
    assert np.array_equal(own[0], fitted[0])
    spread = [float(np.median(np.abs(cxr - soft))) for cxr, soft in (own, fitted)]
    assert spread[1] < spread[0] / 2
    assert np.quantile((fitted[0] - fitted[1]), 0.02) > -0.05  # bone only brightens


def test_a_missing_picture_is_made_anew(szch: Path, finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    lost = open_pairs(copy).records[0]
    (copy / "pairs" / f"{lost.pair_id}_soft.png").unlink()
    with pytest.raises(ConfigError, match="makes it anew"):
        open_pairs(copy)[0]
    outcome = ingest(Order(szch, copy, recipe=Recipe(size=256)))
    assert [job.pair_id for job in outcome.plan.jobs] == [lost.pair_id]
    assert Manifest.read(copy) == Manifest.read(finished)  # to the bit


def test_changed_options_are_applied_and_a_changed_file_replaces_its_pair(
    szch: Path, finished: Path, tmp_path: Path
) -> None:
    copy, source = shutil.copytree(finished, tmp_path / "copy"), shutil.copytree(szch, tmp_path / "source")
    splits = {record.patient: record.split for record in open_pairs(copy).records}
    plan = ingest(Order(szch, copy, recipe=Recipe(size=256, clahe=0.01)), dry_run=True).plan
    assert len(plan.jobs) == 5  # every pair, the refused ones too
    old = open_pairs(copy).records
    png16(twins(0, 256)[1], source / "BS" / "0.png")
    outcome = ingest(Order(source, copy, recipe=Recipe(size=256)))
    assert (len(outcome.plan.jobs), len(outcome.plan.replaced)) == (1, 1)
    now = open_pairs(copy).records
    assert len(now) == len(old)
    assert {record.patient: record.split for record in now} == splits
    kept = {path.name.partition("_")[0] for path in (copy / "pairs").iterdir()}
    assert kept == {record.pair_id for record in now}  # the replaced pair's pictures are gone


def test_an_interrupted_ingest_goes_on_and_ends_the_same(szch: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def stopped(records: Iterable[PairRecord], total: int) -> Iterable[PairRecord]:
        for number, record in enumerate(records):
            yield record
            if number == 1:
                raise KeyboardInterrupt

    shutil.copytree(finished, out, ignore=lambda _, names: [n for n in names if n not in ("private.json",)])
    with pytest.raises(KeyboardInterrupt):
        ingest(Order(szch, out, recipe=Recipe(size=256)), tick=stopped)
    with pytest.raises(ConfigError, match="holds no pair"):
        open_pairs(out)  # half a set has no splits yet: nobody trains on it by mistake
    outcome = ingest(Order(szch, out, recipe=Recipe(size=256)))
    assert len(outcome.plan.jobs) == 3
    assert Manifest.read(out) == Manifest.read(finished)  # the same key, so the same ids; to the bit


def test_an_ingest_that_is_killed_goes_on_and_ends_the_same(szch: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(finished / "private.json", out)
    command = [sys.executable, "-m", "pacs_node", "ingest", str(szch), "-o", str(out), *SMALL]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(out.glob("pairs/*.png")):
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    ingest(Order(szch, out, recipe=Recipe(size=256)))
    assert Manifest.read(out) == Manifest.read(finished)
    assert not list(out.rglob("*.part"))


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    """Three patients whom the hash would all train on: to have somebody in each split, 7 validates and 9 tests."""
    for name in "479":
        for kind, image in zip(("cxr", "soft"), twins(int(name), 256), strict=True):
            png8(image, tmp_path / "in" / f"{name}_{kind}.png")
    ingest(Order(tmp_path / "in", tmp_path / "out", recipe=Recipe(size=256)))
    assert splits_by_name(tmp_path / "out") == {"4": "train", "7": "validation", "9": "test"}
    for kind, image in zip(("cxr", "soft"), twins(3, 256), strict=True):  # a fourth, whom the hash tests on
        png8(image, tmp_path / "in" / f"3_{kind}.png")
    return tmp_path


def splits_by_name(folder: Path) -> dict[str, str | None]:
    origins = Private.open(folder).origins
    return {origins[record.pair_id].patient: record.split for record in open_pairs(folder).records}


def test_who_was_tested_on_stays_so_when_making_all_anew_was_interrupted(small_set: Path) -> None:
    order = Order(small_set / "in", small_set / "out", recipe=Recipe(size=256, clahe=0.01))

    def stopped(records: Iterable[PairRecord], total: int) -> Iterable[PairRecord]:
        yield next(iter(records))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(order, tick=stopped)
    ingest(order)
    assert splits_by_name(small_set / "out") == {"3": "test", "4": "train", "7": "validation", "9": "test"}


def test_who_was_tested_on_stays_so_when_a_file_is_replaced(small_set: Path) -> None:
    order = Order(small_set / "in", small_set / "out", recipe=Recipe(size=256))
    ingest(order)
    png16(twins(9, 256)[1], small_set / "in" / "9_soft.png")
    ingest(order)
    assert splits_by_name(small_set / "out") == {"3": "test", "4": "train", "7": "validation", "9": "test"}


def test_a_seed_that_was_interrupted_deals_as_it_would_have(small_set: Path) -> None:
    order = Order(small_set / "in", small_set / "out", recipe=Recipe(size=256), split_seed=1)

    def stopped(_: Iterable[PairRecord], __: int) -> Iterable[PairRecord]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(order, tick=stopped)
    ingest(order)
    assert splits_by_name(small_set / "out") == assign_splits("3479", 1)


def test_pairs_of_one_patient_are_known_as_such_when_that_is_said_later(small_set: Path) -> None:
    order = Order(small_set / "in", small_set / "out", recipe=Recipe(size=256))
    ingest(order)
    ingest(replace(order, wish=Wish(patient=re.compile("[0-9]"))))
    assert len({record.patient for record in open_pairs(small_set / "out").records}) == 4
    ingest(replace(order, wish=Wish(patient=re.compile("^"))))  # all are one
    records = open_pairs(small_set / "out").records
    assert len({(record.patient, record.split) for record in records}) == 1


def test_a_copy_of_a_radiograph_is_of_the_same_patient_whatever_its_name(tmp_path: Path) -> None:
    (cxr, soft), (other, other_soft) = twins(0, 256), twins(1, 256)
    for name, image, save in (("p1a", cxr, png8), ("copy", cxr, png16), ("p1b", other, png8), ("p2", other_soft, png8)):
        png8(image, tmp_path / "in" / f"{name}_cxr.png")
        save(soft, tmp_path / "in" / f"{name}_soft.png")
    wish = Wish(patient=re.compile("^(p[0-9]|copy)"))
    plan = ingest(Order(tmp_path / "in", tmp_path / "out", wish, Recipe(size=256)), dry_run=True).plan
    assert len(plan.jobs) == 4
    assert len({job.patient for job in plan.jobs}) == 2  # p1, who is in the copy too, and p2


def test_a_dry_run_writes_nothing(szch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest", str(szch), "-o", str(tmp_path / "out"), *SMALL, "--dry-run", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["found"], told["to_do"], told["taken"]) == (5, 5, 0)
    assert not (tmp_path / "out").exists()


def test_nobody_is_named_in_what_may_be_passed_on(tmp_path: Path) -> None:
    source, out = tmp_path / "Doe_Jane", tmp_path / "out"
    for number, (cxr, soft) in enumerate([twins(0, 256), twins(1, 256)]):
        dicom(cxr, source / f"DOE{number}a.dcm", "ID-4711", number, SeriesDescription="Thorax")
        dicom(moved(soft, (2, 1)), source / f"DOE{number}b.dcm", "ID-4711", number, SeriesDescription="Soft tissue")
    assert main(["ingest", str(source), "-o", str(out), *SMALL, "--json"]) == 0
    told = (out / "manifest.json").read_text(encoding="utf-8")
    assert not re.search(r"4711|doe|jane|1\.2\.840", told, re.IGNORECASE)
    assert not [path for path in out.rglob("*") if re.search(r"4711|doe", path.name, re.IGNORECASE)]
    records = open_pairs(out).records
    assert len({record.patient for record in records}) == 1  # two studies of one person
    assert len({record.split for record in records}) == 1
    assert (out / "private.json").stat().st_mode & 0o077 == 0
    again = tmp_path / "again"
    assert main(["ingest", str(source), "-o", str(again), *SMALL, "--json"]) == 0
    # another folder has another key: ids cannot be looked up in a table of all PatientIDs
    assert open_pairs(again).records[0].patient != records[0].patient


def test_a_second_source_joins_the_first(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy, source = shutil.copytree(finished, tmp_path / "copy"), tmp_path / "mine"
    cxr, soft = twins(20, 256)
    png8(cxr, source / "x_cxr.png")
    png8(soft, source / "x_soft.png")
    assert main(["ingest", str(source), "-o", str(copy), "--name", "mine", "--size", "512"]) == 2
    assert "give --size 256" in capsys.readouterr().err
    assert main(["ingest", str(source), "-o", str(copy), "--name", "mine", "--licence", "CC0", *SMALL]) == 0
    manifest = Manifest.read(copy)
    assert {key: facts.licence for key, facts in manifest.sources.items()} == {"szch": "CC BY-NC 4.0", "mine": "CC0"}
    assert len(open_pairs(copy)) == 4
    assert len(manifest.unpaired) == 1  # what the first one left out is still told


def test_the_same_pictures_under_two_names_are_one_pair(tmp_path: Path) -> None:
    cxr, soft = twins(0, 256)
    for name in ("a", "b"):
        png8(cxr, tmp_path / "in" / f"{name}_cxr.png")
        png8(soft, tmp_path / "in" / f"{name}_soft.png")
    outcome = ingest(Order(tmp_path / "in", tmp_path / "out", recipe=Recipe(size=256)), dry_run=True)
    assert len(outcome.plan.jobs) == 1
    assert [str(loner.reason) for loner in outcome.plan.loners] == ["duplicate_content"]


def test_several_processes_make_the_same(szch: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(finished / "private.json", out)
    ingest(Order(szch, out, recipe=Recipe(size=256), workers=2))
    assert Manifest.read(out) == Manifest.read(finished)


def test_a_folder_without_its_private_file_is_not_gone_on_with(szch: Path, finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "private.json").unlink()
    assert len(open_pairs(copy)) == 3  # passed on, it can be read
    with pytest.raises(ConfigError, match="bring it back"):
        ingest(Order(szch, copy, Wish(), Recipe(size=256)))


@pytest.mark.parametrize("content", ["{", '{"format": 2}', '{"format": 1, "size": 256, "sources": {}}'])
def test_a_manifest_of_something_else_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="no manifest of ingested pairs"):
        open_pairs(tmp_path)
    with pytest.raises(ConfigError, match="pacs-node ingest SOURCE"):
        open_pairs(tmp_path / "nothing")


def test_a_wrong_pattern_is_told(szch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest", str(szch), "-o", str(tmp_path / "out"), "--patient", "("]) == 2
    assert "--patient ( is no regular expression" in capsys.readouterr().err


def test_a_source_is_not_written_into_and_what_was_ingested_is_not_dealt_anew(
    szch: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ingest", str(szch), "-o", str(szch), *SMALL]) == 2
    assert "only read" in capsys.readouterr().err
    assert not (szch / "manifest.json").exists()
    assert main(["ingest", str(finished), "-o", str(tmp_path / "again"), *SMALL]) == 2
    assert "ingested already" in capsys.readouterr().err
