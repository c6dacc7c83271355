"""The host's stand-ins for CTK's and Slicer's widgets, and the loading of .ui files."""

from __future__ import annotations

import numpy as np
import pytest
from host import dialogs, qt_actions, standin
from host.ui_loader import UiError

UI = """<ui version="4.0"><class>Panel</class>
<widget class="qMRMLWidget" name="Panel"><layout class="QVBoxLayout" name="all">
 <item><widget class="ctkCollapsibleButton" name="inputsButton">
  <property name="text"><string>Inputs</string></property>
  <layout class="QFormLayout" name="form">
   <item row="0" column="0"><widget class="QLabel" name="ctLabel">
    <property name="text"><string>CT:</string></property></widget></item>
   <item row="0" column="1"><widget class="qMRMLNodeComboBox" name="ctSelector">
    <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
    <property name="noneEnabled"><bool>true</bool></property><property name="addEnabled"><bool>false</bool></property>
    <property name="SlicerParameterName" stdset="0"><string>ct</string></property></widget></item>
   <item row="1" column="0"><widget class="QLabel" name="folderLabel">
    <property name="text"><string>Weights:</string></property></widget></item>
   <item row="1" column="1"><widget class="ctkPathLineEdit" name="weightsEdit">
    <property name="filters"><set>ctkPathLineEdit::Files|ctkPathLineEdit::Readable</set></property></widget></item>
  </layout></widget></item>
 <item><widget class="ctkCollapsibleButton" name="advancedButton">
  <property name="text"><string>Advanced</string></property><property name="collapsed"><bool>true</bool></property>
  <layout class="QVBoxLayout" name="advanced"><item><widget class="QCheckBox" name="warmBox">
   <property name="text"><string>Keep the models warm</string></property></widget></item></layout></widget></item>
 <item><widget class="QPushButton" name="gradeButton">
  <property name="text"><string>Grade</string></property></widget></item>
</layout></widget><resources/>
<connections><connection><sender>Panel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
 <receiver>ctSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>"""


def load(host, tmp_path, text: str = UI):
    path = tmp_path / "Panel.ui"
    path.write_text(text, encoding="utf-8")
    widget = host.slicer.util.loadUI(str(path))
    return widget, host.slicer.util.childWidgetVariables(widget)


def add_volume(host, name: str):
    return host.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)


def test_ui_file_gives_the_stand_ins(host, tmp_path):
    widget, ui = load(host, tmp_path)
    assert type(widget) is host.slicer.qMRMLWidget
    assert type(ui.ctSelector) is host.slicer.qMRMLNodeComboBox
    assert type(ui.weightsEdit) is host.ctk.ctkPathLineEdit
    assert ui.inputsButton.text == "Inputs"
    assert ui.weightsEdit.filters == host.ctk.ctkPathLineEdit.Files | host.ctk.ctkPathLineEdit.Readable
    assert ui.ctSelector.property("SlicerParameterName") == "ct"
    assert ui.ctSelector.mrmlScene() is None
    widget.setMRMLScene(host.slicer.mrmlScene)  # goes on by the file's connection
    assert ui.ctSelector.mrmlScene() is host.slicer.mrmlScene


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ctkPathLineEdit", "ctkPathLineEditt", "no widget class"),
        ('name="noneEnabled"', 'name="noneEnable"', "no property noneEnable"),
        ('name="folderLabel"', 'name="ctLabel"', "several widgets are called ctLabel"),
        ("mrmlSceneChanged(vtkMRMLScene*)", "mrmlSceneChanged(QObject*)", "no signal"),
        ("setMRMLScene(vtkMRMLScene*)", "setScene(vtkMRMLScene*)", "setScene"),
        ("<receiver>ctSelector", "<receiver>selector", "does not exist"),
        ("ctkPathLineEdit::Readable", "ctkPathLineEdit::Readible", "no value"),
        ('<property name="collapsed"><bool>true</bool>', '<property name="collapsed"><string>x</string>', "accept"),
    ],
)
def test_ui_file_with_a_mistake_is_refused(host, tmp_path, old, new, message):
    assert old in UI
    with pytest.raises(UiError, match=message):
        load(host, tmp_path, UI.replace(old, new))


def test_missing_ui_file_is_refused(host, tmp_path):
    with pytest.raises(RuntimeError, match="not found"):
        host.slicer.util.loadUI(str(tmp_path / "none.ui"))
    with pytest.raises(ValueError, match="pathlib"):
        host.slicer.util.loadUI(tmp_path / "none.ui")


