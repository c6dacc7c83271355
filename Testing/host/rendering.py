"""Pictures of the scene by Slicer's own displayable managers, drawn off screen.

Each picture knows where a point of the patient lies in it, so that a test asks for the color at a point instead of
comparing whole images. ``SliceView`` and ``ThreeDView`` stay open as Slicer's views do; ``render_slice`` and
``render_3d`` make one, take a picture and close it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
import vtk

from .chart import draw_chart
from .picture import Picture, grab, matrix, render_window, save_png

__all__ = ["Picture", "SliceView", "ThreeDView", "draw_chart", "render_3d", "render_slice", "save_png", "set_window"]

BONE_WINDOW = (1800.0, 400.0)  # width and level in HU

SLICE_MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)
THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)

ORIENTATIONS = ("Axial", "Sagittal", "Coronal")

# Direction from the patient to the eye in RAS, and which way is up in the picture.
LOOK_FROM = {
    "anterior": ((0, 1, 0), (0, 0, 1)),
    "posterior": ((0, -1, 0), (0, 0, 1)),
    "left": ((-1, 0, 0), (0, 0, 1)),
    "right": ((1, 0, 0), (0, 0, 1)),
    "superior": ((0, 0, 1), (0, 1, 0)),
    "inferior": ((0, 0, -1), (0, 1, 0)),
}


class _View:
    """A render window without a screen, one renderer and a group of Slicer's displayable managers."""

    def __init__(self, application: Any, factory: Any, managers: Sequence[str]) -> None:
        self.application = application
        self.window = render_window()
        self.renderer = vtk.vtkRenderer()
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkGenericRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.EnableRenderOff()
        for name in managers:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self._factory = factory
        self._managers = managers

    def _attach(self, node: Any, style: Any) -> None:
        """Let the managers draw what the view node says."""
        self.group.Initialize(self._factory, self.renderer)
        style.SetDisplayableManagers(self.group)
        style.SetInteractor(self.interactor)
        self._style = style
        self.group.SetMRMLDisplayableNode(node)
        self.application.at_stop(self.close)

    def close(self) -> None:
        """Let go of the scene and of the window's resources; the view cannot be used again."""
        if self.window is None:
            return
        self.application.forget_at_stop(self.close)
        self._style.SetInteractor(None)
        self._detach()
        self.group.SetAndObserveDisplayableManagerFactory(None)
        self.group = self._style = None
        self.interactor.SetRenderWindow(None)
        self.renderer.RemoveAllViewProps()
        self.window.RemoveRenderer(self.renderer)
        self.window.Finalize()
        self.interactor = self.renderer = self.window = None

    def _detach(self) -> None:
        raise NotImplementedError


