"""The host is real: Slicer's own scene keeps what is put into it, and its displayable managers draw it in its place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from host.application import start
from host.rendering import SliceView, ThreeDView, draw_chart, render_3d, render_slice, save_png, set_window
from vtk.util.numpy_support import vtk_to_numpy

SHAPE = (24, 30, 36)  # k, j, i
BACKGROUND_HU = 100
BOX = (slice(8, 16), slice(10, 20), slice(12, 24))
TERMINOLOGY = (
    "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~SCT^272673000^Bone~^^"
    "~Anatomic codes - DICOM master list~^^~^^"
)


@pytest.fixture
def application(tmp_path):
    application = start()
    application.clear()
    before = application.temporary_path
    application.temporary_path = tmp_path
    yield application
    application.temporary_path = before
    application.automatic_subject_hierarchy = True
    application.clear()


def oblique_matrix() -> np.ndarray:
    """Return IJK to RAS: spacing 0.8 x 0.9 x 1.5 mm, turned about two axes, left-handed as CTs are."""
    a, b = np.radians(20), np.radians(-12)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_x @ np.diag([-0.8, -0.9, 1.5])
    matrix[:3, 3] = 31.0, -12.5, 104.0
    return matrix


def add_volume():
    """Add an oblique CT: uniform, with a bright box."""
    values = np.full(SHAPE, BACKGROUND_HU, np.int16)
    values[BOX] = 700
    volume = slicer.util.addVolumeFromArray(values, oblique_matrix(), "CT")
    set_window(volume)
    return volume


def add_segmentation(volume, color=(0.9, 0.2, 0.1)):
    """Add a segmentation with one segment: the box."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Bodies")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.GetSegmentation().AddEmptySegment("L1", "L1 grade 3", color)
    mask = np.zeros(SHAPE, np.uint8)
    mask[BOX] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, "L1", volume)
    return node, mask


