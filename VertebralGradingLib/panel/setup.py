"""What is installed: PyTorch, devices, models of learned methods. Looked for in the worker, never in Slicer itself."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from VertebralGradingLib.backend.session import Handlers, Message
from VertebralGradingLib.errors import MethodError, VertebralGradingError
from VertebralGradingLib.models.registry import Model, delete_model, import_model, list_models
from VertebralGradingLib.panel.worker import pythonProgram
from VertebralGradingLib.resources import resource

TORCH = "torch>=2.1"
SETTING = "VertebralGrading/device"


class SetupPart:
    """The section "Setup".

    Args:
        ui: the panel's widgets.
        logic: the module's logic, which has the worker.
        change: runs an action and shows its error, if it has one.
        log: takes what an installation says.
    """

    def __init__(
        self,
        ui: Any,
        logic: Any,
        change: Callable[[Callable[[], None]], None],
        log: Callable[[str], None],
    ) -> None:
        self._ui = ui
        self._logic = logic
        self._keeper = logic.keeper()
        self._change = change
        self._log = log
        self._installation: Any = None
        self._isOver = False
        titles = [_("Model"), _("Version"), _("Size"), _("Checksum"), _("Figures"), _("State")]
        ui.modelsTable.setColumnCount(len(titles))
        ui.modelsTable.setHorizontalHeaderLabels(titles)
        ui.modelsTable.horizontalHeader().setStretchLastSection(True)
        ui.modelsTable.verticalHeader().setVisible(False)
        self._showDevices(["cpu"])
        ui.deviceComboBox.connect("activated(int)", self.onDevice)
        ui.setupCollapsibleButton.connect("contentsCollapsed(bool)", self.onCollapsed)
        ui.probeButton.connect("clicked()", self.onProbe)
        ui.installButton.connect("clicked()", self.onInstall)
        ui.importModelButton.connect("clicked()", self.onImportModel)
        ui.deleteModelButton.connect("clicked()", self.onDeleteModel)
        ui.modelsTable.connect("itemSelectionChanged()", self.updateState)
        self.updateState()

    def close(self) -> None:
        """Touch no widget any more; an installation goes on to its end by itself."""
        self._isOver = True

    def onCollapsed(self, collapsed: bool) -> None:
        """Look when the section is opened for the first time."""
        if not collapsed and self._ui.torchLabel.text == _("not looked for yet"):
            self.onProbe()
        if not collapsed:
            self._showModels()

    def onProbe(self) -> None:
        """Ask the worker what there is."""
        self._ui.torchLabel.text = _("looking...")
        self._showModels()
        self._change(self._ask)

    def onDevice(self, index: int) -> None:
        """Remember the device, and ask whether it can be used."""
        slicer.app.settings().setValue(SETTING, str(self._ui.deviceComboBox.currentText))
        self.onProbe()

    def onInstall(self) -> None:
        """Install PyTorch, after asking."""
        self._change(self._install)

    def onImportModel(self) -> None:
        """Take a model from a file that the user chooses."""
        path = qt.QFileDialog.getOpenFileName(
            self._ui.importModelButton.window(), _("Import a model"), "", _("Models (*.zip);;All files (*)")
        )
        if path:
            self._change(lambda: self.importModel(str(path)))

    def importModel(self, path: str) -> None:
        """Check a model and keep it.

        Raises:
            MethodError: as :func:`models.registry.import_model`.
        """
        import_model(path)
        self._showModels()

    def onDeleteModel(self) -> None:
        """Delete the chosen model, after asking."""
        name = self._chosenModel()
        question = _("Delete the model {name} from this computer?").format(name=name)
        if name and slicer.util.confirmOkCancelDisplay(question):
            self._change(lambda: self._delete(name))

    def updateState(self) -> None:
        """Enable what can be used now."""
        self._ui.deleteModelButton.enabled = bool(self._chosenModel())

    def _ask(self) -> None:
        handlers = Handlers(on_result=self._found, on_error=self._notFound)
        device = str(self._ui.deviceComboBox.currentText)
        self._keeper.worker().session.request("info", handlers, device=None if device == "auto" else device)

    def _showDevices(self, devices: list[str]) -> None:
        """List the devices, and the one that was chosen earlier even where it is not there now."""
        chosen = str(slicer.app.settings().value(SETTING, "auto")) or "auto"
        self._ui.deviceComboBox.clear()
        self._ui.deviceComboBox.addItems(list(dict.fromkeys(("auto", *devices, chosen))))
        self._ui.deviceComboBox.setCurrentText(chosen)

    def _found(self, answer: Message) -> None:
        if self._isOver:
            return
        version = answer.get("torch")
        self._ui.torchLabel.text = (
            str(version) if version else _("not installed; morphometry works without, learned methods need it")
        )
        self._ui.deviceLabel.text = f"{answer['device']}: {answer['device_reason']}"
        self._showDevices([str(device) for device in answer["devices"]])

    def _notFound(self, error: VertebralGradingError) -> None:
        if not self._isOver:
            self._ui.torchLabel.text = ""
            self._ui.deviceLabel.text = str(error)

    def _install(self) -> None:
        """Let the PyTorch extension's installer fetch the build that fits this computer, in a process of its own.

        Raises:
            MethodError: the PyTorch extension is not installed, or an installation goes on.
        """
        if self._installation is not None:
            raise MethodError(_("PyTorch is being installed."), _("Wait until it has finished; see the log."))
        if self._logic.isGrading():
            raise MethodError(_("A study is being graded."), _("Wait for it or cancel it."))
        if not hasattr(slicer.modules, "pytorchutils"):
            raise MethodError(
                _("The extension PyTorch is not installed."),
                _("Install it in the Extensions Manager and start Slicer again. Morphometry works without it."),
            )
        question = _("Install or repair PyTorch? Up to several gigabytes are downloaded from the internet.")
        if not slicer.util.confirmOkCancelDisplay(question):
            return
        from slicer.packaging import load_requirements, pip_ensure

        needed = load_requirements(str(resource("requirements/torch_installer.txt")))
        try:
            pip_ensure(needed, requester="VertebralGrading", prompt_install=False)
        except (RuntimeError, subprocess.CalledProcessError) as error:
            raise MethodError(_("The installer of PyTorch could not be installed."), str(error)) from error
        self._keeper.stop()  # a worker that has loaded PyTorch would keep its files in use
        process = qt.QProcess()
        process.connect("readyReadStandardOutput()", self._installSays)
        process.connect("finished(int,QProcess::ExitStatus)", self._installed)
        process.connect("errorOccurred(QProcess::ProcessError)", self._installBroke)
        process.setProcessChannelMode(qt.QProcess.MergedChannels)
        self._installation = process
        self._ui.torchLabel.text = _("being installed; see the log")
        process.start(pythonProgram(), ["-m", "light_the_torch", "install", TORCH])

    def _installSays(self) -> None:
        data = bytes(self._installation.readAllStandardOutput().data())
        self._log(data.decode("utf-8", "replace"))

    def _installBroke(self, error: Any) -> None:
        if self._installation is not None and not self._installation.waitForStarted(0):
            self._installed(1, error)

    def _installed(self, code: int, status: Any) -> None:
        self._installation = None
        if self._isOver:
            return
        if code:
            self._ui.torchLabel.text = _("The installation failed; see the log.")
        else:
            self.onProbe()

    def _showModels(self) -> None:
        table, models = self._ui.modelsTable, list_models()
        table.setRowCount(len(models))
        for row, model in enumerate(models):
            cells = (
                model.name,
                model.version,
                f"{model.bytes / 1e6:.1f} MB",
                model.checksum,
                _figures(model),
                model.problem or (_("shipped") if model.place == "shipped" else _("imported")),
            )
            for column, text in enumerate(cells):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                table.setItem(row, column, item)
        self.updateState()

    def _chosenModel(self) -> str:
        row = self._ui.modelsTable.currentRow()
        item = self._ui.modelsTable.item(row, 0) if row >= 0 else None
        return "" if item is None else str(item.text())

    def _delete(self, name: str) -> None:
        delete_model(name)
        self._showModels()


def _figures(model: Model) -> str:
    """What was measured of a model, on which data."""
    if model.card is None:
        return ""
    return "; ".join(f"{figure.name} {figure.value:g} ({figure.data})" for figure in model.card.figures)
