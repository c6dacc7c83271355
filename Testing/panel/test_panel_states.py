"""Every state in the panel: rows of a run that was stopped, and a reader who decides, confirms and agrees."""

from __future__ import annotations

import csv
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from host import qt_actions
from host.cases import add_points, add_volume
from host.panel_driver import WAIT_S, PanelDriver, shown_panel
from rendering.demo_variants import CUT, TREATED, UNDECIDED, special_case

from VertebralGradingLib.demo import LEVELS, demo_case
from VertebralGradingLib.findings.states import GRADED, MEANING
from VertebralGradingLib.report.colors import color_of_state
from VertebralGradingLib.report.sentences import sentence
from VertebralGradingLib.scene.six_points import read_points

CT, POINTS = demo_case()
SPECIAL, _ = special_case()
STATE, LOSS, CHANCE, READER, DEFORMITY, HEIGHTS, LOSSES, REMARKS = range(1, 9)
"""Columns of the panel's table."""
STORED = Path(__file__).resolve().parents[1] / "stored"


@pytest.fixture
def panel(host: SimpleNamespace, tmp_path: Path) -> Iterator[PanelDriver]:
    with shown_panel(tmp_path) as driver:
        yield driver


@pytest.fixture
def special(panel: PanelDriver) -> PanelDriver:
    """The panel with a graded Schmorl node, a body with cement and a cut one."""
    panel.choose(add_volume(SPECIAL, "special"), add_points(POINTS))
    panel.grade()
    return panel


def _look(panel: PanelDriver, level: str) -> int:
    row = LEVELS.index(level)
    qt_actions.click_cell(panel.ui.vertebraTable, row, 0)
    return row


def _column(panel: PanelDriver, column: int) -> list[str]:
    return [panel.cell(row, column) for row in range(panel.ui.vertebraTable.rowCount)]


def _segments(panel: PanelDriver) -> list[str]:
    node = panel.session.results.segmentation_node
    if node is None:
        return []
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]


def _chart_levels(panel: PanelDriver) -> list[str]:
    table = panel.session.results.chart_node.GetNthPlotSeriesNode(0).GetTableNode().GetTable()
    return [table.GetValueByName(row, "level").ToString() for row in range(table.GetNumberOfRows())]