def add_point(position, color=(0.0, 0.8, 1.0), label=""):
    """Add a markups list with one point."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Points")
    node.CreateDefaultDisplayNodes()
    node.AddControlPoint(*map(float, position), label)
    display = node.GetDisplayNode()
    display.SetSelectedColor(*color)
    display.SetGlyphType(display.Sphere3D)
    display.SetGlyphScale(4)
    display.SetPointLabelsVisibility(bool(label))
    return node


def ras(index_kji) -> np.ndarray:
    """Return the RAS position of a (fractional) voxel index of the oblique CT."""
    return (oblique_matrix() @ [*index_kji[::-1], 1.0])[:3]


def box_center() -> np.ndarray:
    return ras([(part.start + part.stop - 1) / 2 for part in BOX])


def as_bytes(color) -> np.ndarray:
    return np.asarray(color) * 255


def tag(segment, name) -> str | None:
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else None


def names_in_hierarchy() -> list[str]:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    return sorted(hierarchy.GetItemName(items.GetId(index)) for index in range(items.GetNumberOfIds()))


def node_ids() -> set[str]:
    scene = slicer.mrmlScene
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


# The application


def test_application_is_one(application, tmp_path):
    assert start() is application
    assert start(application.home) is application
    with pytest.raises(ValueError, match="another home"):
        start(tmp_path)
    assert slicer.mrmlScene is application.scene
    assert slicer.app.applicationLogic() is application.logic
    assert slicer.app.mrmlScene() is slicer.mrmlScene
    assert slicer.app.testingEnabled()
    assert slicer.app.layoutManager() is None
    assert slicer.util.getModule("Volumes") is slicer.modules.volumes
    assert slicer.modules.segmentations.logic().IsA("vtkSlicerSegmentationsModuleLogic")


@pytest.mark.parametrize("name", ["aNameSlicerDoesNotHave", "settings", "pythonManager", "provide"])
def test_unknown_names_of_the_application_are_refused(application, name):
    with pytest.raises(AttributeError):
        getattr(slicer.app, name)
    with pytest.raises(AttributeError):
        setattr(slicer.app, name, 1)


def test_unknown_modules_and_file_types_are_refused(application):
    with pytest.raises(AttributeError):
        _ = slicer.modules.notamodule
    with pytest.raises(AttributeError):
        _ = slicer.app.coreIOManager().openAddDataDialog
    with pytest.raises(AttributeError):
        _ = slicer.modules.volumes.widgetRepresentation
    with pytest.raises(RuntimeError):
        slicer.util.getModule("NotAModule")
    with pytest.raises(NotImplementedError):
        slicer.util.loadNodeFromFile("a.xyz", "FiberBundleFile")


def test_qt_side_provides_listed_names_only(application):
    application.provide("userSettings", lambda: "settings")
    try:
        assert slicer.app.userSettings() == "settings"
    finally:
        application.provided.clear()
    with pytest.raises(AttributeError):
        _ = slicer.app.userSettings
    with pytest.raises(ValueError):
        application.provide("aNameSlicerDoesNotHave", None)


def test_temporary_path_is_slicers(application, tmp_path):
    assert slicer.app.temporaryPath == str(tmp_path)
    slicer.app.temporaryPath = str(tmp_path / "other")
    assert application.logic.GetTemporaryPath() == str(tmp_path / "other")


# Data


def test_volume_survives_scene_and_files(application, tmp_path):
    values = np.random.default_rng(7).integers(-1000, 2000, SHAPE).astype(np.int16)
    volume = slicer.util.addVolumeFromArray(values, oblique_matrix(), "CT")
    assert np.array_equal(slicer.util.arrayFromVolume(volume), values)
    assert volume.GetDisplayNode() is not None
    for name in ("ct.nii.gz", "ct.nrrd"):
        assert slicer.util.saveNode(volume, str(tmp_path / name))
        image = sitk.ReadImage(str(tmp_path / name))
        assert np.array_equal(sitk.GetArrayFromImage(image), values)
        at = image.TransformIndexToPhysicalPoint((3, 5, 7))
        np.testing.assert_allclose(np.array(at) * [-1, -1, 1], ras((7, 5, 3)), atol=1e-4)
        loaded = slicer.util.loadVolume(str(tmp_path / name))
        assert loaded.GetName().startswith("ct")
        assert np.array_equal(slicer.util.arrayFromVolume(loaded), values)
        matrix = slicer.util.arrayFromVTKMatrix(ijk_to_ras(loaded))
        np.testing.assert_allclose(matrix, oblique_matrix(), atol=1e-4)
    assert application.logic.GetSelectionNode().GetActiveVolumeID() == loaded.GetID()


def ijk_to_ras(volume):
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


def test_segment_survives_on_the_oblique_grid(application):
    volume = add_volume()
    node, mask = add_segmentation(volume)
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(node, "L1", volume), mask)
    node.CreateClosedSurfaceRepresentation()
    surface = vtk.vtkPolyData()
    node.GetClosedSurfaceRepresentation("L1", surface)
    center = np.array(surface.GetBounds()).reshape(3, 2).mean(axis=1)
    np.testing.assert_allclose(center, box_center(), atol=0.3)


def test_markups_file_is_lps_and_comes_back(application, tmp_path):
    node = add_point((12.5, -7.25, 33.125), label="L1")
    path = tmp_path / "punkte \u00e9.mrk.json"
    assert slicer.util.saveNode(node, str(path))
    assert '"coordinateSystem": "LPS"' in path.read_text(encoding="utf-8")
    loaded = slicer.util.loadMarkups(path)
    np.testing.assert_allclose(slicer.util.arrayFromMarkupsControlPoints(loaded), [[12.5, -7.25, 33.125]], atol=1e-12)
    assert loaded.GetNthControlPointLabel(0) == "L1"


def test_segmentation_file_keeps_colors_and_tags(application, tmp_path):
    volume = add_volume()
    node, mask = add_segmentation(volume)
    node.GetSegmentation().GetSegment("L1").SetTag("VertebralGrading.level", "L1")
    path = str(tmp_path / "bodies.seg.nrrd")
    assert slicer.util.saveNode(node, path)
    loaded = slicer.util.loadSegmentation(path)
    segment = loaded.GetSegmentation().GetSegment("L1")
    assert segment.GetName() == "L1 grade 3"
    np.testing.assert_allclose(segment.GetColor(), (0.9, 0.2, 0.1), atol=1e-5)
    assert tag(segment, "VertebralGrading.level") == "L1"
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(loaded, "L1", volume), mask)


def test_scene_bundle_restores_everything(application, tmp_path):
    volume = add_volume()
    segmentation, mask = add_segmentation(volume)
    segment = segmentation.GetSegmentation().GetSegment("L1")
    segment.SetTag(segment.GetTerminologyEntryTagName(), TERMINOLOGY)
    segment.SetTag("VertebralGrading.grade", "3")
    points = add_point((1.0, 2.0, 3.0), label="anterior superior")
    points.SetNodeReferenceID("segmentation", segmentation.GetID())
    points.SetAttribute("VertebralGrading.level", "L1")
    add_table()
    path = str(tmp_path / "study.mrb")
    assert slicer.util.saveScene(path)

    application.clear()
    assert slicer.mrmlScene.GetFirstNodeByName("CT") is None
    slicer.util.loadScene(path)

    volume = slicer.util.getNode("CT")
    segmentation = slicer.util.getNode("Bodies")
    segment = segmentation.GetSegmentation().GetSegment("L1")
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "L1", volume), mask)
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(ijk_to_ras(volume)), oblique_matrix(), atol=1e-9)
    np.testing.assert_allclose(segment.GetColor(), (0.9, 0.2, 0.1), atol=1e-5)
    assert tag(segment, segment.GetTerminologyEntryTagName()) == TERMINOLOGY
    assert tag(segment, "VertebralGrading.grade") == "3"
    points = slicer.util.getNode("Points")
    np.testing.assert_allclose(slicer.util.arrayFromMarkupsControlPoints(points), [[1, 2, 3]], atol=1e-9)
    assert points.GetNodeReference("segmentation") is segmentation
    assert points.GetAttribute("VertebralGrading.level") == "L1"
    check_table(slicer.util.getNode("Findings"))
    assert names_in_hierarchy() == ["Bodies", "CT", "Findings", "Points"]


def add_table():
    """Add a table with typed columns and an empty cell."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Findings")
    for name, array, values in (
        ("level", vtk.vtkStringArray(), ["L1", "L2"]),
        ("grade", vtk.vtkIntArray(), [3, 0]),
        ("height, mm", vtk.vtkDoubleArray(), [17.25, 26.5]),
    ):
        array.SetName(name)
        for value in values:
            array.InsertNextValue(value)
        node.AddColumn(array)
        node.SetColumnUnitLabel(name, "mm" if "mm" in name else "")
    return node


