"""The Slicer module: a thin shell around VertebralGradingLib, which holds the science and the panel's parts.

Importing this file imports nothing of the library, so that Slicer starts as fast as without it.
"""

import importlib.util
import logging
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import slicer
import vtk
from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

if TYPE_CHECKING:
    from VertebralGradingLib.backend.blocking import WorkerClient
    from VertebralGradingLib.findings import Report
    from VertebralGradingLib.panel.worker import WorkerKeeper
    from VertebralGradingLib.scene.job import Callbacks, GradingJob
    from VertebralGradingLib.scene.results import StudyResults

LOWEST = ["as named", "L6", "L5", "L4", "L3", "L2", "L1", "T13", *(f"T{number}" for number in range(12, 0, -1))]
_MORE = ("", ", neighbours", ", HealthiVert-GAN", ", diffusion autoencoder")
METHODS = [*(f"morphometry{more}" for more in _MORE), "all"]
"""Choices are written out here: the library is not imported when Slicer starts."""


def ensureLibrary() -> None:
    """Make VertebralGradingLib importable.

    In an installed extension it lies beside this file. In developer mode only this file's folder is on Slicer's path
    and the library lies beside that folder.
    """
    if importlib.util.find_spec("VertebralGradingLib") is None:
        sys.path.append(str(Path(__file__).resolve().parent.parent))


class VertebralGrading(ScriptedLoadableModule):
    """Name, place and help of the module in Slicer."""

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Vertebral Grading")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        self.parent.dependencies = []
        self.parent.contributors = ["The VertebralGrading developers"]
        self.parent.helpText = _(
            "Measures the height loss of thoracic and lumbar vertebral bodies on CT from one centroid per vertebra, "
            "and grades it on Genant's scale with an interval and the evidence behind it. "
            "For research only, not for clinical use."
        )
        self.parent.acknowledgementText = _(
            "Grades follow Genant HK et al., Vertebral fracture assessment using a semiquantitative technique, "
            "J Bone Miner Res 1993;8:1137-1148. Licensed under the Apache License 2.0."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """Offer the synthetic spine in the Sample Data module; nothing is downloaded."""
    import SampleData

    folder = Path(__file__).resolve().parent / "Resources" / "Icons"
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="VertebralGrading",
        sampleName="SyntheticSpine",
        thumbnailFileName=str(folder / "SyntheticSpine.png"),
        customDownloader=loadSyntheticSpine,
    )


def loadSyntheticSpine(source=None) -> list:
    """Make the synthetic spine and its centroids; called by the Sample Data module."""
    ensureLibrary()
    from VertebralGradingLib.panel.inputs import loadSample

    return list(loadSample())


@parameterNodeWrapper
class VertebralGradingParameterNode:
    """What is chosen in the panel, saved with the scene."""

    ct: vtkMRMLScalarVolumeNode
    centroids: vtkMRMLMarkupsFiducialNode
    segmentation: vtkMRMLSegmentationNode
    lowest: Annotated[str, Choice(LOWEST)] = "as named"
    methods: Annotated[str, Choice(METHODS)] = METHODS[0]


class VertebralGradingWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: its parts are in VertebralGradingLib/panel."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._parameterNode = None
        self._parameterNodeTag = None

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        ensureLibrary()
        from VertebralGradingLib.panel.panel import Panel

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/VertebralGrading.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = VertebralGradingLogic()
        self.panel = Panel(uiWidget, self.ui, self.logic, self.parameters)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """End what the module has started."""
        self.setParameterNode(None)
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()
        if self.logic is not None:
            self.logic.close()

    def enter(self) -> None:
        """The user comes to the module."""
        self.initializeParameterNode()
        self.panel.enter()

    def exit(self) -> None:
        """The user leaves the module."""
        self.setParameterNode(None)
        self.panel.exit()

    def parameters(self):
        """Return the parameter node, None while there is none."""
        return self._parameterNode

    def onSceneStartClose(self, caller, event) -> None:
        """The scene goes: let go of it."""
        self.setParameterNode(None)
        self.panel.sceneCloses()

    def onSceneEndClose(self, caller, event) -> None:
        """An empty scene has come."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneEndImport(self, caller, event) -> None:
        """A scene was loaded: show the study that it may hold."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Take up the parameter node of the scene."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, node) -> None:
        """Connect the panel to a parameter node, or to none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParameters)
        self._parameterNode = node
        if node is not None:
            self._parameterNodeTag = node.connectGui(self.ui)
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self.onParameters)
        self.onParameters()

    def onParameters(self, caller=None, event=None) -> None:
        """Something else was chosen."""
        if self.panel is not None:
            self.panel.updateState()


class VertebralGradingLogic(ScriptedLoadableModuleLogic):
    """What the module computes, usable from scripts without the panel."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.onLog = logging.debug
        self._keeper = None
        self._client = None
        self._job = None

    def grade(
        self,
        volumeNode,
        markupsNode,
        segmentationNode=None,
        lowest: str | None = None,
        methods: tuple[str, ...] = (),
        inProcess: bool = False,
        progress=None,
    ) -> "StudyResults":
        """Grade what is in the scene, wait, and show the findings there.

        Args:
            volumeNode: the CT, or None with a segmentation.
            markupsNode: point list with one point per vertebral body, or None to take them from the segmentation.
            segmentationNode: vertebrae, as a segmentation or a labelmap volume; it is not changed.
            lowest: level of the most caudal point, such as "L5", for points without names.
            methods: second opinions beside morphometry.
            inProcess: grade in Slicer's own process instead of the worker; for methods that need no torch.
            progress: called with (done, total, level); returning False stops and keeps the finished rows.

        Returns:
            The results in the scene; ``.report`` holds the findings.

        Raises:
            VertebralGradingError: an input cannot be used; the message says what to do.
        """
        ensureLibrary()
        from VertebralGradingLib.scene.grading import grade_here, grade_with, read_inputs

        inputs = read_inputs(volumeNode, markupsNode, segmentationNode, lowest, methods)
        if inProcess:
            return grade_here(inputs, progress)
        return grade_with(self._blockingClient(), inputs, progress)

    def startGrading(
        self,
        volumeNode,
        markupsNode,
        segmentationNode=None,
        lowest: str | None = None,
        methods: tuple[str, ...] = (),
        callbacks: "Callbacks | None" = None,
    ) -> "GradingJob":
        """Start grading and return at once; the callbacks tell what happens (see ``scene/job.py``).

        Raises:
            VertebralGradingError: an input cannot be used, or a run is going on.
        """
        ensureLibrary()
        from VertebralGradingLib.errors import InputError
        from VertebralGradingLib.panel.worker import runLater
        from VertebralGradingLib.scene.grading import read_inputs
        from VertebralGradingLib.scene.job import Callbacks, GradingJob

        if self.isGrading():
            raise InputError(_("A study is being graded."), _("Wait for it or cancel it."))
        inputs = read_inputs(volumeNode, markupsNode, segmentationNode, lowest, methods)
        worker = self.keeper().worker()
        self._job = GradingJob(inputs, worker, callbacks or Callbacks(), runLater, slicer.app.temporaryPath)
        self._job.start()
        return self._job

    def getParameterNode(self) -> VertebralGradingParameterNode:
        """Return what is chosen in the panel."""
        return VertebralGradingParameterNode(super().getParameterNode())

    def keeper(self) -> "WorkerKeeper":
        """Return what has the worker process."""
        if self._keeper is None:
            from VertebralGradingLib.panel.worker import WorkerKeeper

            self._keeper = WorkerKeeper(self.onLog)
        return self._keeper

    def isGrading(self) -> bool:
        """Return whether a run that was started with ``startGrading`` goes on."""
        return self._job is not None and self._job.running

    def cancelGrading(self) -> None:
        """Cancel the run that goes on, if one does; finished rows are kept."""
        if self._job is not None:
            self._job.cancel()

    def close(self) -> None:
        """End the worker processes; a later run starts new ones."""
        if self.isGrading():
            from VertebralGradingLib.errors import InputError

            self._job.abandon(InputError(_("The module was closed while grading."), _("Grade again.")))
        if self._keeper is not None:
            self._keeper.stop()
        if self._client is not None:
            self._client.close()
        self._keeper = self._client = self._job = None

    def _blockingClient(self) -> "WorkerClient":
        from VertebralGradingLib.backend.blocking import WorkerClient
        from VertebralGradingLib.panel.worker import pythonProgram

        if self._client is not None and self._client.process.poll() is not None:
            self._client.close()
            self._client = None
        if self._client is None:
            self._client = WorkerClient(pythonProgram(), temporary=slicer.app.temporaryPath)
        return self._client

    def gradeFiles(self, ctPath: str, centroidsPath: str, outputFolder: str) -> "Report":
        """Grade a CT file with one centroid per vertebral body (.mrk.json and others), and write the results.

        Raises:
            VertebralGradingError: an input cannot be used; the message says what to do.
        """
        ensureLibrary()
        from VertebralGradingLib.files import grade_files

        report = grade_files(
            ct_path=str(ctPath),
            centroids_path=str(centroidsPath),
            mask_path=None,
            out_dir=str(outputFolder),
            bodies_by="classical",  # no torch in Slicer itself
        )
        logging.info("VertebralGrading: findings for %d vertebrae", len(report.findings))
        return report


class VertebralGradingTest(ScriptedLoadableModuleTest):
    """The module's self-test: the same file runs in Slicer and outside it."""

    def setUp(self) -> None:
        """Start from an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Run every test: the button "Reload and Test"."""
        for test in (self.test_gradeDemo, self.test_gradeScene):
            self.setUp()
            test()

    def test_gradeDemo(self) -> None:
        """The synthetic spine has a fracture, and it is found."""
        ensureLibrary()
        from VertebralGradingLib.demo import write_demo_case

        self.delayDisplay(_("Grading a synthetic spine"))
        with tempfile.TemporaryDirectory(dir=slicer.app.temporaryPath, ignore_cleanup_errors=True) as folder:
            ctPath, centroidsPath = write_demo_case(folder)
            report = VertebralGradingLogic().gradeFiles(ctPath, centroidsPath, str(Path(folder) / "results"))
        graded = [finding for finding in report.findings if finding.grade is not None]
        self.assertTrue(graded, "no vertebra was graded")
        self.assertGreaterEqual(max(finding.grade for finding in graded), 1)
        self.delayDisplay(_("Test passed"))

    def test_gradeScene(self) -> None:
        """What is in the scene is graded in the worker, and the findings are shown there."""
        ensureLibrary()
        self.delayDisplay(_("Grading a synthetic spine in the scene"))
        volumeNode, markupsNode = loadSyntheticSpine()
        logic = VertebralGradingLogic()
        try:
            results = logic.grade(volumeNode, markupsNode)
        finally:
            logic.close()
        self.assertEqual(results.table_node.GetNumberOfRows(), markupsNode.GetNumberOfControlPoints())
        self.assertEqual(results.segmentation_node.GetSegmentation().GetSegment("L1").GetName(), "L1 grade 2")
        self.delayDisplay(_("Test passed"))
