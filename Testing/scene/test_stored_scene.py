"""A scene that version 0.1 saved opens: its findings are read as states, and the next saving writes this version's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import slicer
import vtk
from host.application import Application

from VertebralGradingLib.demo import LEVELS
from VertebralGradingLib.findings import SCHEMA, Reading
from VertebralGradingLib.reading import is_edited, set_reader_state
from VertebralGradingLib.report.csv_table import COLUMNS
from VertebralGradingLib.report.sentences import sentence, summary_sentence
from VertebralGradingLib.scene.results import StudyResults
from VertebralGradingLib.scene.studies import all_results

STORED = Path(__file__).resolve().parents[1] / "stored"


@pytest.fixture
def loaded(app: Application, tmp_path: Path) -> StudyResults:
    """The stored scene's study; loaded from a copy, so that nothing is written beside the original."""
    for path in STORED.glob("scene-0.1*"):
        shutil.copy(path, tmp_path)
    slicer.util.loadScene(str(tmp_path / "scene-0.1.mrml"))
    (results,) = all_results(app.scene)
    return results


def _column(results: StudyResults, name: str) -> list[Any]:
    table = results.table_node.GetTable()
    return [table.GetValueByName(row, name).ToString() for row in range(table.GetNumberOfRows())]


def test_it_is_small_and_of_version_0_1(loaded: StudyResults) -> None:
    stored = json.loads(loaded.node.GetParameter("report"))
    assert stored["schema"] == "vertebral-grading/findings/1"
    assert "suggested_exclusion" in stored["findings"][0]
    assert sum(path.stat().st_size for path in STORED.glob("scene-0.1*")) < 60_000


def test_findings_are_read_as_states_and_the_readers_work_is_kept(loaded: StudyResults) -> None:
    report = loaded.report
    assert [finding.level for finding in report.findings] == list(LEVELS)
    states = dict.fromkeys(LEVELS, "grade 0") | {"L1": "grade 2"}
    assert {finding.level: finding.state for finding in report.findings} == states
    by_level = {finding.level: finding for finding in report.findings}
    assert by_level["L1"].reading == Reading(state="grade 3")
    assert by_level["L3"].reading == Reading(exclusion="Schmorl node")
    assert report.provenance["reader"] == "AB"
    assert is_edited(report)
    assert by_level["L1"].loss_percent == pytest.approx(29, abs=2)
    assert by_level["L1"].grade_probabilities is None, "0.1 did not write them"
    assert sentence(by_level["L1"]).startswith("L1: grade 3 by the reader (automatic: grade 2), severe wedge deformity")
    assert summary_sentence(report).startswith("5 of 6 assessed: worst grade 3")
    assert loaded.image_node.GetName() == "demo"


def test_the_table_is_filled_again_with_this_versions_columns(loaded: StudyResults) -> None:
    table = loaded.table_node.GetTable()
    assert table.GetColumnByName("suggested_exclusion") is not None, "as 0.1 left it"
    assert table.GetNumberOfRows() == len(LEVELS)
    loaded.renew()
    table = loaded.table_node.GetTable()
    assert [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())] == list(COLUMNS)
    assert _column(loaded, "level") == list(LEVELS)
    assert _column(loaded, "state") == [finding.state for finding in loaded.report.findings]
    assert _column(loaded, "reader_state") == ["", "", "grade 3", "", "", ""]
    assert _column(loaded, "reader_exclusion") == ["", "", "", "", "Schmorl node", ""]
    assert isinstance(table.GetColumnByName("grade"), vtk.vtkIntArray)
    assert loaded.chart_node.GetNumberOfPlotSeriesNodes() == 9
    assert json.loads(loaded.node.GetParameter("report"))["schema"] == SCHEMA
    first = loaded.table_node.GetTable().GetMTime()
    loaded.renew()
    assert loaded.table_node.GetTable().GetMTime() == first, "what is of this version is left as it is"


def test_the_next_saving_writes_this_versions_findings(loaded: StudyResults, app: Application, tmp_path: Path) -> None:
    loaded.update(set_reader_state(loaded.report, "T12", "borderline"))
    told = json.loads(loaded.node.GetParameter("report"))
    assert told["schema"] == SCHEMA == "vertebral-grading/findings/2"
    shown = loaded.report.to_dict()
    assert slicer.util.saveScene(str(tmp_path / "again.mrb"))
    app.clear()
    slicer.util.loadScene(str(tmp_path / "again.mrb"))
    (again,) = all_results(app.scene)
    assert json.loads(again.node.GetParameter("report"))["schema"] == SCHEMA
    assert again.report.to_dict() == shown
    assert again.report.findings[1].reading == Reading(state="borderline")
    assert again.report.findings[2].reading == Reading(state="grade 3")
    assert _column(again, "reader_state")[1:3] == ["borderline", "grade 3"]
