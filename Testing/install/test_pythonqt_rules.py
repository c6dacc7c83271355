"""The Slicer-facing files hold nothing that PythonQt refuses, and the code and the .ui file belong together.

The checker (``pythonqt_rules``) reads the files without running them, so that lines no test reaches are judged too. The
second half feeds it small files that break each rule, and their repaired twins.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from pythonqt_rules import RULES, Violation, check
from pythonqt_rules.qt_names import QtNames

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "VertebralGrading"
SHELL = "VertebralGrading/VertebralGrading.py"


def _read(folder: Path, pattern: str) -> dict[str, str]:
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(folder.glob(pattern))
    }


def _sources() -> dict[str, str]:
    return {**_read(MODULE, "**/*.py"), **_read(ROOT / "VertebralGradingLib" / "panel", "**/*.py")}


def _uis() -> dict[str, str]:
    return _read(MODULE / "Resources" / "UI", "*.ui")


@pytest.fixture(scope="module")
def names() -> QtNames:
    """What classes have; where PySide6 or Slicer's core is missing, the rules that need it are skipped."""
    pytest.importorskip("PySide6.QtWidgets", reason="signals are looked up in PySide6")
    pytest.importorskip("slicer", reason="the test host needs Slicer's core")
    return QtNames()


def test_files_are_found() -> None:
    assert SHELL in _sources()
    assert "VertebralGradingLib/panel/worker.py" in _sources()


def test_rules_that_need_no_qt_are_kept() -> None:
    _none(check(_sources(), _uis()))


def test_all_rules_are_kept(names: QtNames) -> None:
    _none(check(_sources(), _uis(), names))


def _none(found: list[Violation]) -> None:
    assert not found, "\n" + "\n".join(map(str, found))


# A small panel that keeps every rule; each case below adds to it.
UI = """
<ui version="4.0"><class>Form</class><widget class="qMRMLWidget" name="Form"><layout class="QVBoxLayout" name="all">
 <item><widget class="QPushButton" name="gradeButton"><property name="toolTip"><string>Grade.</string></property>
 </widget></item>
 <item><widget class="QLabel" name="statusLabel"/></item>
 <item><widget class="ctkPathLineEdit" name="folderEdit"><property name="toolTip"><string>Where to.</string></property>
 </widget></item>
 <item><widget class="qMRMLNodeComboBox" name="ctSelector"><property name="toolTip"><string>The CT.</string></property>
  <property name="SlicerParameterName" stdset="0"><string>ct</string></property></widget></item>
 {more}
</layout></widget></ui>
"""
WIDGET = '<item><widget class="{cls}" name="{name}">{more}</widget></item>'
TIP = '<property name="toolTip"><string>Why.</string></property>'
PARAMETER = '<property name="SlicerParameterName" stdset="0"><string>{}</string></property>'
PYTHON = """
import logging

import qt
import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper

@parameterNodeWrapper
class Parameters:
    ct: slicer.vtkMRMLScalarVolumeNode
    model: Model

@parameterPack
class Model:
    device: str

class Panel:
    def __init__(self, ui):
        self._ui = ui
        self._timer = qt.QTimer()
        ui.gradeButton.connect("clicked()", self.onGrade)
        ui.folderEdit.connect("currentPathChanged(QString)", self.onGrade)

    def onGrade(self):
        self._ui.statusLabel.text = _("Grading")

    def more(self, ui, part, path: "Path", flag):
"""


def _check(python: str, ui: str, names: QtNames | None) -> list[Violation]:
    body = textwrap.indent(textwrap.dedent(python).strip() or "pass", " " * 8)
    return check({"VertebralGrading.py": f"{PYTHON}{body}\n"}, {"Form.ui": UI.format(more=ui)}, names)