@pytest.mark.parametrize("how", ["cancelled", "worker killed"])
def test_a_run_stopped_after_three_has_rows_for_the_rest(panel: PanelDriver, how: str, tmp_path: Path) -> None:
    ui = panel.ui
    panel.choose(add_volume(CT, "demo"), add_points(POINTS))
    learned = how == "worker killed"
    qt_actions.choose(ui.methodsComboBox, "morphometry, HealthiVert-GAN" if learned else "morphometry, neighbours")
    qt_actions.click(ui.gradeButton)
    qt_actions.wait_until(lambda: ui.vertebraTable.rowCount >= 3, WAIT_S, "three rows")
    os.kill(panel.pid, signal.SIGSTOP if how == "cancelled" else signal.SIGKILL)
    if how == "cancelled":
        qt_actions.wait_until(lambda: ui.gradeButton.enabled, WAIT_S, "the button")
        qt_actions.click(ui.gradeButton)
        os.kill(panel.pid, signal.SIGCONT)
    qt_actions.wait_until(lambda: not panel.logic.isGrading(), WAIT_S, "the end of the run")
    qt_actions.settle()
    states = _column(panel, STATE)
    count = states.index("not reached")
    finished, rest = list(LEVELS[:count]), list(LEVELS[count:])
    assert count >= 3
    assert _column(panel, 0) == list(LEVELS)
    assert states[count:] == ["not reached"] * len(rest)
    for row in range(count, len(LEVELS)):
        assert [panel.cell(row, column) for column in (LOSS, CHANCE, DEFORMITY, HEIGHTS, LOSSES)] == 5 * ["–"]
        assert panel.cell(row, REMARKS) == "the run stopped before it"
        assert ui.vertebraTable.item(row, STATE).background().color().name() == "#e3e3e3"
        assert str(ui.vertebraTable.item(row, STATE).toolTip()) == f"not reached: {MEANING['not reached']}"
    assert str(ui.summaryLabel.text).startswith(f"{count} of 6 assessed; run not finished: ")
    assert f"not reached: {', '.join(rest)}" in ui.summaryLabel.text
    if how == "cancelled":
        assert ui.statusLabel.text == f"Cancelled; {count} of 6 vertebrae were finished."
    else:
        told = "HealthiVert-GAN did not run: It had given nothing when the run stopped."
        assert str(ui.statusLabel.text).startswith("The worker stopped")
        assert str(ui.statusLabel.text).endswith(told)
        assert told in ui.logText.toPlainText()
        assert panel.session.report.provenance["methods"] == ["morphometry"]
    assert [name.split()[0] for name in _segments(panel)] == (finished if how == "cancelled" else [])
    assert _chart_levels(panel) == finished
    assert list(read_points(panel.session.results.points_node)) == finished
    assert not panel.session.report.complete
    _look(panel, rest[-1])
    assert ui.sentenceLabel.text == f"{rest[-1]}: not reached: the run stopped before it."
    assert not ui.agreedCheckBox.enabled
    assert not ui.confirmedCheckBox.enabled
    panel.shot(f"stopped-{how.replace(' ', '-')}")
    ui.exportCollapsibleButton.collapsed = False
    ui.exportPathLineEdit.currentPath = str(tmp_path / "out")
    qt_actions.click(ui.exportButton)
    rows = list(csv.DictReader((tmp_path / "out" / "findings.csv").open(encoding="utf-8")))
    assert [row["state"] for row in rows] == states
    panel.grade()
    assert "not reached" not in _column(panel, STATE)
    assert str(ui.summaryLabel.text).startswith("6 of 6 assessed: ")


def test_undecided_treated_and_cut_vertebrae_have_the_same_words_everywhere(special: PanelDriver) -> None:
    ui, report = special.ui, special.session.report
    states = [{UNDECIDED: "undecided", TREATED: "treated", CUT: "not assessed"}.get(level) for level in LEVELS]
    shown = _column(special, STATE)
    assert [word for word, state in zip(shown, states, strict=True) if state] == [state for state in states if state]
    assert shown == [finding.state for finding in report.findings]
    assert _segments(special) == [f"{level} {word}" for level, word in zip(LEVELS, shown, strict=True)]
    for row, word in enumerate(shown):
        item = ui.vertebraTable.item(row, STATE)
        assert item.background().color().name() == color_of_state(word).color.lower()
        assert str(item.toolTip()) == f"{word}: {MEANING[word]}"
        assert (special.cell(row, CHANCE) != "–") == (word in GRADED)
        assert (special.cell(row, LOSS) != "–") == (word in GRADED)
    remarks = dict(zip(LEVELS, _column(special, REMARKS), strict=True))
    assert "grade 0 if Schmorl node" in remarks[UNDECIDED]
    assert "grade 2 if fracture" in remarks[UNDECIDED]
    assert remarks[TREATED].startswith("metal or cement in or near the body")
    assert remarks[TREATED].count("metal or cement") == 1, "the reason and the flag are the same words: told once"
    assert "cut by the edge of the volume" in remarks[CUT]
    row = LEVELS.index(CUT)
    assert [special.cell(row, column) for column in (HEIGHTS, LOSSES, DEFORMITY)] == 3 * ["–"]
    assert CUT not in read_points(special.session.results.points_node)
    assert CUT not in _chart_levels(special)
    assert "undecided: L3 (0 if Schmorl node, 2 if fracture)" in ui.summaryLabel.text
    assert "treated: T12" in ui.summaryLabel.text
    assert "not assessed: L4" in ui.summaryLabel.text
    _look(special, CUT)
    visible = special.session.results.points_node
    assert not any(visible.GetNthControlPointVisibility(n) for n in range(visible.GetNumberOfControlPoints()))
    _look(special, UNDECIDED)
    qt_actions.wait_until(lambda: "undecided" in ui.sentenceLabel.text, WAIT_S, "the sentence")
    special.shot("states")


