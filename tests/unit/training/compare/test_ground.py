"""Nobody is in both halves, whatever the pairs come from."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from pacs_node.errors import ConfigError
from tests.unit.training.compare.conftest import write_simulated
from tests.unit.training.evaluate.conftest import chest, save
from tests.unit.training.ingest.chests import other_tone, png8, twins
from training.compare.ground import open_ground, open_test, simulate_pairs
from training.ingest.normalise import Recipe
from training.ingest.run import Order, ingest


def test_no_person_of_a_simulated_folder_is_trained_on_and_tested_on(simulated: Path, tmp_path: Path) -> None:
    ground = open_ground((simulated,), (), tmp_path / "shards", 64)
    (held_out,) = ground.tests
    tested = {case.name for case in held_out.cases}
    people = {
        path.stem: {tuple(json.loads(path.read_text())[key]) for key in ("body", "bones")}
        for path in simulated.glob("procedural*.json")
    }
    in_test = set().union(*(people[name] for name in tested))
    trained = [name for name, pair in people.items() if not pair & in_test]
    assert tested
    assert len(ground.pairs) <= len(trained)
    assert len(ground.pairs) + len(tested) < len(people)  # pairs of one from each half are in neither
    assert ground.sources[0][0][0].shape == (64, 64)


def test_named_test_people_may_not_be_in_the_training_pairs(simulated: Path, tmp_path: Path) -> None:
    other = write_simulated(tmp_path / "other", 8, [(3, 3), (100, 101)])
    with pytest.raises(ConfigError, match="shows 1 people who are in the training pairs"):
        open_ground((simulated,), (other,), tmp_path / "shards", 64)
    apart = write_simulated(tmp_path / "apart", 9, [(102, 102), (100, 101)])
    ground = open_ground((simulated,), (apart,), tmp_path / "shards", 64)
    assert len(ground.pairs) == 30
    assert len(ground.tests[0].cases) == 2


def test_pairs_without_bone_have_nothing_to_measure(tmp_path: Path) -> None:
    folder = write_simulated(tmp_path / "mixed", 3, [(1, 1), (2, 2)])
    cxr = folder / "procedural_0003-00001_cxr.png"
    cxr.write_bytes(cxr.with_name("procedural_0003-00001_soft.png").read_bytes())
    (held_out,) = open_test(folder)
    assert [case.name for case in held_out.cases] == ["procedural_0003-00000"]
    assert "1 with next to no bone left out" in held_out.title
    none = write_simulated(tmp_path / "none", 4, [(1, 1)], bone=False)
    with pytest.raises(ConfigError, match="no pair with bone"):
        open_test(none)


def test_computed_truths_are_a_set_of_their_own(tmp_path: Path) -> None:
    for source in ("scanner", "jsrt"):
        for kind, image in zip(("cxr", "soft"), chest(256, 256), strict=True):
            save(tmp_path / f"{source}_0_{kind}.png", image)
    sets = {each.name: each for each in open_test(tmp_path)}
    assert sorted(sets) == [tmp_path.name, f"{tmp_path.name}-computed"]
    assert "computed truth" in sets[f"{tmp_path.name}-computed"].title
    assert not any(each.simulated for each in sets.values())


def test_own_pairs_are_those_of_the_simulate_command(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    simulate_pairs(tmp_path / "own", 5, 2, 64, lambda *step: told.append(step))
    assert ("forming pairs", 2, 2) in told
    from pacs_node.cli import main

    assert main(["simulate", "-o", str(tmp_path / "command"), "-n", "2", "--seed", "5", "--size", "64", "--json"]) == 0
    for path in sorted((tmp_path / "command").glob("*")):
        if path.is_file():
            assert (tmp_path / "own" / path.name).read_bytes() == path.read_bytes()
    with pytest.raises(ConfigError, match="another seed or size"):
        simulate_pairs(tmp_path / "own", 6, 2, 64, lambda *step: None)


def test_shards_hold_the_radiograph_as_the_service_stretches_it(simulated: Path, tmp_path: Path) -> None:
    ground = open_ground((simulated,), (), tmp_path / "shards", 64)
    cxr, soft = ground.sources[0][0]
    assert float(cxr.min()) == pytest.approx(-1, abs=0.02)
    assert float(cxr.max()) == pytest.approx(1, abs=0.02)
    assert np.all((cxr - soft).numpy() > -1e-3)  # bone brightens


def test_pairs_made_in_another_way_do_not_share_their_shards(simulated: Path, tmp_path: Path) -> None:
    first = open_ground((simulated,), (), tmp_path / "shards", 64).identity
    note = simulated / "simulation.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"motion": 0.5}))
    assert open_ground((simulated,), (), tmp_path / "shards", 64).identity != first


def test_what_holds_no_pairs_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds neither pairs"):
        open_ground((tmp_path,), (), tmp_path / "shards", 64)


def test_another_process_never_finds_half_of_the_note_on_a_folder(tmp_path: Path) -> None:
    """Two `compare --only` on one folder: each looks at what the other has just noted."""
    simulate_pairs(tmp_path / "pairs", 3, 0, 64, lambda *_: None)
    watched, torn, ended = tmp_path / "pairs" / "simulation.json", list[str](), threading.Event()

    def watch() -> None:
        while not ended.is_set():
            text = watched.read_text(encoding="utf-8")
            if not text.endswith("}"):
                torn.append(text)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(300):
            simulate_pairs(tmp_path / "pairs", 3, 0, 64, lambda *_: None)
    finally:
        ended.set()
        watcher.join()
    assert not torn


def test_pairs_ingested_in_another_way_do_not_share_their_shards(tmp_path: Path) -> None:
    for number in range(3):
        cxr, soft = twins(number, 256)
        png8(cxr, tmp_path / "in" / "CXR" / f"{number}.png")
        png8(other_tone(soft), tmp_path / "in" / "BS" / f"{number}.png")
    made = []
    for clahe in (0.0, 0.02):
        ingest(Order(tmp_path / "in", tmp_path / "out", recipe=Recipe(size=256, clahe=clahe)))
        made.append(open_ground((tmp_path / "out",), (), tmp_path / "shards", 64).identity)
    assert made[0] != made[1]


def test_test_folders_of_one_name_stay_two_sets(simulated: Path, tmp_path: Path) -> None:
    for place, count in (("a", 2), ("b", 2)):
        (tmp_path / place / "real").mkdir(parents=True)
        for number in range(count):
            for kind, image in zip(("cxr", "soft"), chest(256, 256, number), strict=True):
                save(tmp_path / place / "real" / f"scanner_{number}_{kind}.png", image)
    folders = [tmp_path / place / "real" for place in ("a", "b")]
    ground = open_ground((simulated,), (), tmp_path / "shards", 64, also=folders)
    assert [each.name for each in ground.tests] == ["simulated", "real", "real-2"]


def test_people_of_one_more_test_folder_may_not_be_trained_on_either(simulated: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="people who are in the training pairs"):
        open_ground((simulated,), (), tmp_path / "shards", 64, also=(simulated,))


def test_a_test_pair_that_is_one_picture_twice_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        cxr, soft = chest(256, 256, number)
        for kind, image in (("cxr", soft if number else cxr), ("soft", soft)):
            save(tmp_path / f"scanner_{number}_{kind}.png", image)
    monkeypatch.chdir(tmp_path)
    (held_out,) = open_test(Path())
    assert held_out.name == tmp_path.name
    assert [case.name for case in held_out.cases] == ["scanner_0"]
    assert held_out.title == "1 pair, dual energy; left out, radiograph and twin being the same picture: scanner_1"