# rule, what breaks it, the same without the fault
CODE = [
    ("subclass", "class Mine(qt.QWidget): pass", "class Mine(list): pass"),
    ("subclass", "class Mine(Mixin, ctk.ctkSliderWidget): pass", "class Mine(Mixin): pass"),
    ("subclass", "class Mine(slicer.qMRMLWidget): pass", "class Mine(slicer.vtkMRMLNode): pass"),
    ("keywords", "qt.QTimer(parent=part)", "qt.QTimer(part)"),
    ("keywords", "qt.QTimer.singleShot(msec=5, slot=part)", "qt.QTimer.singleShot(5, part)"),
    ("keywords", "ui.statusLabel.setNum(num=2)", "ui.statusLabel.setNum(2)"),
    ("keywords", "self._timer.start(msec=5)", "self._timer.start(5)"),
    ("keywords", "qt.QLabel('-').setVisible(visible=flag)", "qt.QLabel('-').setVisible(flag)"),
    ("keywords", "part.okButton.setEnabled(**flag)", "part.okButton.setEnabled(flag)"),
    ("keywords", "slicer.qMRMLNodeComboBox(parent=part)", "slicer.vtkMRMLTableNode(parent=part)"),
    ("keywords", "for w in (ui.gradeButton, part):\n    w.click(times=2)", "for w in (part,):\n    w.click(times=2)"),
    ("keywords", "box = part.box\nbox.show(now=flag)", "box = Box()\nbox.show(now=flag)"),
    ("callback", "ui.gradeButton.connect('clicked()', functools.partial(part, 1))", "functools.partial(part, 1)"),
    ("callback", "f = partial(part, 1)\nui.gradeButton.connect('clicked()', f)", "f = partial(part, 1)"),
    (
        "callback",
        "ui.gradeButton.connect('clicked()', lambda x=part: x())",
        "ui.gradeButton.connect('clicked()', lambda: part())",
    ),
    ("signature", "ui.gradeButton.clicked.connect(part)", "ui.gradeButton.connect('clicked()', part)"),
    ("signature", "self._timer.timeout.connect(part)", "self._timer.connect('timeout()', part)"),
    ("signature", "ui.gradeButton.connect('clicked', part)", "ui.gradeButton.connect('clicked(bool)', part)"),
    ("signature", "ui.gradeButton.connect(part, part)", "s = 'clicked()'\nui.gradeButton.connect(s, part)"),
    ("signature", "ui.gradeButton.connect('clicked()')", "ui.gradeButton.disconnect('clicked()')"),
    (
        "signature",
        "ui.gradeButton.connect('clicked()', part, 'show()')",
        "ui.gradeButton.disconnect('clicked()', part)",
    ),
    (
        "signal",
        "part.connect('clicked()', self.onGrade)",
        "p: qt.QPushButton = part\np.connect('clicked()', self.onGrade)",
    ),
    ("path", "ui.folderEdit.setCurrentPath(path)", "ui.folderEdit.setCurrentPath(str(path))"),
    ("path", "ui.folderEdit.currentPath = path / 'a'", "ui.folderEdit.currentPath = str(path / 'a')"),
    ("path", "qt.QPixmap(Path('a').parent)", "qt.QPixmap(Path('a').name)"),
    ("path", "p = Path.home().resolve()\nqt.QDir(p)", "p = Path.home().resolve()\nopen(p)"),
    ("text", "ui.statusLabel.text = 'Ready'", "ui.statusLabel.text = _('Ready')"),
    ("text", "ui.statusLabel.setText('Ready')", "ui.statusLabel.setText('-')"),
    ("text", "ui.statusLabel.text = f'{flag} bodies'", "ui.statusLabel.text = f'{flag} mm'"),
    ("text", "ui.statusLabel.text = 'Ready' if flag else ''", "ui.statusLabel.text = _('Ready') if flag else ''"),
    ("text", "t = 'Ready'\nui.statusLabel.text = t", "t = _('Ready')\nui.statusLabel.text = t"),
    ("text", "ui.statusLabel.text = '{} left'.format(flag)", "ui.statusLabel.text = _('{} left').format(flag)"),
    ("text", "ui.statusLabel.text = 'Done: ' + flag", "ui.statusLabel.text = flag + ': ' + _('done')"),
    ("text", "ui.statusLabel.text = _(f'{flag} bodies')", "ui.statusLabel.text = _('{n} bodies').format(n=flag)"),
    ("text", "raise InputError('No CT')", "raise InputError(_('No CT'))"),
    ("text", "t = ''\nt += 'left'\nui.statusLabel.text = t", "t = ''\nt += _('left')\nui.statusLabel.text = t"),
    (
        "text",
        "self.more('a', 1, 2, 'b')\nui.statusLabel.text = flag",
        "self.more('a', 1, 2, _('b'))\nui.statusLabel.text = flag",
    ),
    (
        "text",
        "def f():\n    return 'b'\nui.statusLabel.text = f()",
        "def f():\n    return _('b')\nui.statusLabel.text = f()",
    ),
    ("text", "qt.QPushButton('Stop')", "qt.QPushButton(_('Stop'))"),
    ("text", "slicer.util.errorDisplay('No')", "slicer.util.errorDisplay(_('No'))"),
    ("text", "part.setHorizontalHeaderLabels(['Level'])", "part.setHorizontalHeaderLabels([_('Level')])"),
    ("text", "self.parent.helpText = 'Help'", "self.parent.helpText = _('Help')"),
    (
        "text",
        "for _ in part:\n    ui.statusLabel.text = _('Ready')",
        "for i in part:\n    ui.statusLabel.text = _('Ready')",
    ),
    ("print", "print(part)", "logging.info(part)"),
    ("sleep", "time.sleep(1)", "time.monotonic()"),
    ("process-events", "while flag:\n    slicer.app.processEvents()", "slicer.app.processEvents()"),
    ("message-box", "qt.QMessageBox.question(part, _('a'), _('b'))", "slicer.util.confirmOkCancelDisplay(_('a'))"),
    ("message-box", "qt.QMessageBox()", "qt.QMessageBox.Ok"),
    ("torch", "import torch", "import numpy"),
    ("torch", "from torch.nn import Module", "from scipy.ndimage import label"),
    ("torch", "importlib.import_module('torch')", "importlib.util.find_spec('torch')"),
    ("import", "from qt import QTimer", "import qt"),
    ("import", "import ctk as c", "import ctk"),
    ("ui-name", "ui.gradButton", "ui.gradeButton"),
    ("ui-name", "self.ui.gradButton", "self.ui.gradeButton"),
    ("ui-name", "getattr(ui, 'gradButton')", "getattr(ui, 'gradeButton')"),
    ("ui-name", "for n in ('grade', 'Form'):\n    getattr(ui, n)", "for n in ('all', 'Form'):\n    getattr(ui, n)"),
    ("ui-file", "slicer.util.loadUI(self.resourcePath('UI/Other.ui'))", "slicer.util.loadUI(part('UI/Form.ui'))"),
]

