"""The table of vertebrae, walking through it, and what the reader changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from VertebralGradingLib.findings import POSITIONS, Finding
from VertebralGradingLib.findings.states import GRADED, MEANING, TREATED
from VertebralGradingLib.methods.regrading import shift_levels
from VertebralGradingLib.panel.session import Session
from VertebralGradingLib.reading import (
    EXCLUSIONS,
    agree,
    confirm,
    exclude,
    may_agree,
    may_confirm,
    set_reader,
    set_reader_state,
)
from VertebralGradingLib.report.colors import color_of, color_of_state
from VertebralGradingLib.report.sentences import remarks, sentence_to_copy, summary_sentence
from VertebralGradingLib.report.values import (
    MISSING,
    chance_text,
    fixed,
    graded_loss_text,
    percent,
)

_STATE, _LOSS, _CHANCE, _READER, _HEIGHTS = 1, 2, 3, 4, 6
"""Columns of the table."""


class VertebraePart:
    """The section "Vertebrae".

    Args:
        ui: the panel's widgets.
        session: the study.
        change: runs an edit and shows its error, if it has one.
    """

    def __init__(self, ui: Any, session: Session, change: Callable[[Callable[[], None]], None]) -> None:
        self._ui = ui
        self._session = session
        self._change = change
        self._busy = False
        self._isOver = False
        self._levels: list[str] = []
        self._exclusions = {_(name): name for name in EXCLUSIONS}
        session.onLeaving = self.onExclusion
        table = ui.vertebraTable
        titles = [
            _("Level"),
            _("State"),
            _("Graded loss (%)"),
            _("Grade 1+"),
            _("Reader"),
            _("Deformity"),
            _("A/M/P (mm)"),
            _("A/M/P loss (%)"),
            _("Remarks"),
        ]
        table.setColumnCount(len(titles))
        table.setHorizontalHeaderLabels(titles)
        table.horizontalHeaderItem(_LOSS).setToolTip(_("Height loss that is graded, with its 90 % interval"))
        table.horizontalHeaderItem(_CHANCE).setToolTip(_("Chance of grade 1 or more"))
        table.horizontalHeaderItem(_HEIGHTS).setToolTip(_("Heights: anterior / middle / posterior"))
        table.verticalHeader().setVisible(False)
        table.horizontalHeader().setStretchLastSection(True)
        ui.readerGradeComboBox.addItems([_("as measured"), *GRADED])
        ui.exclusionComboBox.addItems(["", *self._exclusions])
        table.connect("currentCellChanged(int,int,int,int)", self.onRow)
        ui.previousButton.connect("clicked()", self.onPrevious)
        ui.nextButton.connect("clicked()", self.onNext)
        ui.undoButton.connect("clicked()", self.onUndo)
        ui.redoButton.connect("clicked()", self.onRedo)
        ui.sentenceButton.connect("clicked()", self.onCopySentence)
        ui.readerGradeComboBox.connect("activated(int)", self.onReaderGrade)
        ui.agreedCheckBox.connect("clicked(bool)", self.onAgreed)
        ui.confirmedCheckBox.connect("clicked(bool)", self.onConfirmed)
        ui.exclusionComboBox.connect("activated(int)", self.onExclusionChosen)
        ui.exclusionComboBox.lineEdit().connect("editingFinished()", self.onExclusion)
        ui.readerLineEdit.connect("editingFinished()", self.onReader)
        ui.shiftUpButton.connect("clicked()", self.onShiftUp)
        ui.shiftDownButton.connect("clicked()", self.onShiftDown)

    def close(self) -> None:
        """Touch no widget any more."""
        self._isOver = True

    def clear(self, message: str = "") -> None:
        """Show no vertebra."""
        self._levels = []
        self._ui.vertebraTable.setRowCount(0)
        self._ui.summaryLabel.text = message or _("No study has been graded.")
        self.updateState()

    def hasRows(self) -> bool:
        """Whether a finding is shown."""
        return bool(self._levels)

    def add(self, finding: Finding) -> None:
        """Show a provisional finding as the last row."""
        self._busy = True
        row = self._ui.vertebraTable.rowCount
        self._ui.vertebraTable.setRowCount(row + 1)
        self._levels.append(finding.level)
        self._fillRow(row, finding)
        if row == 0:
            self._ui.vertebraTable.resizeColumnsToContents()
        self._busy = False

    def update(self) -> None:
        """Show the findings of the session."""
        report = self._session.report
        if report is None:
            self.clear()
            return
        self._busy = True
        table = self._ui.vertebraTable
        self._levels = [finding.level for finding in report.findings]
        table.setRowCount(len(report.findings))
        for row, finding in enumerate(report.findings):
            self._fillRow(row, finding)
        table.resizeColumnsToContents()
        self._ui.summaryLabel.text = summary_sentence(report)
        self._busy = False
        self.updateSelection()

    def updateSelection(self) -> None:
        """Show which vertebra is chosen, and what the reader said of it."""
        self._busy = True
        if self._session.level in self._levels:
            self._ui.vertebraTable.setCurrentCell(self._levels.index(self._session.level), 0)
        finding = self._session.finding
        reading = finding.reading if finding is not None else None
        state = reading.state if reading is not None else ""
        self._ui.readerGradeComboBox.currentIndex = GRADED.index(state) + 1 if state else 0
        self._ui.agreedCheckBox.checked = reading is not None and reading.agreed
        self._ui.confirmedCheckBox.checked = reading is not None and reading.confirmed
        self._ui.exclusionComboBox.setEditText(self._shownExclusion())
        report = self._session.report
        if report is not None:
            self._ui.readerLineEdit.text = str(report.provenance.get("reader", ""))
        self._busy = False
        self.updateState()

    def updateState(self) -> None:
        """Enable what can be used now."""
        ui, session = self._ui, self._session
        isOpen, chosen = session.results is not None, session.finding is not None
        place = self._levels.index(session.level) if chosen and session.level in self._levels else 0
        ui.previousButton.enabled = chosen and place > 0
        ui.nextButton.enabled = chosen and place < len(self._levels) - 1
        ui.undoButton.enabled = session.canUndo
        ui.redoButton.enabled = session.canRedo
        for widget in (ui.sentenceButton, ui.readerGradeComboBox, ui.exclusionComboBox):
            widget.enabled = chosen
        ui.agreedCheckBox.enabled = ui.agreedCheckBox.checked or may_agree(session.finding)
        ui.confirmedCheckBox.enabled = ui.confirmedCheckBox.checked or may_confirm(session.finding)
        isTreated = session.finding is not None and session.finding.final_state == TREATED
        ui.confirmedCheckBox.text = _("Confirmed: treated") if isTreated else _("Confirmed: vertebral fracture")
        for widget in (ui.shiftUpButton, ui.shiftDownButton):
            widget.enabled = isOpen and bool(self._levels)

    def onRow(self, row: int, column: int, oldRow: int, oldColumn: int) -> None:
        """Look at the vertebra of a row that was clicked."""
        if not self._busy and 0 <= row < len(self._levels):
            self._session.select(self._levels[row])

    def onPrevious(self) -> None:
        """Look at the vertebra above."""
        self._session.step(-1)

    def onNext(self) -> None:
        """Look at the vertebra below."""
        self._session.step(1)

    def onUndo(self) -> None:
        """Take the last change back."""
        self._change(self._session.undo)

    def onRedo(self) -> None:
        """Make it again."""
        self._change(self._session.redo)

    def onReaderGrade(self, index: int) -> None:
        """Take the reader's own state of the chosen vertebra, whatever the program's is."""
        report, level = self._session.report, self._session.level
        if not self._busy and report is not None:
            state = GRADED[index - 1] if index > 0 else ""
            self._change(lambda: self._session.apply(set_reader_state(report, level, state)))

    def onAgreed(self, checked: bool) -> None:
        """The reader has looked at the program's own answer and agrees, or takes that back."""
        report, level = self._session.report, self._session.level
        if not self._busy and report is not None:
            self._change(lambda: self._session.apply(agree(report, level, checked)))

    def onConfirmed(self, checked: bool) -> None:
        """The reader confirms a fracture, or that the body is treated; or takes that back."""
        report, level = self._session.report, self._session.level
        if not self._busy and report is not None:
            self._change(lambda: self._session.apply(confirm(report, level, checked)))

    def onExclusionChosen(self, index: int) -> None:
        """Take an exclusion that was chosen from the list."""
        self.onExclusion()

    def onExclusion(self) -> None:
        """Take the reader's reason why the chosen vertebra is not to be graded; one of the list in English."""
        report, level = self._session.report, self._session.level
        if self._isOver or self._busy or report is None:
            return
        text = str(self._ui.exclusionComboBox.currentText).strip()
        if text != self._shownExclusion():
            reason = self._exclusions.get(text, text)
            self._change(lambda: self._session.apply(exclude(report, level, reason)))

    def onReader(self) -> None:
        """Take the reader's name."""
        if self._isOver:
            return
        report, name = self._session.report, str(self._ui.readerLineEdit.text).strip()
        if not self._busy and report is not None:
            self._change(lambda: self._session.apply(set_reader(report, name)))

    def onShiftUp(self) -> None:
        """Rename all levels one up."""
        self._shift(-1)

    def onShiftDown(self) -> None:
        """Rename all levels one down."""
        self._shift(1)

    def onCopySentence(self) -> None:
        """Put the chosen finding as a sentence on the clipboard."""
        if self._session.finding is not None:
            qt.QApplication.clipboard().setText(sentence_to_copy(self._session.finding))

    def _shownExclusion(self) -> str:
        """The chosen vertebra's exclusion as it is shown."""
        finding = self._session.finding
        reason = finding.reading.exclusion if finding is not None and finding.reading is not None else ""
        return next((shown for shown, kept in self._exclusions.items() if kept == reason), reason)

    def _shift(self, steps: int) -> None:
        report = self._session.report
        if report is not None:
            self._change(lambda: self._session.apply(shift_levels(report, steps)))

    def _fillRow(self, row: int, finding: Finding) -> None:
        texts = (
            finding.level,
            finding.state,
            graded_loss_text(finding),
            chance_text(finding),
            self._readingText(finding),
            finding.deformity or MISSING,
            " / ".join(fixed(finding.heights_mm.get(name)) for name in POSITIONS) if finding.heights_mm else MISSING,
            " / ".join(percent(finding.height_loss.get(name)) for name in POSITIONS)
            if finding.height_loss
            else MISSING,
            "; ".join(remarks(finding)),
        )
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(text)
            if column == _STATE:
                _paint(item, color_of_state(finding.state).color)
                item.setToolTip(f"{finding.state}: {MEANING[finding.state]}")
            elif column == _READER and (finding.excluded or finding.changed_by_reader):
                _paint(item, color_of(finding).color)
            self._ui.vertebraTable.setItem(row, column, item)

    def _readingText(self, finding: Finding) -> str:
        reading = finding.reading
        if reading is None:
            return ""
        texts = [reading.state] if reading.state else []
        if reading.exclusion:
            texts.append(_("excluded: {reason}").format(reason=reading.exclusion))
        if reading.agreed:
            texts.append(_("agrees"))
        if reading.confirmed:
            texts.append(_("confirmed"))
        return "; ".join(texts)


def _paint(item: Any, color: str) -> None:
    item.setBackground(qt.QBrush(qt.QColor(color)))
    item.setForeground(qt.QBrush(qt.QColor("#000000")))
    item.setIcon(_swatch(color))  # seen also where the row is chosen


def _swatch(color: str) -> qt.QIcon:
    pixmap = qt.QPixmap(12, 12)
    pixmap.fill(qt.QColor(color))
    return qt.QIcon(pixmap)