def check_table(node):
    table = node.GetTable()
    columns = [table.GetColumn(index) for index in range(table.GetNumberOfColumns())]
    assert [column.GetName() for column in columns] == ["level", "grade", "height, mm"]
    assert [column.GetDataTypeAsString() for column in columns] == ["string", "int", "double"]
    assert [[column.GetVariantValue(row).ToString() for row in range(2)] for column in columns] == [
        ["L1", "L2"],
        ["3", "0"],
        ["17.25", "26.5"],
    ]
    assert node.GetColumnUnitLabel("height, mm") == "mm"


def test_failures_are_told(application, tmp_path):
    volume = add_volume()
    with pytest.raises(RuntimeError, match="Failed to load"):
        slicer.util.loadVolume(str(tmp_path / "none.nii.gz"))
    (tmp_path / "file").touch()
    assert not slicer.util.saveNode(volume, str(tmp_path / "file" / "ct.nii.gz"))
    assert not slicer.util.saveNode(volume, tmp_path / "ct.nii.gz"), "Qt takes no pathlib.Path"
    assert not slicer.util.saveScene(str(tmp_path / "file" / "scene.mrb"))
    with pytest.raises(RuntimeError):
        slicer.util.loadScene(str(tmp_path / "none.mrb"))


def test_subject_hierarchy_items_come_by_themselves_or_not(application):
    add_volume()
    assert names_in_hierarchy() == ["CT"]
    application.automatic_subject_hierarchy = False
    points = add_point((0, 0, 0))
    assert names_in_hierarchy() == ["CT"]
    slicer.mrmlScene.RemoveNode(points)
    application.automatic_subject_hierarchy = True
    points = add_point((0, 0, 0))
    assert names_in_hierarchy() == ["CT", "Points"]
    slicer.mrmlScene.RemoveNode(points)
    assert names_in_hierarchy() == ["CT"]
    hidden = slicer.vtkMRMLScalarVolumeNode()
    hidden.SetHideFromEditors(True)
    slicer.mrmlScene.AddNode(hidden)
    assert names_in_hierarchy() == ["CT"]


