"""A headless application over Slicer's real MRML scene and module logics.

``start()`` does what the application does when it starts without a window: it makes the scene, the application logic
and the logic of each module this project uses, and sets ``slicer.mrmlScene``, ``slicer.app`` and ``slicer.modules``, so
that ``slicer.util`` works. Scene, nodes and logics are Slicer's own; only the small objects around them are ours, and
those refuse every name they do not have.
"""

from __future__ import annotations

import atexit
import gc
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
import vtk

from .core_io import CoreIOManager
from .subject_hierarchy import SubjectHierarchyItems
from .terminology import write_terminologies

SHARE = "share/Slicer"

# Module name -> class of its logic, in the order in which they are made. Colors come first, since display nodes ask
# for default color nodes; terminologies come before segmentations, which look them up.
LOGIC_CLASSES = {
    "Colors": "vtkSlicerColorLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "ViewControllers": "vtkSlicerViewControllersLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Models": "vtkSlicerModelsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Annotations": "vtkSlicerAnnotationModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
}

# Names of qSlicerApplication that need Qt; the Qt side of the host may provide them, and nothing else.
QT_NAMES = frozenset(
    {
        "aboutToQuit",
        "activeWindow",
        "commandOptions",
        "connect",
        "disconnect",
        "exit",
        "layoutManager",
        "openSettingsDialog",
        "palette",
        "processEvents",
        "quit",
        "restoreOverrideCursor",
        "setOverrideCursor",
        "settings",
        "startupEnvironment",
        "style",
        "topLevelWidgets",
        "userSettings",
    }
)

_running: Application | None = None


class SlicerApp:
    """What the host has of ``slicer.app`` (qSlicerApplication); any other name raises AttributeError.

    As in PythonQt, ``temporaryPath``, ``applicationName`` and the like are properties and setting an unknown name is
    an error. ``layoutManager()`` is None, as in an application started with ``--no-main-window``, until the Qt side of
    the host provides one.
    """

    __slots__ = ("_core_io", "_host")

    def __init__(self, host: Application) -> None:
        self._host = host
        self._core_io = CoreIOManager(host)

    def __getattr__(self, name: str) -> Any:
        """Return what the Qt side of the host provided; called for names that are not defined here."""
        if not name.startswith("_") and name in self._host.provided:
            return self._host.provided[name]
        raise AttributeError(f"slicer.app.{name} is not part of the test host")

    @property
    def temporaryPath(self) -> str:  # noqa: N802
        return str(self._host.temporary_path)

    @temporaryPath.setter
    def temporaryPath(self, path: str) -> None:  # noqa: N802
        if not isinstance(path, str):
            raise ValueError("slicer.app.temporaryPath takes a str")
        self._host.temporary_path = Path(path)

    @property
    def slicerHome(self) -> str:  # noqa: N802
        return str(self._host.home)

    @property
    def applicationName(self) -> str:  # noqa: N802
        return "Slicer"

    @property
    def applicationVersion(self) -> str:  # noqa: N802
        return self._host.version

    @property
    def majorVersion(self) -> int:  # noqa: N802
        return int(self._host.version.split(".")[0])

    @property
    def minorVersion(self) -> int:  # noqa: N802
        return int(self._host.version.split(".")[1])

    def mrmlScene(self) -> Any:  # noqa: N802
        return self._host.scene

    def applicationLogic(self) -> Any:  # noqa: N802
        return self._host.logic

    def coreIOManager(self) -> CoreIOManager:  # noqa: N802
        return self._core_io

    def ioManager(self) -> CoreIOManager:  # noqa: N802
        return self._core_io

    def testingEnabled(self) -> bool:  # noqa: N802
        return True

    def layoutManager(self) -> Any:  # noqa: N802
        return self._host.provided["layoutManager"]() if "layoutManager" in self._host.provided else None

    def processEvents(self) -> None:  # noqa: N802
        if "processEvents" in self._host.provided:
            self._host.provided["processEvents"]()

    def pauseRender(self) -> None:  # noqa: N802
        self._host.logic.PauseRender()

    def resumeRender(self) -> None:  # noqa: N802
        self._host.logic.ResumeRender()

    def moduleManager(self) -> ModuleManager:  # noqa: N802
        return self._host.module_manager


