"""The host's ``qt`` refuses what PythonQt refuses."""

from __future__ import annotations

import functools
import gc
import pathlib

import numpy as np
import pytest
from host import qt_actions, signals


def test_property_shadows_its_getter(host):
    button = host.qt.QPushButton("Grade")
    assert button.text == "Grade"
    assert button.enabled is True
    with pytest.raises(TypeError, match="not callable"):
        button.text()
    assert button.isEnabled() is True
    button.setText("Cancel")
    assert button.text == "Cancel"
    button.text = "Stop"
    assert button.text == "Stop"
    button.name = "stopButton"
    assert button.objectName == "stopButton"


def test_unknown_attribute_is_refused(host):
    button = host.qt.QPushButton()
    with pytest.raises(AttributeError, match="creating new attributes"):
        button.settext = "x"
    with pytest.raises(AttributeError, match="no attribute"):
        button.txet  # noqa: B018
    with pytest.raises(AttributeError):
        button._qt_object  # noqa: B018
    with pytest.raises(AttributeError, match="cannot be overwritten"):
        button.setText = "x"
    with pytest.raises(AttributeError, match="not writable"):
        button.sizeHint = host.qt.QSize(1, 1)
    with pytest.raises(AttributeError):
        del button.text


@pytest.mark.parametrize(
    ("name", "value"), [("text", 3), ("text", None), ("checkable", 1), ("text", pathlib.Path("x"))], ids=str
)
def test_property_takes_only_its_type(host, name, value):
    with pytest.raises(AttributeError, match="does not accept"):
        setattr(host.qt.QPushButton(), name, value)


def test_setter_takes_only_its_type(host):
    with pytest.raises(TypeError):
        host.qt.QLabel().setText(None)
    with pytest.raises(TypeError):
        host.qt.QSpinBox().setValue(2.5)
    with pytest.raises(TypeError):
        host.qt.QPushButton().setEnabled(1)


def test_keywords_are_refused(host):
    with pytest.raises(TypeError, match="keyword"):
        host.qt.QPushButton(text="x")
    with pytest.raises(TypeError, match="keyword"):
        host.qt.QPushButton().setText(text="x")
    with pytest.raises(TypeError, match="keyword"):
        host.qt.QTimer.singleShot(msec=3)


def test_path_and_numpy_scalars_are_not_converted(host, tmp_path):
    with pytest.raises(ValueError, match="pathlib"):
        host.qt.QFile(tmp_path)
    with pytest.raises(ValueError, match="pathlib"):
        host.qt.QProcess().start("echo", [tmp_path])
    with pytest.raises(ValueError, match="numpy"):
        host.qt.QWidget().resize(np.int64(3), 4)
    with pytest.raises(ValueError, match="numpy"):
        host.qt.QCheckBox().setChecked(np.bool_(True))
    spin = host.qt.QDoubleSpinBox()
    spin.setValue(np.float64(1.5))  # a subclass of float
    assert spin.value == 1.5


def test_enums_are_not_ints(host):
    qt = host.qt
    label = qt.QLabel()
    for wrong in (lambda: label.setAlignment(4), lambda: label.setFocusPolicy(1), lambda: qt.QSizePolicy(1, 1)):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(AttributeError, match="enums are not ints"):
        label.alignment = 4
    label.alignment = qt.Qt.AlignCenter
    assert label.alignment == qt.Qt.AlignCenter
    with pytest.raises(AttributeError):  # values are on the class, not on its enum
        qt.QFrame.Shape.HLine  # noqa: B018
    assert qt.QProcess().exitStatus() == qt.QProcess.NormalExit
    assert qt.QProcess().exitStatus() != 0


def test_deriving_from_qt_classes_is_refused(host):
    with pytest.raises(TypeError, match="derived"):
        type("Mine", (host.qt.QWidget,), {})
    with pytest.raises(TypeError, match="derived"):

        class Other(host.qt.QObject):
            pass