def test_terminology_is_loaded_and_understood(application):
    logic = slicer.modules.terminologies.logic()
    names = vtk.vtkStringArray()
    logic.GetLoadedTerminologyNames(names)
    loaded = {names.GetValue(index) for index in range(names.GetNumberOfValues())}
    assert "Segmentation category and type - DICOM master list" in loaded
    entry = slicer.vtkSlicerTerminologyEntry()
    assert logic.DeserializeTerminologyEntry(TERMINOLOGY, entry)
    assert entry.GetTypeObject().GetCodeMeaning() == "Bone"
    assert entry.GetCategoryObject().GetCodeValue() == "123037004"


def test_observation_mixin_sees_a_dragged_point(application):
    class Observer(slicer.util.VTKObservationMixin):
        def __init__(self):
            super().__init__()
            self.seen = 0

        def on_modified(self, _caller, _event):
            self.seen += 1

    points = add_point((0, 0, 0))
    observer = Observer()
    observer.addObserver(points, points.PointModifiedEvent, observer.on_modified)
    points.SetNthControlPointPosition(0, 1.0, 0.0, 0.0)
    assert observer.seen == 1
    observer.removeObservers()
    points.SetNthControlPointPosition(0, 2.0, 0.0, 0.0)
    assert observer.seen == 1


# Pictures


def vertebra_plane(application):
    """Add a slice node on the sagittal plane of the oblique grid itself."""
    node = slicer.vtkMRMLSliceNode()
    node.SetLayoutName("Vertebra")
    node = application.scene.AddNode(node)
    axes = oblique_matrix()[:3, :3]
    normal, down = axes[:, 0] / np.linalg.norm(axes[:, 0]), axes[:, 1] / np.linalg.norm(axes[:, 1])
    node.SetSliceToRASByNTP(*normal, *down, *box_center(), 0)
    return node


@pytest.mark.parametrize("view", ["Axial", "Sagittal", "Coronal", "oblique"])
def test_slice_shows_segment_and_point_where_they_are(application, view):
    volume = add_volume()
    color = (0.9, 0.2, 0.1)
    segmentation, _ = add_segmentation(volume, color)
    display = segmentation.GetDisplayNode()
    display.SetOpacity2DFill(1.0)
    display.SetVisibility2DOutline(False)
    point = add_point(box_center(), (0.0, 0.8, 1.0))
    node = vertebra_plane(application) if view == "oblique" else view
    picture = render_slice(application, node, (400, 300), center=box_center(), field_of_view=40, volume=volume)

    np.testing.assert_allclose(picture.project(box_center()), (200, 149), atol=1.0)
    np.testing.assert_allclose(picture.color_at(box_center(), 1), as_bytes((0.0, 0.8, 1.0)), atol=3)
    point.GetDisplayNode().SetVisibility(False)
    picture = render_slice(application, node, (400, 300), center=box_center(), field_of_view=40, volume=volume)
    np.testing.assert_allclose(picture.color_at(box_center(), 1), as_bytes(color), atol=3)

    # What each pixel shows is what the grid holds at that point: colored within the box, gray outside.
    to_ras = np.linalg.inv(picture.to_pixel)
    to_index = np.linalg.inv(oblique_matrix()) @ to_ras
    depth = (picture.to_pixel @ [*box_center(), 1.0])[2]
    rows, columns = np.mgrid[:300, :400]
    pixels = np.stack([columns, rows, np.full_like(rows, depth, dtype=float), np.ones_like(rows)], axis=-1)
    index = (pixels @ to_index.T)[..., 2::-1]
    low, high = np.array([(part.start - 0.5, part.stop - 0.5) for part in BOX]).T
    margin = np.minimum(index - low, high - index).min(axis=-1)  # in voxels; positive inside
    within = np.minimum(index + 0.4, np.array(SHAPE) - 0.6 - index).min(axis=-1) > 0
    colored = np.abs(picture.image - as_bytes(color)).max(axis=-1) < 4
    assert (margin > 0.2).sum() > 1000
    assert colored[margin > 0.2].all()
    assert not colored[margin < -0.2].any()
    gray = picture.image[within & (margin < -1.2)]
    assert len(gray) > 1000
    np.testing.assert_allclose(gray, (BACKGROUND_HU - 400 + 900) / 1800 * 255, atol=1.5)


