"""The host's base classes, parameter nodes, packaging and self-test runner."""

from __future__ import annotations

import enum
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Optional

import pytest
from host import dialogs, packaging, qt_actions
from host.install import switches
from host.scripted_module import load_module, unload_module
from packaging.requirements import Requirement

MODULE = Path(__file__).resolve().parents[2] / "VertebralGrading" / "VertebralGrading.py"

SMALL = """
import qt, slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

calls = []

class Small(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Small")
        slicer.app.connect("startupCompleted()", lambda: calls.append("started"))

class SmallWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = SmallLogic()
        self.button = qt.QPushButton("VERSION")
        self.layout.addWidget(self.button)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onClose)
        calls.append("setup")
    def enter(self):
        calls.append("enter")
    def exit(self):
        calls.append("exit")
    def cleanup(self):
        self.removeObservers()
        calls.append("cleanup")
    def onClose(self, caller, event):
        calls.append("close")

class SmallLogic(ScriptedLoadableModuleLogic):
    pass

class SmallTest(ScriptedLoadableModuleTest):
    def runTest(self):
        self.test_one()
    def test_one(self):
        self.delayDisplay("one")
        calls.append("test")
        self.assertTrue(OUTCOME)
"""


@pytest.fixture
def small(host, tmp_path):
    path = tmp_path / "Small.py"
    path.write_text(SMALL.replace("OUTCOME", "True"), encoding="utf-8")
    module = load_module(path)
    yield module
    if hasattr(host.slicer.modules, "small"):
        unload_module(module)
    sys.path.remove(str(tmp_path))


class Method(enum.Enum):
    MORPHOMETRY = "m"
    LEARNED = "l"

    def label(self) -> str:
        return self.name.title()


def test_module_lives_as_in_slicer(host, small):
    calls, slicer = sys.modules["Small"].calls, host.slicer
    assert small.title == "Small"
    assert calls == []  # no widget is made at start-up
    slicer.util.selectModule("Small")
    assert calls == ["setup", "enter"]
    widget = slicer.modules.SmallWidget
    assert widget.parent.isEntered
    assert slicer.util.getModuleWidget("Small") is widget
    assert slicer.util.getModuleLogic("Small") is widget.logic
    assert Path(widget.resourcePath("UI/Small.ui")).parts[-2:] == ("UI", "Small.ui")
    host.application.clear()
    slicer.util.selectModule("Volumes")
    assert calls[2:] == ["close", "exit"]
    unload_module(small)
    assert calls[4:] == ["cleanup"]
    host.application.clear()
    assert calls[5:] == []
    assert not small


def test_module_reloads(host, small, tmp_path):
    slicer = host.slicer
    slicer.util.selectModule("Small")
    old = slicer.modules.SmallWidget
    path = tmp_path / "Small.py"
    path.write_text(path.read_text(encoding="utf-8").replace("VERSION", "Second"), encoding="utf-8")
    before = sys.modules["Small"].calls
    slicer.util.reloadScriptedModule("Small")
    assert before == ["setup", "enter", "cleanup"]
    assert sys.modules["Small"].calls == ["setup", "enter"]
    assert slicer.modules.SmallWidget is not old
    assert slicer.modules.SmallWidget.button.text == "Second"


def test_module_object_refuses_unknown_names(host, small):
    with pytest.raises(AttributeError, match="creating new attributes"):
        small.tittle = "x"
    with pytest.raises(AttributeError, match="does not accept"):
        small.categories = "Quantification"


def test_self_tests_run_as_in_slicer(host, small, tmp_path, capsys):
    host.slicer.selfTests["Small"]()
    assert sys.modules["Small"].calls == ["test"]
    import slicer.testing

    slicer.testing.runUnitTest([], "Small")
    assert sys.modules["Small"].calls == ["test"] * 2
    sys.modules["Small"].OUTCOME = False
    del sys.modules["Small"]
    (tmp_path / "Small.py").write_text(SMALL.replace("OUTCOME", "False"), encoding="utf-8")
    import importlib

    importlib.invalidate_caches()
    with pytest.raises(RuntimeError, match="Small failed"):
        slicer.testing.runUnitTest([], "Small")
    capsys.readouterr()