def test_pyside_names_do_not_exist(host):
    for name in ("Signal", "Slot", "Property", "QEnum", "QtCore", "nothing"):
        with pytest.raises(AttributeError):
            getattr(host.qt, name)
    with pytest.raises(AttributeError):
        host.qt.QWidget().staticMetaObject  # noqa: B018
    with pytest.raises(TypeError):
        host.qt.QWidget.color = 3


def test_signals_connect_by_exact_signature(host):
    button = host.qt.QPushButton()
    for wrong in ("clicked", "clicked(int)", "click()", "textChanged(QString)", "", "_hidden()"):
        with pytest.raises(ValueError, match="no signal"):
            button.connect(wrong, print)
    with pytest.raises(ValueError, match="as a string"):
        button.connect(button.clicked, print)
    with pytest.raises(AttributeError, match="signature as a string"):
        button.clicked.connect(print)
    with pytest.raises(ValueError, match="not callable"):
        button.connect("clicked()", None)
    with pytest.raises(ValueError, match="takes a signature and a callable"):
        button.connect(button, "clicked()", print)
    assert button.connect(" clicked( bool ) ", print)  # normalized, as Qt does


def test_arguments_are_trimmed_for_functions_and_methods_only(host):
    got: list[tuple] = []

    class Receiver:
        def none(self):
            got.append(("none",))

        def one(self, checked):
            got.append(("one", checked))

        def default(self, checked="default"):
            got.append(("default", checked))

        def __call__(self, *args):
            got.append(("object", *args))

    receiver, button = Receiver(), host.qt.QPushButton()
    button.connect("clicked(bool)", receiver.none)
    button.connect("clicked(bool)", receiver.one)
    button.connect("clicked(bool)", receiver.default)  # the default counts: it is given the signal's argument
    button.connect("clicked(bool)", receiver)
    button.connect("clicked(bool)", lambda *args: got.append(("star", *args)))
    button.connect("clicked()", receiver.default)
    button.click()
    assert sorted(map(str, got)) == sorted(
        map(
            str,
            [
                ("none",),
                ("one", False),
                ("default", False),
                ("object", False),
                ("star", False),
                ("default", "default"),
            ],
        )
    )


def test_partial_gets_every_argument(host):
    """A functools.partial of a function without room for the signal's argument fails, as in PythonQt."""
    button = host.qt.QPushButton()
    button.connect("clicked(bool)", functools.partial(lambda row: None, 3))
    button.click()
    assert len(signals.slot_errors) == 1
    with pytest.raises(TypeError, match="positional argument"):
        signals.raise_slot_errors()


def test_error_in_a_callable_is_kept_and_does_not_stop_qt(host, capfd):
    button, after = host.qt.QPushButton(), []
    button.connect("clicked()", lambda: 1 / 0)
    button.connect("clicked()", lambda: after.append(1))
    button.click()
    assert after == [1]
    assert "ZeroDivisionError" in capfd.readouterr().err
    with pytest.raises(ZeroDivisionError):
        qt_actions.settle()
    qt_actions.settle()  # told once


def test_callables_are_held_until_the_sender_dies(host):
    got, button = [], host.qt.QPushButton()

    class Receiver:
        def take(self):
            got.append(1)

    button.connect("clicked()", Receiver().take)
    gc.collect()
    button.click()
    assert got == [1]
    assert signals.connection_count(button) == 1
    button.delete()
    assert signals.connection_count(button) == 0


def test_disconnect(host):
    got, button = [], host.qt.QPushButton()

    def take():
        got.append(1)

    button.connect("clicked()", take)
    button.connect("clicked()", take)
    assert button.disconnect("clicked()", take)
    button.click()
    assert got == [1]
    assert button.disconnect("clicked()")
    assert not button.disconnect("clicked()")
    assert not button.disconnect("clicked(bool)", take)
    button.click()
    assert got == [1]
    with pytest.raises(ValueError, match="no signal"):
        button.disconnect("clicked(int)", take)


