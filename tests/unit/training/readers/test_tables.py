"""What people and programs are given of a scored study."""

import csv
import json
import math

from tests.unit.training.readers.small_study import READERS, answer, answers, small_study
from training.readers.page import NOBODY_READ, as_json, as_page, readings_csv
from training.readers.records import Study
from training.readers.score import Options, score_study
from training.readers.tables import summary, tables

FACTS = {"command": "`pacs-node reader-study score study`"}


def scored(study: Study | None = None) -> str:
    return as_page(score_study(study or small_study(), answers(), Options(draws=200)), FACTS)


def test_the_page_holds_the_figures_that_were_counted_by_hand() -> None:
    page = scored()
    cells = [line.split(" | ") for line in page.splitlines()]
    auc = next(line for line in cells if line[0] == "| AUC of cases" and len(line) > 5)
    assert auc[1].startswith("0.833 ")
    assert auc[2].startswith("0.944 ")
    assert auc[3].startswith("+0.111 ")
    assert ["| recall of lesions, at 0", "r1", "0.250", "0.750", "0.500 |"] in [
        [cell.split(" (")[0] for cell in line] for line in cells
    ]
    vessels = next(line for line in cells if line[0] == "| vessels")
    assert vessels[1:6] == ["2.33 (2.5)", "2.67 (3)", "2.50 (3)", "1 / 4 / 7", vessels[5]]
    assert vessels[5].startswith("0.82 ")
    assert vessels[6].startswith("0.62 ")


def test_the_page_says_how_it_was_made_and_computed() -> None:
    page = scored()
    for told in ("`pacs-node reader-study score study`", "Obuchowski", "Hillis (2007)", "DeLong", "Research use only"):
        assert told in page
    assert NOBODY_READ not in page


def test_the_page_is_the_same_for_the_same_answers() -> None:
    assert scored() == scored()


def test_readers_who_are_no_persons_are_told_at_the_top() -> None:
    study = small_study().model_copy(update={"readers": ("simulated_1", "r2")})
    plan = [each.model_copy(update={"reader": each.reader.replace("r1", "simulated_1")}) for each in study.plan]
    given = [each.model_copy(update={"reader": each.reader.replace("r1", "simulated_1")}) for each in answers()]
    result = score_study(study.model_copy(update={"plan": tuple(plan)}), given, Options(draws=100))
    page = as_page(result, FACTS)
    assert page.splitlines()[2] == f"**{NOBODY_READ}**"
    assert as_json(result, FACTS)["simulated"] is True


def test_every_row_has_a_cell_for_each_column() -> None:
    one_arm = score_study(small_study(), answers(arms=("with",)), Options(draws=100))
    alone = score_study(small_study(), answers(readers=("r1",)), Options(draws=100))
    for result in (score_study(small_study(), answers(), Options(draws=100)), one_arm, alone):
        grids = tables(result)
        assert {grid.title for grid in summary(result)} <= {grid.title for grid in grids}
        for grid in grids:
            assert {len(row) for row in grid.rows} == {len(grid.columns)}, grid.title


def test_limits_of_a_share_end_where_shares_end() -> None:
    result = score_study(small_study(), answers(), Options(draws=100))
    recall = next(each for each in result.figures if each.key == "recall")
    assert recall.means["with"].high > 1
    assert "to 1.000)" in next(line for line in scored().splitlines() if line.startswith("| recall of lesions, at 0"))


def test_json_has_no_nan_and_keeps_the_figures() -> None:
    result = score_study(small_study(), answers(), Options(draws=100))
    document = json.loads(json.dumps(as_json(result, FACTS), allow_nan=False))
    auc = document["detection"][0]
    assert auc["each"]["r2"]["with"]["value"] == 1
    assert auc["comparison"]["inferences"][0]["generalises_to"] == "readers and cases"
    assert document["log_seconds"][0]["comparison"]["inferences"][0]["p"] is None
    assert document["facts"] == FACTS


def test_the_list_of_readings_has_marks_and_scores_of_each() -> None:
    result = score_study(small_study(unknown=("c6",)), answers(), Options(draws=100))
    rows = list(csv.DictReader(readings_csv(result.readings).splitlines()))
    assert len(rows) == 2 * 2 * 6
    by_key = {(row["reader"], row["case"], row["arm"]): row for row in rows}
    row = by_key["r2", "c2", "without"]
    assert (row["rating"], row["found"], row["missed"], row["false"], row["repeats"]) == ("80", "80", "1", "", "1")
    assert (by_key["r1", "c1", "with"]["vessels"], by_key["r1", "c1", "without"]["vessels"]) == ("3", "")
    assert by_key["r1", "c6", "with"]["diseased"] == ""


def test_an_unfinished_study_names_what_is_missing_on_its_page() -> None:
    given = [each for each in answers() if (each.reader, each.case) != ("r2", "c6")]
    given.append(answer("r2", "with", "c6", kind="scores"))
    page = as_page(score_study(small_study(), given, Options(draws=100)), FACTS)
    assert "readings that are missing: 2 of r2" in page


def test_all_readers_stand_in_the_table_of_progress() -> None:
    result = score_study(small_study(), answers(readers=("r1",)), Options(draws=100))
    assert [row[0] for row in tables(result)[0].rows] == list(READERS)
    assert not math.isnan(result.figures[0].each["r1"]["with"].value)
