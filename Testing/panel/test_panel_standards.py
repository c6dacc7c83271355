"""What the panel says by the standards: index over T4-L4, flat endplates, what to consider, reasons to exclude."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from host import qt_actions
from host.cases import SOME_POINTS
from host.panel_driver import WAIT_S, PanelDriver

from VertebralGradingLib.findings import NEVER_ASSESSED, Consideration
from VertebralGradingLib.findings.deformity_index import OUTSIDE, deformity_index
from VertebralGradingLib.methods.considerations import CUPID, FLAT
from VertebralGradingLib.reading import EXCLUSIONS
from VertebralGradingLib.report.sentences import sentence_to_copy

LEVELS = [point.level for point in SOME_POINTS]
REMARKS = 8


def test_summary_and_remarks_follow_the_standards(panel: PanelDriver) -> None:
    ui, session = panel.ui, panel.session
    assert LEVELS[-1] == "L3"
    index = deformity_index(session.report.findings)
    assert index.n_levels == len([level for level in LEVELS if level not in ("L5", "L6")])
    assert index.text in ui.summaryLabel.text
    assert index.text.startswith("spinal deformity index at least 2 (")
    row = LEVELS.index("L1")
    assert FLAT in session.report.findings[row].flags, "the sample's wedge has planes for endplates"
    assert "short, endplates flat" in panel.cell(row, REMARKS)
    last = len(LEVELS) - 1
    qt_actions.click_cell(ui.vertebraTable, last, 0)
    qt_actions.choose(ui.readerGradeComboBox, "grade 1")
    assert OUTSIDE not in panel.cell(last, REMARKS)
    while session.level != "L5":
        qt_actions.click(ui.shiftDownButton)
    assert OUTSIDE in panel.cell(last, REMARKS)
    assert "of grade 1 or more outside T4-L4: L5" in ui.summaryLabel.text
    assert deformity_index(session.report.findings).text in ui.summaryLabel.text


def test_what_to_consider_stands_beside_the_sentence_and_in_the_remarks(panel: PanelDriver) -> None:
    ui, session = panel.ui, panel.session
    line = Consideration(CUPID, "consider Cupid's bow: two dips")
    findings = tuple(replace(f, considerations=(line,)) if f.level == "L2" else f for f in session.report.findings)
    session.apply(replace(session.report, findings=findings))
    qt_actions.click_cell(ui.vertebraTable, LEVELS.index("L2"), 0)
    qt_actions.wait_until(lambda: "Consider Cupid's bow: two dips." in ui.sentenceLabel.text, WAIT_S, "the line")
    assert line.text in panel.cell(LEVELS.index("L2"), REMARKS)
    panel.shot("consider")


def test_a_copied_sentence_says_what_is_not_assessed(panel: PanelDriver, host: SimpleNamespace) -> None:
    qt_actions.click_cell(panel.ui.vertebraTable, LEVELS.index("L1"), 0)
    qt_actions.click(panel.ui.sentenceButton)
    copied = str(host.qt.QApplication.clipboard().text())
    assert copied == sentence_to_copy(panel.session.finding)
    assert copied.endswith(f". {NEVER_ASSESSED}")


def test_every_reason_to_exclude_can_be_chosen(panel: PanelDriver) -> None:
    ui = panel.ui
    shown = [str(ui.exclusionComboBox.itemText(n)) for n in range(ui.exclusionComboBox.count)]
    assert shown == ["", *EXCLUSIONS]
    qt_actions.click_cell(ui.vertebraTable, LEVELS.index("L2"), 0)
    qt_actions.choose(ui.exclusionComboBox, "Cupid's bow")
    assert panel.session.finding.exclusion_text == "excluded by the reader (Cupid's bow)"