# The same, for rules that need the names of Qt's classes.
NAMED = [
    ("signal", "ui.gradeButton.connect('clicked(int)', part)", "ui.gradeButton.connect('toggled(bool)', part)"),
    ("signal", "self._timer.connect('finished()', part)", "self._timer.connect('timeout()', part)"),
    (
        "signal",
        "ui.folderEdit.connect('textChanged(QString)', part)",
        "ui.folderEdit.disconnect('currentPathChanged(QString)')",
    ),
    (
        "signal",
        "ui.ctSelector.connect('currentNodeChanged()', part)",
        "ui.ctSelector.connect('currentNodeChanged(bool)', part)",
    ),
    ("signal", "slicer.app.connect('startupComplete()', part)", "slicer.app.connect('startupCompleted()', part)"),
    (
        "signal",
        "for w, s in ((ui.gradeButton, 'clicked()'), (self._timer, 'clicked()')):\n    w.connect(s, part)",
        "for w, s in ((ui.gradeButton, 'clicked()'), (self._timer, 'timeout()')):\n    w.connect(s, part)",
    ),
    (
        "signal",
        "for w, f in {ui.gradeButton: part, self._timer: part}.items():\n    w.connect('clicked()', f)",
        "for w, f in {ui.gradeButton: part}.items():\n    w.connect('clicked()', f)",
    ),
    (
        "signal",
        "p = qt.QProcess()\np.connect('finished(int)', part)\np.connect('finished(int,int)', part)",
        "p = qt.QProcess()\np.connect('finished(int,QProcess::ExitStatus)', part)",
    ),
    (
        "signal",
        "w = ui.gradeButton if flag else ui.statusLabel\nw.connect('clicked()', part)",
        "w = ui.gradeButton if flag else None\nw.connect('clicked()', part)",
    ),
    ("signal", "b = qt.QCheckBox()\nb.connect('checkStateChanged(Qt::CheckState)', part)", "b = qt.QCheckBox()"),
    ("api", "ui.statusLabel.text()", "ui.statusLabel.text"),
    ("api", "ui.folderEdit.currentPath()", "ui.folderEdit.currentPath"),
    ("api", "ui.statusLabel.caption = flag", "ui.statusLabel.enabled = flag"),
    ("api", "ui.gradeButton.press()", "ui.gradeButton.click()"),
    ("api", "ui.gradeButton.click = part", "ui.gradeButton.setEnabled(flag)"),
    ("api", "qt.QButton()", "qt.QPushButton()"),
    ("api", "qt.Qt.AlignmentFlag.AlignLeft", "qt.Qt.AlignLeft"),
    ("api", "qt.QFrame.Horizontal", "qt.QFrame.HLine"),
]