def test_slice_outline_leaves_the_inside_free(application):
    volume = add_volume()
    segmentation, _ = add_segmentation(volume, (0.0, 1.0, 0.0))
    display = segmentation.GetDisplayNode()
    display.SetVisibility2DFill(False)
    display.SetOpacity2DOutline(1.0)
    node = vertebra_plane(application)
    picture = render_slice(application, node, (400, 300), center=box_center(), field_of_view=40, volume=volume)
    inside = picture.color_at(box_center(), 1)
    np.testing.assert_allclose(inside, (700 - 400 + 900) / 1800 * 255, atol=1.5)
    middle = [(part.start + part.stop - 1) / 2 for part in BOX]
    for axis, part in ((0, BOX[0]), (1, BOX[1])):  # the plane holds the j and k axes of the grid
        for edge in (part.start - 0.5, part.stop - 0.5):
            place = list(middle)
            place[axis] = edge
            column, row = np.rint(picture.project(ras(place))).astype(int)
            patch = picture.image[row - 4 : row + 5, column - 4 : column + 5].reshape(-1, 3)
            assert (np.abs(patch - as_bytes((0, 1, 0))).max(axis=-1) < 10).any(), (axis, edge)


def test_point_labels_are_drawn(application):
    volume = add_volume()
    point = add_point(box_center(), (1.0, 0.0, 0.0), "L1 anterior")
    pictures = []
    for shown in (True, False):
        point.GetDisplayNode().SetPointLabelsVisibility(shown)
        pictures.append(render_slice(application, "Sagittal", (400, 300), box_center(), 60, volume))
    changed = np.argwhere((pictures[0].image != pictures[1].image).any(axis=-1))
    assert len(changed) > 50
    column, row = pictures[0].project(box_center())
    assert changed[:, 1].min() >= column - 2
    assert np.ptp(changed[:, 1]) > 2 * np.ptp(changed[:, 0]), "a line of text"
    assert abs(changed[:, 0].mean() - row) < 40


@pytest.mark.parametrize("look_from", ["anterior", "left", "superior", (1.0, 1.0, 0.5)])
def test_3d_shows_segment_and_point_where_they_are(application, look_from):
    volume = add_volume()
    segmentation, _ = add_segmentation(volume, (0.9, 0.2, 0.1))
    segmentation.CreateClosedSurfaceRepresentation()
    away = box_center() + np.array([25.0, 22.0, 20.0])
    add_point(away, (0.0, 0.8, 1.0))
    picture = render_3d(application, (400, 300), look_from, center=box_center(), field_of_view=90)
    red, green, blue = np.moveaxis(picture.image.astype(int), -1, 0)
    segment = (red > 2 * green) & (red > 2 * blue)
    surface = vtk.vtkPolyData()
    segmentation.GetClosedSurfaceRepresentation("L1", surface)
    expected = picture.project(vtk_to_numpy(surface.GetPoints().GetData()))
    found = np.argwhere(segment)[:, ::-1]
    assert len(found) > 300
    np.testing.assert_allclose(found.min(axis=0), expected.min(axis=0), atol=1.5)
    np.testing.assert_allclose(found.max(axis=0), expected.max(axis=0), atol=1.5)
    assert segment[tuple(np.rint(picture.project(box_center())).astype(int)[::-1])]
    red, green, blue = picture.color_at(away, 1)
    assert blue > green > 3 * red


def test_color_legend_is_drawn(application):
    volume = add_volume()
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "Grades")
    table.SetTypeToUser()
    table.SetNumberOfColors(2)
    table.SetColor(0, "grade 0", 0.0, 1.0, 0.0, 1.0)
    table.SetColor(1, "grade 3", 1.0, 0.0, 1.0, 1.0)
    volume.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())
    slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(volume)
    view = SliceView(application, "Axial")
    view.show(volume)
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(volume)
    shown = view.render((400, 300), box_center(), 200)
    legend.SetVisibility(False)
    hidden = view.render((400, 300), box_center(), 200)
    view.close()
    new = (shown.image != hidden.image).any(axis=-1)
    columns = np.argwhere(new)[:, 1]
    assert columns.min() > 200, "the legend stands at the right"
    colors = {tuple(color) for color in shown.image[new]}
    assert (0, 255, 0) in colors
    assert (255, 0, 255) in colors


