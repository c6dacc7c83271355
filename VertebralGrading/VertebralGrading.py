"""The Slicer module: a thin shell around VertebralGradingLib, which holds the science and the panel's parts.

Importing this file imports nothing of the library, so that Slicer starts as fast as without it.
"""

import importlib.util
import logging
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

if TYPE_CHECKING:
    from VertebralGradingLib.backend.blocking import WorkerClient
    from VertebralGradingLib.findings import Report
    from VertebralGradingLib.scene.job import Callbacks, GradingJob
    from VertebralGradingLib.scene.results import StudyResults


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


class VertebralGradingWidget(ScriptedLoadableModuleWidget):
    """What the module shows in Slicer's panel."""

    def setup(self) -> None:
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = VertebralGradingLogic()
        self.introductionLabel = qt.QLabel(
            _(
                "Grades thoracic and lumbar vertebral bodies on CT, one per centroid: anterior, middle and posterior "
                "height, height loss, and the Genant grade with its interval.\n\n"
                "From the Python console:\n"
                "VertebralGradingLogic().grade(volumeNode, markupsNode)\n"
                "VertebralGradingLogic().gradeFiles(ctPath, centroidsPath, outputFolder)\n\n"
                "For research only, not for clinical use."
            )
        )
        self.introductionLabel.setWordWrap(True)
        self.layout.addWidget(self.introductionLabel)
        self.layout.addStretch(1)

    def cleanup(self) -> None:
        """End what the module has started."""
        self.logic.close()


class VertebralGradingLogic(ScriptedLoadableModuleLogic):
    """What the module computes, usable from scripts without the panel."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._keeper = None
        self._client = None
        self._job = None

    def grade(
        self,
        volumeNode,
        markupsNode,
        segmentationNode=None,
        lowest: str | None = None,
        methods: tuple[str, ...] = ("morphometry",),
        inProcess: bool = False,
        progress=None,
    ) -> "StudyResults":
        """Grade what is in the scene, wait, and show the findings there.

        Args:
            volumeNode: the CT, or None with a segmentation.
            markupsNode: point list with one point per vertebral body, or None to take them from the segmentation.
            segmentationNode: vertebrae, as a segmentation or a labelmap volume; it is not changed.
            lowest: level of the most caudal point, such as "L5", for points without names.
            methods: the first is the primary one.
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
        methods: tuple[str, ...] = ("morphometry",),
        callbacks: "Callbacks | None" = None,
    ) -> "GradingJob":
        """Start grading and return at once; the callbacks tell what happens (see ``scene/job.py``).

        Raises:
            VertebralGradingError: an input cannot be used, or a run is going on.
        """
        ensureLibrary()
        from VertebralGradingLib.errors import InputError
        from VertebralGradingLib.panel.worker import WorkerKeeper, runLater
        from VertebralGradingLib.scene.grading import read_inputs
        from VertebralGradingLib.scene.job import Callbacks, GradingJob

        if self.isGrading():
            raise InputError(_("A study is being graded."), _("Wait for it or cancel it."))
        inputs = read_inputs(volumeNode, markupsNode, segmentationNode, lowest, methods)
        if self._keeper is None:
            self._keeper = WorkerKeeper(logging.debug)
        self._job = GradingJob(
            inputs, self._keeper.worker(), callbacks or Callbacks(), runLater, slicer.app.temporaryPath
        )
        self._job.start()
        return self._job

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
        """Grade the vertebrae of a CT file.

        Args:
            ctPath: the CT, in any format that SimpleITK reads.
            centroidsPath: one point per vertebral body, for example a Slicer markups file (.mrk.json).
            outputFolder: where the results are written.

        Returns:
            The findings of the study, one per vertebra.

        Raises:
            VertebralGradingError: an input cannot be used; the message says what to do.
        """
        ensureLibrary()
        from VertebralGradingLib.files import grade_files

        report = grade_files(
            ct_path=str(ctPath), centroids_path=str(centroidsPath), mask_path=None, out_dir=str(outputFolder)
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
        self.setUp()
        self.test_gradeDemo()

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