@pytest.mark.parametrize("methods", ["morphometry", "morphometry, neighbours"])
def test_a_schmorl_node_is_undecided_whatever_is_chosen(panel: PanelDriver, methods: str) -> None:
    panel.choose(add_volume(SPECIAL, "special"), add_points(POINTS))
    qt_actions.choose(panel.ui.methodsComboBox, methods)
    panel.grade()
    row = _look(panel, UNDECIDED)
    finding = panel.session.finding
    assert panel.cell(row, STATE) == finding.state == "undecided"
    assert [(one.cause, one.grade) for one in finding.hypotheses] == [("Schmorl node", 0), ("fracture", 2)]
    assert f"{UNDECIDED} undecided" in _segments(panel)
    assert finding.grade is None


@pytest.mark.parametrize("level", [UNDECIDED, TREATED, CUT])
def test_the_reader_decides_where_the_program_does_not(special: PanelDriver, level: str) -> None:
    ui, session = special.ui, special.session
    first = session.report
    row = _look(special, level)
    word = special.cell(row, STATE)
    entries = [str(ui.readerGradeComboBox.itemText(n)) for n in range(ui.readerGradeComboBox.count)]
    assert entries == ["as measured", *GRADED]
    for state in ("borderline", "grade 2"):
        qt_actions.choose(ui.readerGradeComboBox, state)
        assert session.finding.final_state == state
        assert special.cell(row, READER) == state
        assert special.cell(row, STATE) == word, "the program's own state stays"
        item = ui.vertebraTable.item(row, READER)
        assert item.background().color().name() == color_of_state(state).color.lower()
        assert f"{level} {state} (reader)" in _segments(special)
        assert f"{state} by the reader (automatic: {word})" in sentence(session.finding)
        assert "4 of 6 assessed" in ui.summaryLabel.text
        assert f"changed by the reader: {level}" in ui.summaryLabel.text
    qt_actions.click(ui.undoButton)
    assert ui.readerGradeComboBox.currentText == "borderline"
    qt_actions.click(ui.undoButton)
    assert ui.readerGradeComboBox.currentText == "as measured"
    assert session.report.to_dict() == first.to_dict()


def test_a_fracture_is_spoken_of_only_when_confirmed(panel: PanelDriver, tmp_path: Path) -> None:
    ui, session = panel.ui, panel.session
    panel.choose(add_volume(CT, "demo"), add_points(POINTS))
    panel.grade()
    first = session.report
    row = _look(panel, "L1")
    qt_actions.wait_until(lambda: "L1: " in ui.sentenceLabel.text, WAIT_S, "the sentence")
    assert "deformity" in ui.sentenceLabel.text
    assert "fracture" not in ui.sentenceLabel.text
    assert not ui.agreedCheckBox.checked
    qt_actions.click(ui.agreedCheckBox)
    assert panel.cell(row, READER) == "agrees"
    assert session.finding.reading.agreed
    assert ui.confirmedCheckBox.text == "Confirmed: vertebral fracture"
    qt_actions.click(ui.confirmedCheckBox)
    assert panel.cell(row, READER) == "agrees; confirmed"
    qt_actions.wait_until(lambda: "vertebral fracture" in ui.sentenceLabel.text, WAIT_S, "the new sentence")
    panel.shot("confirmed")
    confirmed = session.report
    ui.exportCollapsibleButton.collapsed = False
    ui.exportPathLineEdit.currentPath = str(tmp_path / "out")
    qt_actions.click(ui.exportButton)
    rows = list(csv.DictReader((tmp_path / "out" / "findings.csv").open(encoding="utf-8")))
    assert [(row["reader_agreed"], row["reader_confirmed"]) for row in rows][2] == ("true", "true")
    qt_actions.click(ui.undoButton)
    assert not ui.confirmedCheckBox.checked
    assert ui.agreedCheckBox.checked
    qt_actions.click(ui.undoButton)
    assert session.report.to_dict() == first.to_dict()
    assert not ui.agreedCheckBox.checked
    for _ in range(2):
        qt_actions.click(ui.redoButton)
    assert session.report.to_dict() == confirmed.to_dict()
    qt_actions.choose(ui.readerGradeComboBox, "grade 3")
    assert not ui.agreedCheckBox.checked, "it was another answer"
    assert not ui.agreedCheckBox.enabled
    assert not ui.confirmedCheckBox.checked
    assert ui.confirmedCheckBox.enabled
    _look(panel, "L2")
    assert not ui.confirmedCheckBox.enabled, "there is nothing to confirm at grade 0"
    assert ui.agreedCheckBox.enabled
    qt_actions.choose(ui.exclusionComboBox, "degenerative")
    assert not ui.agreedCheckBox.enabled