def test_stand_ins_refuse_what_they_do_not_list(host):
    button, path = host.ctk.ctkCollapsibleButton(), host.ctk.ctkPathLineEdit()
    for owner, name in ((button, "setCollapsed"), (path, "setNameFilters"), (path, "comboBox"), (path, "_line")):
        with pytest.raises(AttributeError):
            getattr(owner, name)
    with pytest.raises(AttributeError, match="does not accept"):
        button.collapsed = 1
    with pytest.raises(ValueError, match="no signal"):
        button.connect("collapsed(bool)", print)
    with pytest.raises(AttributeError):
        host.slicer.qMRMLNodeComboBox().setNodeTypes(["vtkMRMLNode"])
    with pytest.raises(NotImplementedError, match="not in the test host"):
        host.slicer.qMRMLTableView().plotSelection()
    with pytest.raises(NotImplementedError, match="ctkRangeWidget"):
        host.ctk.ctkRangeWidget()
    with pytest.raises(NotImplementedError, match="emits no"):
        path.connect("validInputChanged(bool)", print)


def test_every_name_of_a_stand_in_is_listed(host):
    """A stand-in that offers a name it does not list cannot be registered."""
    from host.api import Names
    from PySide6 import QtWidgets

    namespace = {"NAMES": Names(), "extra": lambda self: None}
    with pytest.raises(TypeError, match="extra"):
        standin.stand_in(type("Fake", (QtWidgets.QWidget,), namespace))
    assert len(standin.registered()) > 10


def test_collapsible_button_hides_what_lies_in_it(host, tmp_path):
    widget, ui = load(host, tmp_path)
    qt_actions.show(widget)
    seen = []
    ui.advancedButton.connect("contentsCollapsed(bool)", seen.append)
    assert not ui.warmBox.visible
    with pytest.raises(AssertionError, match="not visible"):
        qt_actions.click(ui.warmBox)
    qt_actions.click(ui.advancedButton)
    assert ui.warmBox.visible
    assert not ui.advancedButton.collapsed
    qt_actions.click(ui.warmBox)
    assert ui.warmBox.checked
    ui.advancedButton.collapsed = True
    assert not ui.warmBox.visible
    assert seen == [False, True]
    widget.delete()


def test_disabled_button_cannot_be_clicked(host, tmp_path):
    widget, ui = load(host, tmp_path)
    qt_actions.show(widget)
    ui.gradeButton.enabled = False
    with pytest.raises(AssertionError, match="disabled"):
        qt_actions.click(ui.gradeButton)
    widget.delete()


def test_node_combo_box_follows_the_scene(host):
    scene = host.slicer.mrmlScene
    combo, got = host.slicer.qMRMLNodeComboBox(), []
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    combo.noneEnabled = True
    combo.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: got.append(node and node.GetName()))
    combo.connect("currentNodeChanged(bool)", got.append)
    add_volume(host, "before")
    combo.setMRMLScene(scene)
    assert combo.nodeCount() == 1
    assert combo.currentNode() is None
    volume = add_volume(host, "CT")
    hidden = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hidden")
    hidden.SetHideFromEditors(True)
    label = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    scene.AddNewNodeByClass("vtkMRMLTableNode", "table")
    combo.hideChildNodeTypes = ["vtkMRMLLabelMapVolumeNode"]
    assert [combo.nodeFromIndex(i).GetName() for i in range(combo.nodeCount())] == ["before", "CT"]
    qt_actions.show(combo)
    qt_actions.choose(combo, volume)
    assert combo.currentNode() is volume
    assert combo.currentNodeID == volume.GetID()
    combo.setCurrentNode(label)  # not among its nodes
    assert combo.currentNode() is None
    combo.setCurrentNodeID(volume.GetID())
    volume.SetName("CT thorax")
    qt_actions.choose(combo, "CT thorax")
    scene.RemoveNode(volume)
    assert combo.currentNode() is None
    assert got == ["CT", True, None, False, "CT", True, None, False]
    with pytest.raises(AssertionError, match="no entry"):
        qt_actions.choose(combo, "CT thorax")
    with pytest.raises(ValueError, match="not a vtkMRMLScene"):
        combo.setMRMLScene(hidden)
    combo.delete()


def test_node_combo_box_without_none_takes_the_first(host):
    combo = host.slicer.qMRMLNodeComboBox()
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    combo.setMRMLScene(host.slicer.mrmlScene)
    assert combo.currentNode() is None
    first, second = add_volume(host, "first"), add_volume(host, "second")
    assert combo.currentNode() is first
    host.slicer.mrmlScene.RemoveNode(first)
    assert combo.currentNode() is second
    host.application.clear()
    assert combo.currentNode() is None
    combo.delete()


def test_node_combo_box_creates_nodes(host):
    combo, made = host.slicer.qMRMLNodeComboBox(), []
    combo.nodeTypes = ["vtkMRMLMarkupsFiducialNode"]
    combo.baseName = "Centroids"
    combo.connect("nodeAddedByUserAction(vtkMRMLNode*)", lambda node: made.append(node.GetName()))
    combo.setMRMLScene(host.slicer.mrmlScene)
    qt_actions.show(combo)
    qt_actions.choose(combo, "Create new MarkupsFiducial")
    assert made == ["Centroids"]
    assert combo.currentNode().GetName() == "Centroids"
    combo.delete()