class SliceView(_View):
    """A slice view: Slicer's slice logic and displayable managers over one slice node.

    Args:
        application: The running application.
        view: ``Axial``, ``Sagittal``, ``Coronal``, or a slice node whose plane is taken as it is.
        name: Layout name of the slice node when one is made, for example ``Red``; a new one if None.
    """

    def __init__(self, application: Any, view: Any = "Axial", name: str | None = None) -> None:
        if isinstance(view, str) and view not in ORIENTATIONS:
            raise ValueError(f"no slice orientation is called {view}")
        if not isinstance(view, str) and view.GetScene() is not application.scene:
            raise ValueError("the slice node is not in the scene")
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        super().__init__(application, factory, SLICE_MANAGERS)
        self._before = _node_ids(application.scene)
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application.logic)
        self.logic.SetMRMLScene(application.scene)
        self._own_node = isinstance(view, str)
        if self._own_node:
            self.node = self.logic.AddSliceNode(name or _new_name(application.scene))
            self.node.SetOrientation(view)
        else:
            self.node = view
            self.logic.SetSliceNode(view)
        self.node.SetMappedInLayout(1)
        application.logic.GetSliceLogics().AddItem(self.logic)
        mapper = vtk.vtkImageMapper()
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        self._mapper = mapper
        self._image = vtk.vtkActor2D()
        self._image.SetMapper(mapper)
        self._image.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(self._image)
        self._attach(self.node, slicer.vtkMRMLSliceViewInteractorStyle())
        self._style.SetSliceLogic(self.logic)

    @property
    def composite(self) -> Any:
        """The slice composite node: which volumes are shown."""
        return self.logic.GetSliceCompositeNode()

    def show(self, volume: Any) -> None:
        """Show a volume as background; None for nothing. Told as Slicer's slice controller tells it."""
        self.logic.StartSliceCompositeNodeInteraction(self.composite.BackgroundVolumeFlag)
        self.composite.SetBackgroundVolumeID(volume.GetID() if volume is not None else None)
        self.composite.Modified()
        self.logic.EndSliceCompositeNodeInteraction()

    def render(self, size: tuple[int, int], center: Any = None, field_of_view: float | None = None) -> Picture:
        """Take a picture of ``size`` (width, height).

        Args:
            size: Width and height in pixels.
            center: RAS point that lies in the middle of the picture and on the plane; None keeps the slice node's.
            field_of_view: Height of the picture in mm; None fits the background volume, or keeps the node's height
                where there is none.
        """
        width, height = size
        self.window.SetSize(width, height)
        self.node.SetDimensions(width, height, 1)
        if field_of_view is None and self.composite.GetBackgroundVolumeID():
            origin = matrix(self.node.GetSliceToRAS())[:3, 3]
            self.logic.FitSliceToBackground(width, height)
            if not self._own_node:
                self.node.JumpSliceByOffsetting(*origin)
        else:
            tall = self.node.GetFieldOfView()[1] if field_of_view is None else field_of_view
            self.node.SetFieldOfView(tall * width / height, tall, self.node.GetFieldOfView()[2])
        if center is not None:
            self.node.JumpSliceByCentering(*map(float, center))
        self.node.UpdateMatrices()
        self.node.Modified()  # what came with a scene that was read is drawn when the slice changes next
        self._draw_volume()
        image = grab(self.window)
        xy_to_ras = matrix(self.node.GetXYToRAS())
        flip = np.diag([1.0, -1.0, 1.0, 1.0])
        flip[1, 3] = height - 1
        return Picture(image, flip @ np.linalg.inv(xy_to_ras))

    def _draw_volume(self) -> None:
        self.logic.UpdateImageData()
        connection = self.logic.GetImageDataConnection()
        self._mapper.SetInputConnection(connection)
        self._image.SetVisibility(connection is not None)

    def _detach(self) -> None:
        self.application.logic.GetSliceLogics().RemoveItem(self.logic)
        self._mapper.SetInputConnection(None)
        self._style.SetSliceLogic(None)
        self.group.SetMRMLDisplayableNode(None)
        logic, scene = self.logic, self.application.scene
        used = [logic.GetSliceCompositeNode(), logic.GetSliceDisplayNode(), logic.GetSliceModelTransformNode()]
        used += [logic.GetSliceModelDisplayNode(), logic.GetSliceModelNode(), self.node]
        self.logic.SetMRMLScene(None)
        for node in used:
            if node is not None and scene.IsNodePresent(node) and node.GetID() not in self._before:
                scene.RemoveNode(node)
        self.logic = self.node = None