def test_slices_jump_to_a_point(application):
    add_volume()
    points = add_point(box_center())
    view = SliceView(application, "Sagittal")
    markups = slicer.modules.markups.logic()
    target = box_center() + np.array([4.0, 5.0, 6.0])
    points.SetNthControlPointPosition(0, *target)
    markups.JumpSlicesToNthPointInMarkup(points.GetID(), 0, True)
    picture = view.render((200, 200), field_of_view=50)
    np.testing.assert_allclose(picture.project(target), (100, 99), atol=1.0)
    assert (picture.to_pixel @ [*target, 1.0])[2] == pytest.approx(0.0, abs=1e-6), "the point lies on the plane"
    view.close()


@pytest.mark.parametrize("look_while_empty", [True, False])
def test_open_views_follow_a_closed_and_reloaded_scene(application, tmp_path, look_while_empty):
    volume = add_volume()
    segmentation, _ = add_segmentation(volume, (0.9, 0.2, 0.1))
    segmentation.GetDisplayNode().SetOpacity2DFill(1.0)
    segmentation.CreateClosedSurfaceRepresentation()
    slice_view, three_d = SliceView(application, "Axial"), ThreeDView(application)
    slice_view.show(volume)
    slice_view.render((200, 200), box_center(), 60)
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    application.clear()
    if look_while_empty:
        assert not slice_view.render((200, 200), box_center(), 60).image.any()
    slicer.util.loadScene(path)
    slice_view.show(slicer.util.getNode("CT"))
    picture = slice_view.render((200, 200), box_center(), 60)
    np.testing.assert_allclose(picture.color_at(box_center(), 1), as_bytes((0.9, 0.2, 0.1)), atol=3)
    red, green, _ = three_d.render((200, 200), "anterior", box_center(), 60).color_at(box_center(), 1)
    assert red > 2 * green
    slice_view.close()
    three_d.close()


def test_pictures_leave_the_scene_as_it_was(application):
    volume = add_volume()
    before = node_ids()
    first = render_slice(application, "Axial", (100, 100), box_center(), 60, volume)
    render_3d(application, (100, 100))
    assert node_ids() == before
    assert application.logic.GetSliceLogics().GetNumberOfItems() == 0
    again = render_slice(application, "Axial", (100, 100), box_center(), 60, volume)
    assert np.array_equal(first.image, again.image)
    with pytest.raises(ValueError):
        first.color_at(box_center() + np.array([500.0, 0.0, 0.0]))
    with pytest.raises(ValueError):
        SliceView(application, "Diagonal")
    assert node_ids() == before


def test_views_do_not_disturb_each_other(application):
    volume = add_volume()
    view = SliceView(application, "Sagittal")
    view.show(volume)
    first = view.render((120, 100), box_center(), 60)
    other = render_slice(application, "Axial", (60, 60), box_center() + np.array([0.0, 0.0, 9.0]), 30, volume)
    assert other.image.shape == (60, 60, 3)
    again = view.render((120, 100), field_of_view=60)
    np.testing.assert_allclose(again.to_pixel, first.to_pixel)
    assert np.array_equal(again.image, first.image)
    foreign = slicer.vtkMRMLSliceNode()
    with pytest.raises(ValueError, match="not in the scene"):
        SliceView(application, foreign)
    view.close()


def test_png_is_the_picture(application, tmp_path):
    image = np.random.default_rng(3).integers(0, 255, (7, 11, 3)).astype(np.uint8)
    save_png(image, tmp_path / "a.png")
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.png"))), image)
    with pytest.raises(OSError):
        save_png(image, tmp_path / "no folder" / "a.png")


# Charts


