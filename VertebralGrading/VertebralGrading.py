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
    from VertebralGradingLib.findings import Report


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
                "VertebralGradingLogic().gradeFiles(ctPath, centroidsPath, outputFolder)\n\n"
                "For research only, not for clinical use."
            )
        )
        self.introductionLabel.setWordWrap(True)
        self.layout.addWidget(self.introductionLabel)
        self.layout.addStretch(1)


class VertebralGradingLogic(ScriptedLoadableModuleLogic):
    """What the module computes, usable from scripts without the panel."""

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
