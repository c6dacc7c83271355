"""Dialogs of the host are recorded and answered beforehand; none waits for a person."""

from __future__ import annotations

import logging

import pytest
from host import dialogs


def test_message_boxes_answer_what_was_prepared(host):
    qt = host.qt
    dialogs.answer("question", qt.QMessageBox.Yes)
    yes_no = qt.QMessageBox.Yes | qt.QMessageBox.No
    assert qt.QMessageBox.question(None, "Delete", "Really?", yes_no) == qt.QMessageBox.Yes
    assert qt.QMessageBox.information(None, "Note", "Done") == qt.QMessageBox.Ok
    box = qt.QMessageBox()
    box.text = "Stop?"
    box.setStandardButtons(yes_no)
    with pytest.raises(dialogs.UnexpectedDialogError, match=r"Stop\?"):
        box.exec_()
    assert [shown.text for shown in dialogs.shown] == ["Really?", "Done", "Stop?"]


def test_file_dialogs_return_the_path_alone(host):
    dialogs.answer("file", "/data/findings.csv")
    assert host.qt.QFileDialog.getSaveFileName(None, "Export", "", "CSV (*.csv)") == "/data/findings.csv"
    with pytest.raises(dialogs.UnexpectedDialogError):
        host.qt.QFileDialog.getOpenFileName(None, "Open")
    with pytest.raises(NotImplementedError):
        host.qt.QInputDialog.getText(None, "Name", "Reader")


def test_dialog_runs_until_it_is_closed(host):
    dialog = host.qt.QDialog()
    host.qt.QTimer.singleShot(5, dialog.accept)
    assert dialog.exec_() == 1


def test_messages_that_close_themselves_do_not_wait(host):
    host.slicer.util.delayDisplay("Sample loaded")
    assert dialogs.shown[-1].text == "Sample loaded"
    progress = host.slicer.util.createProgressDialog(labelText="Reading", maximum=3)
    progress.setValue(2)
    assert (progress.value, progress.labelText) == (2, "Reading")
    progress.close()
    progress.delete()


def test_message_box_made_by_util(host):
    from host.install import switches

    qt = host.qt
    switches.testing = False
    dialogs.answer("message", qt.QMessageBox.Cancel)
    buttons = qt.QMessageBox.Save | qt.QMessageBox.Cancel
    box = host.slicer.util.messageBox("Save first?", standardButtons=buttons, dontShowAgainSettingsKey="Grade/Save")
    assert box == qt.QMessageBox.Cancel
    with pytest.raises(dialogs.UnexpectedDialogError):
        host.slicer.util.messageBox("Save first?", standardButtons=buttons)


def test_util_dialogs_are_recorded(host, caplog):
    from host.install import switches

    util = host.slicer.util
    switches.testing = False
    util.warningDisplay("Level unknown")
    dialogs.answer("question", True)
    assert util.confirmYesNoDisplay("Delete the model?")
    dialogs.answer("question", False)
    assert not util.confirmOkCancelDisplay("Install torch?")
    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(ValueError, match="no centroid"),
        util.tryWithErrorDisplay("Grading failed.", waitCursor=True),
    ):
        raise ValueError("no centroid")
    assert [(shown.kind, shown.text.split("\n")[0]) for shown in dialogs.shown] == [
        ("warning", "Level unknown"),
        ("question", "Delete the model?"),
        ("question", "Install torch?"),
        ("error", "Grading failed."),
    ]
    assert host.qt.QApplication.overrideCursor() is None