def test_deleted_widgets_leave_no_observers(host):
    scene = host.slicer.vtkMRMLScene()  # nobody else looks at this one
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")

    def observed() -> tuple[int, int]:
        return scene.HasObserver(host.slicer.vtkMRMLScene.NodeAddedEvent), node.HasObserver("ModifiedEvent")

    combo = host.slicer.qMRMLNodeComboBox()
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    assert observed() == (0, 0)
    combo.setMRMLScene(scene)
    assert observed() == (1, 1)
    combo.setMRMLScene(None)
    assert observed() == (0, 0)
    combo.setMRMLScene(scene)
    combo.delete()
    assert observed() == (0, 0)


def test_path_edit_browses(host):
    edit, got = host.ctk.ctkPathLineEdit(), []
    edit.connect("currentPathChanged(QString)", got.append)
    dialogs.answer("file", "/tmp/weights.safetensors")
    edit.browse()
    dialogs.answer("file", "")
    edit.browse()
    assert edit.currentPath == "/tmp/weights.safetensors"
    assert got == ["/tmp/weights.safetensors"]


def test_place_widget_turns_place_mode(host):
    scene, slicer = host.slicer.mrmlScene, host.slicer
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Centroids")
    other = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Other")
    place, got = slicer.qSlicerMarkupsPlaceWidget(), []
    place.connect("activeMarkupsPlaceModeChanged(bool)", got.append)
    place.placeMultipleMarkups = slicer.qSlicerMarkupsPlaceWidget.ForcePlaceMultipleMarkups
    place.setMRMLScene(scene)
    place.setPlaceModeEnabled(True)
    assert not place.placeModeEnabled  # nothing to place in
    place.setCurrentNode(points)
    qt_actions.show(place)
    qt_actions.click(place.placeButton())
    interaction = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    assert place.placeModePersistency
    assert slicer.app.applicationLogic().GetSelectionNode().GetActivePlaceNodeID() == points.GetID()
    place.setCurrentNode(other)
    assert not place.placeModeEnabled
    place.setCurrentNode(points)
    interaction.SwitchToViewTransformMode()
    assert got == [True, False, True, False]
    points.AddControlPoint(1, 2, 3)
    points.AddControlPoint(1, 2, 4)
    qt_actions.click(place.deleteButton())
    assert points.GetNumberOfControlPoints() == 1
    place.delete()


def test_table_view_shows_its_node(host):
    slicer = host.slicer
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Findings")
    slicer.util.updateTableFromArray(table, np.array([[1.0, 2.0], [3.0, 4.0]]), ["grade", "loss"])
    view = slicer.qMRMLTableView()
    with pytest.raises(ValueError, match="scene before"):
        view.setMRMLTableNode(table)
    view.setMRMLScene(slicer.mrmlScene)
    view.setMRMLTableNode(table)
    model = view.model()
    assert (model.rowCount(), model.columnCount()) == (2, 2)
    table.AddEmptyRow()
    assert model.rowCount() == 3
    view.delete()


def test_layout_manager_has_the_nodes_of_its_views(host):
    slicer = host.slicer
    manager, got = slicer.app.layoutManager(), []
    manager.connect("layoutChanged(int)", got.append)
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    assert got == [manager.layout] == [slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView]
    red = manager.sliceWidget("Red")
    assert red.mrmlSliceNode().GetName() == "Red"
    assert red.sliceLogic().GetSliceNode() is red.mrmlSliceNode()
    assert red is manager.sliceWidget("Red")
    assert {"Red", "Green", "Yellow"} <= set(manager.sliceViewNames())
    assert manager.sliceWidget("Purple") is None
    with pytest.raises(NotImplementedError):
        red.sliceController()
    with pytest.raises(TypeError):
        manager.layout()
    volume = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6)))
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    assert red.mrmlSliceCompositeNode().GetBackgroundVolumeID() == volume.GetID()
    manager.disconnect("layoutChanged(int)")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_picture_of_a_panel_has_readable_text(host, tmp_path, theme):
    """Letters are drawn: with a font, "Grade" and "Trade" differ; without one all letters are the same box."""
    widget, ui = load(host, tmp_path)
    qt_actions.set_theme(theme)
    qt_actions.show(widget, 420, 240)
    path = tmp_path / f"{theme}.png"
    image = qt_actions.grab(widget, path)
    assert path.stat().st_size > 2000
    assert (image.pixelColor(3, 3).lightness() < 128) == (theme == "dark")
    ui.gradeButton.text = "Trade"
    assert qt_actions.grab(widget) != image
    ui.gradeButton.text = "Grade"
    assert qt_actions.grab(widget) == image
    metrics = host.qt.QFontMetrics(ui.gradeButton.font)
    assert metrics.horizontalAdvance("iiii") < metrics.horizontalAdvance("WWWW")
    assert host.qt.QFontInfo(ui.gradeButton.font).family()
    widget.delete()