def test_wrappers_are_one_for_each_object(host):
    qt = host.qt
    widget, layout, label = qt.QWidget(), qt.QVBoxLayout(), qt.QLabel("a")
    widget.setLayout(layout)
    layout.addWidget(label)
    assert widget.layout() is layout
    assert label.parent() is widget
    assert widget.findChild(qt.QLabel) == label
    assert [type(child) for child in widget.children()] == [qt.QVBoxLayout, qt.QLabel]
    assert label != qt.QLabel("a")
    assert isinstance(label, qt.QWidget)
    assert type(label) is qt.QLabel
    assert qt.QSize(1, 2) == qt.QSize(1, 2)
    assert {label: 1}[widget.findChild(qt.QLabel)] == 1
    assert label.className() == "QLabel"
    assert label.inherits("QFrame")


def test_destroyed_objects_are_refused(host):
    label = host.qt.QLabel("a")
    label.delete()
    assert not label
    assert label == None  # noqa: E711 - this is how PythonQt code asks
    with pytest.raises(ValueError, match="destroyed"):
        label.text  # noqa: B018
    with pytest.raises(ValueError, match="destroyed"):
        label.setText("b")
    with pytest.raises(AttributeError, match="destroyed"):
        label.text = "b"
    with pytest.raises(ValueError, match="destroyed"):
        host.qt.QVBoxLayout().addWidget(label)


def test_dynamic_properties_are_attributes_once_they_exist(host):
    label = host.qt.QLabel()
    with pytest.raises(AttributeError):
        label.level = "L1"
    label.setProperty("level", "L1")
    assert label.level == "L1"
    label.level = "L2"
    assert label.property("level") == "L2"


def test_timers_take_callables_and_nothing_else_does(host):
    got = []
    host.qt.QTimer.singleShot(0, lambda: got.append(1))
    qt_actions.wait_until(lambda: got == [1])
    with pytest.raises(ValueError, match="no callable"):
        host.qt.QWidget().setProperty("f", print)


def test_longest_gap_sees_a_blocked_event_loop(host):
    import time

    with qt_actions.LongestGap() as gap:
        host.qt.QTimer.singleShot(20, lambda: time.sleep(0.2))
        qt_actions.wait_until(lambda: gap.seconds > 0.15)
    assert gap.ticks > 2


def test_menu_and_table_work_through_the_proxy(host):
    qt, got = host.qt, []
    menu = qt.QMenu()
    action = menu.addAction("Exclude", lambda: got.append("excluded"))
    action.trigger()
    table = qt.QTableWidget(2, 1)
    table.setItem(1, 0, qt.QTableWidgetItem("L1"))
    table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
    table.connect("cellClicked(int,int)", lambda row: got.append(row))  # noqa: PLW0108 - trimmed to one argument
    qt_actions.show(table, 300, 200)
    qt_actions.click_cell(table, 1, 0)
    assert got == ["excluded", 1]
    assert table.item(1, 0).text() == "L1"
    assert table.item(0, 0) is None
    assert table.rowCount == 2
    with pytest.raises(AttributeError):
        table.item(1, 0).text = "L2"
    shortcut = qt.QShortcut(qt.QKeySequence("Ctrl+Z"), table)
    shortcut.connect("activated()", lambda: got.append("undo"))
    qt_actions.press(table, "Ctrl+Z")
    assert got[-1] == "undo"
    table.delete()
    menu.delete()


def test_process_speaks_bytes(host):
    qt = host.qt
    process, got = qt.QProcess(), []
    process.connect("readyReadStandardOutput()", lambda: got.append(process.readAllStandardOutput().data()))
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: got.append((code, status)))
    process.start("cat", [])
    process.write(b"one\n")
    qt_actions.wait_until(lambda: got == [b"one\n"])
    process.closeWriteChannel()
    assert process.waitForFinished(5000)
    assert got[1:] == [(0, qt.QProcess.NormalExit)]
    with pytest.raises(TypeError):
        process.readAllStandardOutput()[0]