def test_this_projects_module_loads(host):
    module = load_module(MODULE)
    assert module.title == "Vertebral Grading"
    assert not module.icon.isNull()
    host.slicer.util.selectModule("VertebralGrading")
    assert host.slicer.util.selectedModule() == "VertebralGrading"
    host.slicer.util.selectModule("Volumes")
    unload_module(module)


def test_self_test_of_this_project_runs(host, capsys):
    import slicer.testing

    module = load_module(MODULE)
    slicer.testing.runUnitTest([], "VertebralGrading")
    assert "OK" in capsys.readouterr().err
    unload_module(module)


def make_parameters(slicer):
    from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

    class Parameters:
        ct: slicer.vtkMRMLScalarVolumeNode
        mask: slicer.vtkMRMLSegmentationNode | None
        threshold: Annotated[float, WithinRange(-100, 500)] = 100
        count: int = 3
        name: str = "reader"
        warm: bool
        method: Method
        device: Annotated[str, Choice(["auto", "cpu"])] = "cpu"
        lowest: Optional[str] = None  # noqa: UP045 - both spellings are in use

    Parameters.__annotations__.update(  # the names above are strings here, and not this function's
        ct=slicer.vtkMRMLScalarVolumeNode,
        mask=slicer.vtkMRMLSegmentationNode | None,
        threshold=Annotated[float, WithinRange(-100, 500)],
        device=Annotated[str, Choice(["auto", "cpu"])],
    )
    return parameterNodeWrapper(Parameters)