class Module:
    """What the host has of a loaded module: its name, its title and its logic."""

    __slots__ = ("_logic", "name", "title")

    def __init__(self, name: str, logic: Any) -> None:
        self.name = name
        self.title = name
        self._logic = logic

    def logic(self) -> Any:
        return self._logic


class Modules:
    """``slicer.modules``: one lower-case name for each module of the host; the Qt side may add widgets and modules."""


class ModuleManager:
    """What the host has of ``slicer.app.moduleManager()``: finding a module by its name."""

    __slots__ = ("_modules",)

    def __init__(self, modules: Modules) -> None:
        self._modules = modules

    def module(self, name: str) -> Any:
        return getattr(self._modules, name.lower(), None)


class Application:
    """The running host: scene, logics and the objects behind ``slicer.app`` and ``slicer.modules``.

    Attributes:
        home: The folder that plays Slicer's installation folder; holds ``share``.
        scene: The vtkMRMLScene; also ``slicer.mrmlScene``.
        logic: The vtkSlicerApplicationLogic.
        app: The object behind ``slicer.app``.
        modules: The object behind ``slicer.modules``.
    """

    def __init__(self, home: Path | None, *, automatic_subject_hierarchy: bool, version: str) -> None:
        self._own_home = home is None
        self.home = Path(tempfile.mkdtemp(prefix="slicer-host-")) if home is None else Path(home)
        self.version = version
        self.scene: Any = slicer.vtkMRMLScene()
        self.logic: Any = slicer.vtkSlicerApplicationLogic()
        self.provided: dict[str, Any] = {}
        self._logics: dict[str, Any] = {}
        self._at_stop: list[Callable[[], None]] = []
        self._write_share()
        self._make_scene()
        self._make_logics()
        self._subject_hierarchy = SubjectHierarchyItems(self.scene)
        self.automatic_subject_hierarchy = automatic_subject_hierarchy
        self.modules = Modules()
        for name, logic in self._logics.items():
            setattr(self.modules, name.lower(), Module(name, logic))
        self.module_manager = ModuleManager(self.modules)
        self.app = SlicerApp(self)
        slicer.mrmlScene = self.scene
        slicer.modules = self.modules
        slicer.app = self.app

    @property
    def temporary_path(self) -> Path:
        """The folder for temporary files, as ``slicer.app.temporaryPath`` tells it."""
        return Path(self.logic.GetTemporaryPath())

    @temporary_path.setter
    def temporary_path(self, path: Path) -> None:
        self.logic.SetTemporaryPath(str(path))

    @property
    def automatic_subject_hierarchy(self) -> bool:
        """Whether each data node gets a subject-hierarchy item when it is added, as in the full application.

        In the application a plugin of the subject-hierarchy widgets does that; the MRML library alone does not.
        """
        return self._subject_hierarchy.active

    @automatic_subject_hierarchy.setter
    def automatic_subject_hierarchy(self, active: bool) -> None:
        self._subject_hierarchy.active = active

    def provide(self, name: str, value: Any) -> None:
        """Let the Qt side of the host supply one of the names of ``slicer.app`` that need Qt."""
        if name not in QT_NAMES:
            raise ValueError(f"{name} is not a name of qSlicerApplication that the host lets others provide")
        self.provided[name] = value

    def module_logic(self, name: str) -> Any:
        """Return a module's logic by the module's name, for example ``Volumes``."""
        return self._logics[name]

    def at_stop(self, release: Callable[[], None]) -> None:
        """Have something called when the application stops, before the scene is cleared (views use this)."""
        self._at_stop.append(release)

    def forget_at_stop(self, release: Callable[[], None]) -> None:
        """Take back what ``at_stop`` was told."""
        if release in self._at_stop:
            self._at_stop.remove(release)

    def clear(self) -> None:
        """Close the scene, as ``File/Close scene`` does: singletons stay, everything else goes."""
        self.scene.Clear(0)

    def stop(self) -> None:
        """Close the scene, let go of all logics and remove what the host wrote. A later ``start()`` makes a new one."""
        global _running  # noqa: PLW0603 - the process has one application, as Slicer does
        if _running is not self:
            return
        _running = None
        while self._at_stop:
            self._at_stop.pop()()
        self.automatic_subject_hierarchy = False
        self.scene.Clear(1)
        while self._logics:
            name, _ = self._logics.popitem()
            self.logic.SetModuleLogic(name, None)
        for factory in _factories():
            factory.SetMRMLApplicationLogic(None)
        self.logic.SetMRMLScene(None)
        self._remote_io.SetMRMLScene(None)
        slicer.mrmlScene = None
        for name in ("app", "modules"):
            delattr(slicer, name)
        self.modules.__dict__.clear()
        self.provided.clear()
        self._subject_hierarchy = self._data_io = self._remote_io = self.scene = self.logic = None
        gc.collect()
        if self._own_home:
            shutil.rmtree(self.home)

    def _write_share(self) -> None:
        """Write the few files of Slicer's share folder that logics read when they start."""
        colors = self._folder(SHARE, "ColorFiles")
        (colors / "GenericColors.txt").write_text(
            "# Color\n0 background 0 0 0 0\n1 tissue 128 174 128 255\n2 bone 241 214 145 255\n", encoding="utf-8"
        )
        write_terminologies(self._module_share("Terminologies"))

    def _module_share(self, name: str) -> Path:
        return self._folder(SHARE, "qt-loadable-modules", name)

    def _folder(self, *parts: str) -> Path:
        folder = self.home.joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _make_scene(self) -> None:
        scene, logic = self.scene, self.logic
        logic.SetHomeDirectory(str(self.home))
        logic.SetShareDirectory(SHARE)
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        scene.AddNode(crosshair)
        logic.SetSliceLogics(vtk.vtkCollection())
        logic.SetViewLogics(vtk.vtkCollection())
        logic.SetTemporaryPath(str(self._folder("temporary")))
        logic.SetMRMLScene(scene)
        for factory in _factories():
            factory.SetMRMLApplicationLogic(logic)
        cache = slicer.vtkCacheManager()
        cache.SetRemoteCacheDirectory(str(self._folder("temporary", "RemoteIO")))
        manager = slicer.vtkDataIOManager()
        manager.SetCacheManager(cache)
        self._remote_io: Any = slicer.vtkMRMLRemoteIOLogic()
        self._remote_io.SetCacheManager(cache)
        self._remote_io.SetDataIOManager(manager)
        self._data_io: Any = slicer.vtkDataIOManagerLogic()
        logic.SetMRMLSceneDataIO(scene, self._remote_io, self._data_io)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)

    def _make_logics(self) -> None:
        for name, class_name in LOGIC_CLASSES.items():
            logic = getattr(slicer, class_name)()
            if hasattr(logic, "SetModuleShareDirectory"):
                logic.SetModuleShareDirectory(str(self._module_share(name)))
            logic.SetMRMLApplicationLogic(self.logic)
            logic.SetMRMLScene(self.scene)
            self.logic.SetModuleLogic(name, logic)
            self._logics[name] = logic


def start(home: Path | None = None, *, automatic_subject_hierarchy: bool = True) -> Application:
    """Return the running application; start one if none runs.

    Args:
        home: The folder that plays Slicer's installation folder; a temporary one if None.
        automatic_subject_hierarchy: Whether data nodes get subject-hierarchy items by themselves, as in the full
            application. When an application runs already, its switch is set to this.

    Raises:
        ValueError: An application with another home runs already.
    """
    global _running  # noqa: PLW0603 - the process has one application, as Slicer does
    if _running is None:
        _running = Application(home, automatic_subject_hierarchy=automatic_subject_hierarchy, version=_version())
    if home is not None and Path(home) != _running.home:
        raise ValueError("an application with another home runs already")
    _running.automatic_subject_hierarchy = automatic_subject_hierarchy
    return _running


def _version() -> str:
    """Return the version of the MRML library as Slicer would tell it, for example 5.13.0."""
    from importlib.metadata import version

    return ".".join([*version("slicer-core").split(".")[:2], "0"])


def _factories() -> tuple[Any, Any]:
    return (
        slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance(),
        slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance(),
    )


@atexit.register
def _stop_at_exit() -> None:
    if _running is not None:
        _running.stop()