def test_that_a_body_is_treated_can_be_confirmed(special: PanelDriver) -> None:
    ui = special.ui
    row = _look(special, TREATED)
    assert ui.confirmedCheckBox.text == "Confirmed: treated"
    qt_actions.wait_until(lambda: "the reader confirms" in ui.sentenceLabel.text, WAIT_S, "the sentence")
    qt_actions.click(ui.confirmedCheckBox)
    qt_actions.wait_until(lambda: "confirmed by the reader" in ui.sentenceLabel.text, WAIT_S, "the new sentence")
    assert special.cell(row, READER) == "confirmed"
    assert special.cell(row, STATE) == "treated"
    qt_actions.click(ui.confirmedCheckBox)
    assert special.cell(row, READER) == ""
    assert special.session.finding.reading is None


def test_methods_that_cannot_run_are_told_in_panel_log_and_report(
    panel: PanelDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ui = panel.ui
    panel.choose(add_volume(CT, "demo"), add_points(POINTS))
    qt_actions.choose(ui.methodsComboBox, "all")
    panel.grade()
    for name in ("HealthiVert-GAN", "Diffusion autoencoder"):
        assert f"{name} did not run: " in ui.statusLabel.text
        assert f"{name} did not run: " in ui.logText.toPlainText()
    assert set(panel.session.report.provenance["not_run"]) == {"healthivert", "dae"}
    assert panel.session.report.provenance["methods"] == ["morphometry", "neighbours"]
    assert _column(panel, STATE) == ["grade 0", "grade 0", "grade 2", "grade 0", "grade 0", "grade 0"]
    panel.shot("not-run")


def test_a_scene_of_version_0_1_opens_in_the_panel(panel: PanelDriver, tmp_path: Path) -> None:
    ui = panel.ui
    for path in STORED.glob("scene-0.1*"):
        shutil.copy(path, tmp_path)
    panel.slicer.util.loadScene(str(tmp_path / "scene-0.1.mrml"))
    qt_actions.wait_until(lambda: ui.vertebraTable.rowCount == len(LEVELS), WAIT_S, "the stored study")
    assert not ui.statusLabel.text
    assert _column(panel, STATE) == ["grade 0", "grade 0", "grade 2", "grade 0", "grade 0", "grade 0"]
    assert _column(panel, READER) == ["", "", "grade 3", "", "excluded: Schmorl node", ""]
    assert ui.readerLineEdit.text == "AB"
    assert set(_column(panel, CHANCE)) == {"–"}, "0.1 wrote no chances"
    columns: Any = panel.session.results.table_node.GetTable()
    assert columns.GetColumnByName("state") is not None
    assert columns.GetColumnByName("suggested_exclusion") is None
    _look(panel, "L1")
    qt_actions.click(ui.confirmedCheckBox)
    assert "vertebral fracture" in sentence(panel.session.finding)
    panel.shot("of-version-0.1")