def test_parameters_are_stored_on_a_real_node(host):
    slicer = host.slicer
    wrapper = make_parameters(slicer)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    p = wrapper(node)
    assert (p.ct, p.mask, p.threshold, p.count, p.name, p.warm) == (None, None, 100.0, 3, "reader", False)
    assert (p.method, p.device, p.lowest) == (Method.MORPHOMETRY, "cpu", None)
    p.ct, p.threshold, p.warm, p.method, p.lowest = volume, 12.5, True, Method.LEARNED, "L5"
    again = wrapper(node)
    assert again.ct is volume
    assert (again.threshold, again.warm, again.method, again.lowest) == (12.5, True, Method.LEARNED, "L5")
    assert node.GetParameter("method") == "LEARNED"
    assert node.GetNodeReferenceID("ct") == volume.GetID()
    p.lowest = None
    assert wrapper(node).lowest is None
    slicer.mrmlScene.RemoveNode(volume)
    assert p.ct is None


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("threshold", 501.0, ValueError),
        ("threshold", "12", TypeError),
        ("count", 2.5, TypeError),
        ("count", True, TypeError),
        ("count", None, ValueError),
        ("warm", 1, TypeError),
        ("device", "gpu", ValueError),
        ("method", "LEARNED", TypeError),
    ],
)
def test_parameters_refuse_what_does_not_fit(host, name, value, error):
    p = make_parameters(host.slicer)(host.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    before = getattr(p, name)
    with pytest.raises(error):
        setattr(p, name, value)
    assert getattr(p, name) == before


def test_unknown_field_types_are_refused(host):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    with pytest.raises(TypeError, match="stores no"):
        parameterNodeWrapper(type("P", (), {"__annotations__": {"levels": list[str]}}))
    with pytest.raises(ValueError, match="reserved"):
        parameterNodeWrapper(type("P", (), {"__annotations__": {"setValue": int}, "setValue": 3}))


def bound_panel(host):
    qt = host.qt
    widgets = {
        "ct": host.slicer.qMRMLNodeComboBox(),
        "threshold": host.ctk.ctkSliderWidget(),
        "count": qt.QSpinBox(),
        "name": qt.QLineEdit(),
        "warm": qt.QCheckBox(),
        "method": qt.QComboBox(),
        "device": qt.QComboBox(),
    }
    panel, layout = qt.QWidget(), qt.QVBoxLayout()
    panel.setLayout(layout)
    for name, widget in widgets.items():
        widget.setProperty("SlicerParameterName", name)
        layout.addWidget(widget)
    widgets["ct"].noneEnabled = True
    widgets["ct"].setMRMLScene(host.slicer.mrmlScene)
    return panel, widgets


def test_widgets_and_parameters_follow_each_other(host):
    slicer = host.slicer
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    p = make_parameters(slicer)(node)
    panel, widgets = bound_panel(host)
    tag = p.connectGui(panel)
    assert (widgets["threshold"].minimum, widgets["threshold"].maximum) == (-100.0, 500.0)
    assert widgets["ct"].nodeTypes == ["vtkMRMLScalarVolumeNode"]
    p.count, p.name, p.warm, p.method, p.ct = 5, "Anna", True, Method.LEARNED, volume
    assert (widgets["count"].value, widgets["name"].text, widgets["warm"].checked) == (5, "Anna", True)
    assert (widgets["method"].currentText, widgets["ct"].currentNode()) == ("Learned", volume)
    qt_actions.show(panel)
    qt_actions.type_text(widgets["name"], "Berta")
    qt_actions.choose(widgets["device"], "auto")
    qt_actions.choose(widgets["ct"], None)
    qt_actions.click(widgets["warm"])
    widgets["threshold"].value = 33.0
    assert (p.name, p.device, p.ct, p.warm, p.threshold) == ("Berta", "auto", None, False, 33.0)
    p.disconnectGui(tag)
    widgets["count"].value = 9
    p.name = "Clara"
    assert (p.count, widgets["name"].text) == (5, "Berta")
    panel.delete()


def test_widget_that_cannot_show_a_type_is_refused(host):
    p = make_parameters(host.slicer)(host.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    for name, widget in (("count", host.qt.QLineEdit()), ("warm", host.qt.QPushButton()), ("ct", host.qt.QComboBox())):
        with pytest.raises(RuntimeError):
            p.connectParametersToGui({name: widget})
    with pytest.raises(ValueError, match="Cannot find"):
        p.connectParametersToGui({"counts": host.qt.QSpinBox()})


def test_packages_are_checked_and_never_installed(host, tmp_path):
    slicer = host.slicer
    file = tmp_path / "requirements.txt"
    file.write_text("# what it needs\nnumpy>=1.26\nno-such-package-here>=1  # why\n--no-deps\n", encoding="utf-8")
    requirements = slicer.packaging.load_requirements(file)
    assert [r.name for r in requirements] == ["numpy", "no-such-package-here"]
    assert slicer.packaging.pip_check(requirements[0])
    assert not slicer.packaging.pip_check(Requirement("numpy<1"))
    assert not slicer.packaging.pip_check(requirements)
    slicer.packaging.pip_ensure(requirements)  # testing: skipped
    assert packaging.installs == []
    switches.testing = False
    dialogs.answer("question", False)
    with pytest.raises(RuntimeError, match="refused"):
        slicer.packaging.pip_ensure(requirements, requester="VertebralGrading")
    dialogs.answer("question", True)
    slicer.packaging.pip_ensure(requirements, requester="VertebralGrading")
    assert [install.requirements for install in packaging.installs] == [("no-such-package-here>=1",)]
    assert "VertebralGrading" in dialogs.shown[-1].text
    with pytest.raises(TypeError):
        slicer.packaging.pip_check("numpy")


def test_failing_installation_tells(host, monkeypatch):
    monkeypatch.setitem(packaging.script, "exit_code", 1)
    monkeypatch.setitem(packaging.script, "log", ["ERROR: no space left"])
    with pytest.raises(subprocess.CalledProcessError):
        host.slicer.util.pip_install("torch")
    lines, codes = [], []
    host.slicer.packaging.pip_install(
        ["torch"], blocking=False, logCallback=lines.append, completedCallback=codes.append
    )
    assert codes == []
    qt_actions.wait_until(lambda: codes == [1])
    assert lines == ["ERROR: no space left"]


def test_settings_are_not_the_users(host):
    settings = host.slicer.app.settings()
    settings.setValue("VertebralGrading/Threads", 2)
    assert int(host.qt.QSettings().value("VertebralGrading/Threads")) == 2
    assert not Path(settings.fileName()).is_relative_to(Path.home())
    assert host.slicer.util.settingsValue("VertebralGrading/None", 7) == 7