UI_FILES = [
    ("ui-file", "<broken", ""),
    (
        "ui-name",
        WIDGET.format(cls="QLabel", name="gradeButton", more=""),
        WIDGET.format(cls="QLabel", name="b", more=""),
    ),
    (
        "ui-name",
        WIDGET.format(cls="QSpinBox", name="part", more=""),
        WIDGET.format(cls="QSpinBox", name="part", more=TIP),
    ),
    (
        "ui-name",
        WIDGET.format(cls="QSpinBox", name="spin", more=TIP),
        WIDGET.format(cls="QLabel", name="spin", more=""),
    ),
    (
        "ui-name",
        WIDGET.format(cls="QSpinBox", name="spinBox_2", more=TIP + PARAMETER.format("ct")),
        WIDGET.format(cls="QSpinBox", name="count", more=TIP + PARAMETER.format("ct")),
    ),
    (
        "ui-name",
        WIDGET.format(cls="QGroupBox", name="g", more='<property name="checkable"><bool>true</bool></property>'),
        WIDGET.format(cls="QGroupBox", name="g", more='<property name="checkable"><bool>false</bool></property>'),
    ),
    (
        "parameter",
        WIDGET.format(cls="QLabel", name="l", more=PARAMETER.format("ctt")),
        WIDGET.format(cls="QLabel", name="l", more=PARAMETER.format("ct")),
    ),
    (
        "parameter",
        WIDGET.format(cls="QLabel", name="l", more=PARAMETER.format("model.kind")),
        WIDGET.format(cls="QLabel", name="l", more=PARAMETER.format("model.device")),
    ),
]
USED = "ui.part.value"


def test_every_rule_has_a_case() -> None:
    assert {rule for rule, _, _ in [*CODE, *NAMED, *UI_FILES]} == set(RULES)


@pytest.mark.parametrize(("rule", "bad", "good"), CODE)
def test_fault_in_code_is_found(rule: str, bad: str, good: str) -> None:
    assert {found.rule for found in _check(bad, "", None)} == {rule}
    _none(_check(good, "", None))


@pytest.mark.parametrize(("rule", "bad", "good"), NAMED)
def test_fault_in_names_is_found(rule: str, bad: str, good: str, names: QtNames) -> None:
    assert {found.rule for found in _check(bad, "", names)} == {rule}
    _none(_check(good, "", names))


@pytest.mark.parametrize(("rule", "bad", "good"), UI_FILES)
def test_fault_in_ui_file_is_found(rule: str, bad: str, good: str) -> None:
    broken = check({"a.py": ""}, {"Form.ui": bad}) if rule == "ui-file" else _check(USED * ("part" in bad), bad, None)
    assert {found.rule for found in broken} == {rule}
    _none(_check(USED * ("part" in good), good, None))


def test_good_code_stays_good_where_names_are_known(names: QtNames) -> None:
    for _, _, good in CODE:
        _none(_check(good, "", names))


def test_signal_in_ui_file_must_exist(names: QtNames) -> None:
    template = "</layout></widget><connections><connection><sender>gradeButton</sender><signal>{}</signal></connection>"
    for signal, rules in (("clicked(int)", {"signal"}), ("clicked()", set())):
        text = UI.format(more="").replace("</layout></widget></ui>", template.format(signal) + "</connections></ui>")
        found = check({"VertebralGrading.py": f"{PYTHON}        pass\n"}, {"Form.ui": text}, names)
        assert {item.rule for item in found} == rules


def test_shell_imports_only_what_slicer_has() -> None:
    bad = {"VertebralGrading.py": "import numpy\n", "panel/inputs.py": "import numpy\n"}
    assert [str(found).split(": ")[0] for found in check(bad, {})] == ["VertebralGrading.py:1"]
    lazy = "import typing, slicer, vtk\nif typing.TYPE_CHECKING:\n    import numpy\ndef f():\n    import numpy\n"
    _none(check({"VertebralGrading.py": lazy}, {}))


def test_parameter_needs_a_parameter_node() -> None:
    assert {
        found.rule
        for found in check({"a.py": "def f(ui): ui.gradeButton, ui.folderEdit"}, {"F.ui": UI.format(more="")})
    } == {"parameter"}


def test_violation_names_file_line_and_rule() -> None:
    found = _check("print(part)", "", None)
    assert [str(item) for item in found] == ["VertebralGrading.py:29: use logging, or show it in the panel [print]"]