class ThreeDView(_View):
    """A 3-D view with its own view node and camera.

    As in Slicer, a color legend is drawn in 3-D only when its node is added while the view is open.
    """

    def __init__(self, application: Any, name: str | None = None) -> None:
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        super().__init__(application, factory, THREE_D_MANAGERS)
        name = name or _new_name(application.scene)
        node = slicer.vtkMRMLViewNode()
        node.SetLayoutName(name)
        node.SetName(name)
        self.node = application.scene.AddNode(node)
        self.node.SetBoxVisible(False)
        self.node.SetAxisLabelsVisible(False)
        self.node.SetRenderMode(slicer.vtkMRMLViewNode.Orthographic)
        self.node.SetMappedInLayout(1)
        self._attach(self.node, slicer.vtkMRMLThreeDViewInteractorStyle())

    @property
    def camera(self) -> Any:
        """The camera node."""
        return self.application.module_logic("Cameras").GetViewActiveCameraNode(self.node)

    def render(
        self,
        size: tuple[int, int],
        look_from: str | Sequence[float] = "anterior",
        center: Any = None,
        field_of_view: float | None = None,
    ) -> Picture:
        """Take a picture of ``size`` (width, height) in parallel projection.

        Args:
            size: Width and height in pixels.
            look_from: A key of ``LOOK_FROM``, or the direction from the patient to the eye in RAS.
            center: RAS point in the middle of the picture; None for the middle of everything shown.
            field_of_view: Height of the picture in mm; None shows everything.
        """
        self.window.SetSize(*size)
        self.window.Render()
        bounds = np.array(self.renderer.ComputeVisiblePropBounds()).reshape(3, 2)
        if bounds[0, 0] > bounds[0, 1]:
            bounds = np.array([[-1.0, 1.0]] * 3)
        target = bounds.mean(axis=1) if center is None else np.asarray(center, dtype=float)
        radius = float(np.linalg.norm(np.ptp(bounds, axis=1)) / 2)
        direction, up = LOOK_FROM[look_from] if isinstance(look_from, str) else (look_from, (0, 0, 1))
        direction = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
        if abs(direction[2]) > 0.999:
            up = (0, 1, 0)
        eye = target + direction * (3 * radius + 100)
        camera = self.camera
        camera.SetParallelProjection(1)
        camera.SetFocalPoint(*target)
        camera.SetPosition(*eye)
        camera.SetViewUp(*up)
        camera.SetParallelScale(radius if field_of_view is None else field_of_view / 2)
        self.renderer.ResetCameraClippingRange()
        image = grab(self.window)
        width, height = size
        to_view = matrix(
            self.renderer.GetActiveCamera().GetCompositeProjectionTransformMatrix(width / height, 0.0, 1.0)
        )
        to_picture = np.array(
            [
                [width / 2, 0, 0, width / 2 - 0.5],
                [0, -height / 2, 0, height / 2 - 0.5],
                [0, 0, 1, 0],
                [0, 0, 0, 1],
            ]
        )
        return Picture(image, to_picture @ to_view)

    def _detach(self) -> None:
        camera = self.camera
        self.group.SetMRMLDisplayableNode(None)
        for node in (camera, self.node):
            if node is not None and self.application.scene.IsNodePresent(node):
                self.application.scene.RemoveNode(node)
        self.node = None


def render_slice(
    application: Any,
    view: Any = "Sagittal",
    size: tuple[int, int] = (400, 400),
    center: Any = None,
    field_of_view: float | None = None,
    volume: Any = None,
) -> Picture:
    """Take one picture of a slice; see ``SliceView``. ``volume`` is the background, by default the active volume."""
    slice_view = SliceView(application, view)
    try:
        if volume is None:
            active = application.logic.GetSelectionNode().GetActiveVolumeID()
            volume = application.scene.GetNodeByID(active) if active else None
        slice_view.show(volume)
        return slice_view.render(size, center, field_of_view)
    finally:
        slice_view.close()


def render_3d(
    application: Any,
    size: tuple[int, int] = (400, 400),
    look_from: str | Sequence[float] = "anterior",
    center: Any = None,
    field_of_view: float | None = None,
) -> Picture:
    """Take one picture of everything shown in 3-D; see ``ThreeDView``."""
    view = ThreeDView(application)
    try:
        return view.render(size, look_from, center, field_of_view)
    finally:
        view.close()


def set_window(volume: Any, width: float = BONE_WINDOW[0], level: float = BONE_WINDOW[1]) -> None:
    """Show a CT in a fixed window (HU), the bone window if nothing else is said."""
    display = volume.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(width, level)


def _node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


def _new_name(scene: Any) -> str:
    """Return a layout name that no view of the scene has."""
    classes = ("vtkMRMLSliceNode", "vtkMRMLViewNode")
    names = (f"Host{number}" for number in itertools.count(1))
    return next(name for name in names if not any(scene.GetSingletonNode(name, kind) for kind in classes))