def add_chart():
    """Add a chart with one series, drawn as squares."""
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Heights")
    slicer.util.updateTableFromArray(table, (np.array([1.0, 2.0, 4.0]), np.array([26.0, 18.0, 22.0])), ["level", "mm"])
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "anterior")
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName("level")
    series.SetYColumnName("mm")
    series.SetPlotType(series.PlotTypeScatter)
    series.SetMarkerStyle(series.MarkerStyleSquare)
    series.SetMarkerSize(12)
    series.SetLineStyle(series.LineStyleNone)
    series.SetColor(0.0, 0.2, 0.8)
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "Chart")
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    chart.SetTitle("Heights")
    chart.SetXAxisTitle("level")
    chart.SetYAxisTitle("mm")
    chart.SetXAxisRangeAuto(False)
    chart.SetXAxisRange(0, 5)
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(10, 30)
    return chart, series


def test_chart_draws_series_where_they_are(application):
    chart, series = add_chart()
    picture = draw_chart(chart, (500, 400))
    for x, y in ((1, 26), (2, 18), (4, 22)):
        np.testing.assert_allclose(picture.color_at((x, y, 0), 2), as_bytes((0.0, 0.2, 0.8)), atol=2)
    for place in ((3, 20, 0), (3, 22, 0), (1, 18, 0)):
        assert picture.color_at(place, 1).min() > 200
    series.SetPlotType(series.PlotTypeLine)
    series.SetLineStyle(series.LineStyleSolid)
    series.SetLineWidth(4)
    picture = draw_chart(chart, (500, 400))
    np.testing.assert_allclose(picture.color_at((0.5, 22, 0)), as_bytes((0.0, 0.2, 0.8)), atol=2)


def test_chart_shows_titles_and_legend(application):
    chart, _ = add_chart()
    full = draw_chart(chart, (500, 400))
    dark = (full.image.max(axis=-1) < 120).sum()
    chart.SetTitleVisibility(False)
    chart.SetXAxisTitleVisibility(False)
    chart.SetYAxisTitleVisibility(False)
    chart.SetLegendVisibility(False)
    assert (draw_chart(chart, (500, 400)).image.max(axis=-1) < 120).sum() < dark - 200


def test_chart_refuses_what_slicer_would_not_draw(application):
    chart, series = add_chart()
    series.SetYColumnName("no such column")
    with pytest.raises(ValueError, match="no column"):
        draw_chart(chart)
    text = vtk.vtkStringArray()
    text.SetName("text")
    for value in "abc":
        text.InsertNextValue(value)
    series.GetTableNode().AddColumn(text)
    series.SetYColumnName("text")
    with pytest.raises(ValueError, match="no numbers"):
        draw_chart(chart)
    slicer.mrmlScene.RemoveNode(series.GetTableNode())
    with pytest.raises(ValueError, match="no table"):
        draw_chart(chart)


# The process


USE = """
import sys
from pathlib import Path
import numpy as np
import slicer
from host.application import start
from host.rendering import SliceView, ThreeDView, draw_chart

def use(stop):
    application = start()
    gone = []
    watched = {"scene": application.scene, "logic": application.logic}
    watched |= {name: application.module_logic(name) for name in ("Volumes", "Markups", "Segmentations", "Colors")}
    for name, thing in watched.items():
        thing.AddObserver("DeleteEvent", lambda *_, name=name: gone.append(name))
    names = set(watched)
    del thing
    watched.clear()
    volume = slicer.util.addVolumeFromArray(np.ones((5, 6, 7), np.int16))
    view, deep = SliceView(application, "Axial"), ThreeDView(application)
    view.show(volume)
    view.render((64, 64))
    deep.render((64, 64))
    if stop:
        application.stop()
        assert set(gone) == names, names - set(gone)
        assert not application.home.exists()
        assert slicer.mrmlScene is None
        assert not hasattr(slicer, "app")
    else:
        print(application.home)

use(stop=True)
use(stop=False)
"""


def run_python(code, **environment):
    testing = Path(__file__).resolve().parents[1]
    paths = os.pathsep.join([str(testing), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_process_ends_cleanly_and_leaves_no_trace():
    done = run_python(USE)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert not Path(done.stdout.strip()).exists()


def test_missing_opengl_is_an_error_and_no_empty_picture():
    code = "from host.application import start\nfrom host.rendering import render_3d\nrender_3d(start())"
    done = run_python(code, __EGL_VENDOR_LIBRARY_FILENAMES=os.devnull)
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert "libegl1" in done.stderr
