"""The module's logic on the real scene with the real worker: what it gives, and what it does when things go wrong."""

from __future__ import annotations

import importlib.util
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from host import qt_actions
from host.cases import add_points, add_transform, add_volume, add_warp, demo, observers
from host.panel_driver import is_running

from VertebralGradingLib.demo import WEDGED, write_demo_case
from VertebralGradingLib.errors import CentroidError, VertebralGradingError
from VertebralGradingLib.findings.states import NOT_REACHED
from VertebralGradingLib.pipeline import grade
from VertebralGradingLib.spine.spine import build_spine

MODULE = Path(__file__).resolve().parents[2] / "VertebralGrading" / "VertebralGrading.py"
CT, POINTS = demo()
POINTS = POINTS[1:5]  # four vertebrae are enough for what a run does, the wedged one among them
LEVELS = [point.level for point in POINTS]
WAIT_S = 120


@dataclass
class Run:
    """What a run told."""

    rows: list[str] = field(default_factory=list)
    done: list[tuple[Any, bool]] = field(default_factory=list)
    errors: list[tuple[VertebralGradingError, Any]] = field(default_factory=list)
    on_row: Callable[[], None] | None = None

    def callbacks(self) -> Any:
        from VertebralGradingLib.scene.job import Callbacks

        def row(finding: Any) -> None:
            self.rows.append(finding.level)
            if self.on_row is not None:
                self.on_row()

        return Callbacks(
            on_finding=row,
            on_done=lambda results, cancelled: self.done.append((results, cancelled)),
            on_error=lambda error, results: self.errors.append((error, results)),
        )

    @property
    def ended(self) -> bool:
        return bool(self.done or self.errors)


@pytest.fixture
def module(host: SimpleNamespace) -> Any:
    spec = importlib.util.spec_from_file_location("VertebralGrading", MODULE)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def logic(module: Any) -> Iterator[Any]:
    """A logic that leaves no process, no observer and no temporary file behind."""
    import slicer

    counted = observers(slicer.mrmlScene)
    before = set(os.listdir(slicer.app.temporaryPath))
    made = module.VertebralGradingLogic()
    yield made
    pid = _pid(made)
    made.close()
    if pid:
        qt_actions.wait_until(lambda: not is_running(pid), 30, "the end of the worker")
    qt_actions.settle()
    assert observers(slicer.mrmlScene) == counted
    qt_actions.wait_until(lambda: set(os.listdir(slicer.app.temporaryPath)) == before, 30, "the end of temporary files")


def _pid(logic: Any) -> int:
    keeper = logic._keeper
    return keeper._process.processId() if keeper is not None and keeper._process is not None else 0


def _nodes() -> tuple[Any, Any]:
    return add_volume(CT, "demo"), add_points(POINTS)


def _grades(report: Any) -> dict[str, int | None]:
    return {finding.level: finding.grade for finding in report.findings}


def _finished(report: Any) -> list[str]:
    return [finding.level for finding in report.findings if finding.state != NOT_REACHED]


@cache
def _here() -> Any:
    """What grading in this process gives; nobody changes it."""
    return grade(CT, build_spine(POINTS))


def test_blocking_in_the_worker_and_in_process_give_the_same_findings(logic: Any) -> None:
    volume, markups = _nodes()
    told: list[tuple[int, int, str]] = []
    first = logic.grade(volume, markups, progress=lambda *step: told.append(step))
    expected = _here().to_dict()
    assert first.report.to_dict()["findings"] == expected["findings"]
    assert first.report.study == expected["study"], "the study is that of the whole CT, not of the crop"
    assert told[-1][:2] == (len(LEVELS), len(LEVELS))
    second = logic.grade(volume, markups, inProcess=True)
    assert second.report.to_dict()["findings"] == expected["findings"]
    assert second.segmentation_node.GetSegmentation().GetNumberOfSegments() == len(LEVELS)


def test_no_network_runs_in_slicers_own_process(logic: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever the default is: PyTorch stays in the worker."""
    from VertebralGradingLib.segmentation import finders

    monkeypatch.setenv(finders.ENVIRONMENT, "auto")
    monkeypatch.setattr(finders, "_network", lambda device: pytest.fail("the network was loaded"))
    ct, points = write_demo_case(tmp_path)
    by_files = logic.gradeFiles(ct, points, str(tmp_path / "out"))
    in_process = logic.grade(*_nodes(), inProcess=True).report
    for report in (by_files, in_process):
        assert report.provenance["bodies_found_by"] == {"source": "classical"}
        assert _grades(report)[WEDGED] == 2


def test_asynchronous_rows_come_one_by_one_and_the_worker_stays_warm(logic: Any) -> None:
    volume, markups = _nodes()
    run = Run()
    job = logic.startGrading(volume, markups, callbacks=run.callbacks())
    assert job.running
    qt_actions.wait_until(lambda: run.ended, WAIT_S, "the result")
    assert not run.errors
    assert run.rows == LEVELS
    results, cancelled = run.done[0]
    assert not cancelled
    assert results.report.to_dict()["findings"] == _here().to_dict()["findings"]
    pid = _pid(logic)
    again = Run()
    logic.startGrading(volume, markups, callbacks=again.callbacks())
    qt_actions.wait_until(lambda: again.ended, WAIT_S, "the second result")
    assert _pid(logic) == pid, "one warm worker"
    assert again.done[0][0].table_node is results.table_node


def test_a_second_run_is_refused_and_the_first_goes_on(logic: Any) -> None:
    volume, markups = _nodes()
    run = Run()
    logic.startGrading(volume, markups, callbacks=run.callbacks())
    with pytest.raises(VertebralGradingError, match="being graded") as caught:
        logic.startGrading(volume, markups)
    assert caught.value.hint
    qt_actions.wait_until(lambda: run.ended, WAIT_S, "the result")
    assert run.done


def test_cancel_keeps_the_finished_rows_and_the_worker(logic: Any) -> None:
    volume, markups = _nodes()
    run = Run(on_row=logic.cancelGrading)
    logic.startGrading(volume, markups, callbacks=run.callbacks())
    qt_actions.wait_until(lambda: run.ended, WAIT_S, "the end of the run")
    results, cancelled = run.done[0]
    assert cancelled
    assert 1 <= len(_finished(results.report)) < len(LEVELS)
    assert _finished(results.report) == LEVELS[: len(_finished(results.report))]
    assert [finding.level for finding in results.report.findings] == LEVELS, "the rest is told as not reached"
    assert results.table_node.GetNumberOfRows() == len(LEVELS)
    assert not results.report.study["complete"]
    assert logic._keeper.isAlive()


def test_cancel_before_the_worker_was_asked(logic: Any) -> None:
    volume, markups = _nodes()
    run = Run()
    logic.startGrading(volume, markups, callbacks=run.callbacks())
    logic.cancelGrading()
    qt_actions.wait_until(lambda: run.ended, WAIT_S, "the end of the run")
    assert "cancelled" in run.errors[0][0].message
    assert not run.rows


def test_a_cancelled_run_does_not_take_the_place_of_a_finished_one(logic: Any) -> None:
    volume, markups = _nodes()
    whole = logic.grade(volume, markups, inProcess=True).report.to_dict()
    run = Run(on_row=logic.cancelGrading)
    logic.startGrading(volume, markups, callbacks=run.callbacks())
    qt_actions.wait_until(lambda: run.ended, WAIT_S, "the end of the run")
    results, cancelled = run.done[0]
    assert cancelled
    assert results.report.to_dict() == whole
    assert results.table_node.GetNumberOfRows() == len(LEVELS)


@pytest.mark.parametrize("where", ["writing", "showing"])
def test_a_fault_of_the_program_ends_the_run_and_is_told(
    logic: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    import VertebralGradingLib.scene.job as jobs
    import VertebralGradingLib.scene.results as showing

    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("a fault")

    if where == "writing":
        monkeypatch.setattr(jobs, "inputs_message", broken)
        monkeypatch.setattr("threading.excepthook", lambda args: None)
    else:
        monkeypatch.setattr(showing, "fill_patch", broken)
    run = Run()
    logic.startGrading(*_nodes(), callbacks=run.callbacks())
    if where == "showing":  # the trace is printed too, as for any fault in a slot
        with pytest.raises(ValueError, match="a fault"):
            qt_actions.wait_until(lambda: run.ended and False, WAIT_S, "the fault")
    else:
        qt_actions.wait_until(lambda: run.ended, WAIT_S, "the end of the run")
    assert "ValueError" in run.errors[0][0].message
    assert not logic.isGrading()


def test_voxels_do_not_stay_when_the_image_goes_while_they_are_written(
    logic: Any, host: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    import VertebralGradingLib.scene.job as jobs

    real = jobs.inputs_message

    def slow(*arguments: Any, **options: Any) -> Any:
        fields = real(*arguments, **options)
        time.sleep(0.5)
        return fields

    monkeypatch.setattr(jobs, "inputs_message", slow)
    volume, markups = _nodes()
    run = Run()
    logic.startGrading(volume, markups, callbacks=run.callbacks())
    host.slicer.mrmlScene.RemoveNode(volume)
    assert "removed" in run.errors[0][0].message
    folder = Path(host.slicer.app.temporaryPath)
    qt_actions.wait_until(lambda: not list(folder.glob("vertebral-grading-*")), 30, "the voxels to go")


def test_a_worker_that_does_not_listen_is_ended(logic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import VertebralGradingLib.backend.qprocess as transport
    import VertebralGradingLib.scene.job as jobs

    monkeypatch.setattr(jobs, "PATIENCE_MS", 200)
    monkeypatch.setattr(transport, "PATIENCE_MS", 200)
    volume, markups = _nodes()

    def freeze() -> None:
        if logic.isGrading():
            os.kill(_pid(logic), signal.SIGSTOP)
            logic.cancelGrading()

    run = Run(on_row=freeze)
    logic.startGrading(volume, markups, callbacks=run.callbacks())
    qt_actions.wait_until(lambda: run.ended, WAIT_S, "the end of the run")
    results, cancelled = run.done[0]
    assert cancelled
    assert _finished(results.report) == run.rows
    assert [finding.level for finding in results.report.findings] == LEVELS
    assert not logic._keeper.isAlive()


def test_a_killed_worker_is_told_rows_are_kept_and_the_next_run_works(logic: Any) -> None:
    volume, markups = _nodes()
    run = Run(on_row=lambda: os.kill(_pid(logic), signal.SIGKILL))
    logic.startGrading(volume, markups, callbacks=run.callbacks())
    qt_actions.wait_until(lambda: run.ended, WAIT_S, "the end of the run")
    error, results = run.errors[0]
    assert "stopped" in error.message
    assert error.hint
    assert _finished(results.report) == run.rows
    assert [finding.level for finding in results.report.findings] == LEVELS
    assert results.table_node.GetNumberOfRows() == len(LEVELS)
    again = Run()
    logic.startGrading(volume, markups, callbacks=again.callbacks())
    qt_actions.wait_until(lambda: again.ended, WAIT_S, "the second result")
    assert again.done[0][0].table_node.GetNumberOfRows() == len(LEVELS)


def test_a_killed_blocking_worker_is_told_and_replaced(logic: Any) -> None:
    volume, markups = _nodes()

    def kill(done: int, total: int, level: str) -> None:
        os.kill(logic._client.process.pid, signal.SIGKILL)

    with pytest.raises(VertebralGradingError, match="stopped"):
        logic.grade(volume, markups, progress=kill)
    assert len(logic.grade(volume, markups).report.findings) == len(LEVELS)


@pytest.mark.parametrize("what", ["scene", "volume"])
def test_scene_closed_or_ct_removed_in_mid_run(logic: Any, host: SimpleNamespace, what: str) -> None:
    volume, markups = _nodes()

    def disturb() -> None:
        if what == "scene":
            host.application.clear()
        else:
            host.slicer.mrmlScene.RemoveNode(volume)

    run = Run(on_row=disturb)
    logic.startGrading(volume, markups, callbacks=run.callbacks())
    qt_actions.wait_until(lambda: run.ended, WAIT_S, "the end of the run")
    error, results = run.errors[0]
    assert ("closed" if what == "scene" else "removed") in error.message
    assert error.hint
    assert results is None
    assert not host.slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode")
    again = Run()
    logic.startGrading(*_nodes(), callbacks=again.callbacks())
    qt_actions.wait_until(lambda: again.ended, WAIT_S, "the second result")
    assert len(again.done[0][0].report.findings) == len(LEVELS)
    assert len(run.rows) == 1, "nothing more was told of the first run"


def test_centroids_removed_in_mid_run_do_no_harm(logic: Any, host: SimpleNamespace) -> None:
    volume, markups = _nodes()
    run = Run()
    logic.startGrading(volume, markups, callbacks=run.callbacks())
    host.slicer.mrmlScene.RemoveNode(markups)
    qt_actions.wait_until(lambda: run.ended, WAIT_S, "the result")
    assert len(run.done[0][0].report.findings) == len(LEVELS)
    assert run.done[0][0].centroids_node is None


def test_a_method_that_is_not_there_is_a_typed_error(logic: Any) -> None:
    volume, markups = _nodes()
    run = Run()
    logic.startGrading(volume, markups, methods=("no_such_method",), callbacks=run.callbacks())
    qt_actions.wait_until(lambda: run.ended, WAIT_S, "the error")
    assert run.errors[0][0].code == "method"
    assert run.errors[0][0].hint


def test_a_full_temporary_folder_is_told(logic: Any, capfd: pytest.CaptureFixture[str]) -> None:
    volume, markups = _nodes()
    run = Run()
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, was[1]))
        logic.startGrading(volume, markups, callbacks=run.callbacks())
        qt_actions.wait_until(lambda: run.ended, WAIT_S, "the error")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
        signal.signal(signal.SIGXFSZ, old)
    assert run.errors[0][0].code == "output"
    assert "Free some space" in run.errors[0][0].hint


def test_a_temporary_folder_that_is_gone_is_told(logic: Any, host: SimpleNamespace) -> None:
    volume, markups = _nodes()
    run = Run()
    was = host.slicer.app.temporaryPath
    with tempfile.TemporaryDirectory() as folder:
        host.slicer.app.temporaryPath = str(Path(folder) / "not there")
        try:
            logic.startGrading(volume, markups, callbacks=run.callbacks())
            qt_actions.wait_until(lambda: run.ended, WAIT_S, "the error")
        finally:
            host.slicer.app.temporaryPath = was
    assert run.errors[0][0].code == "output"


def test_a_python_that_cannot_start_is_told(logic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import VertebralGradingLib.panel.worker as starting

    monkeypatch.setattr(starting, "pythonProgram", lambda: "/no/such/python")
    run = Run()
    logic.startGrading(*_nodes(), callbacks=run.callbacks())
    qt_actions.wait_until(lambda: run.ended, 30, "the error")
    assert "could not be started" in run.errors[0][0].message


def test_rotated_ct_and_points_give_the_same_grades(logic: Any) -> None:
    volume, markups = _nodes()
    turn = np.eye(4)
    c, s = np.cos(0.3), np.sin(0.3)
    turn[:3, :3] = [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    turn[:3, 3] = (40, -25, 300)
    move = add_transform(turn)
    volume.SetAndObserveTransformNodeID(move.GetID())
    with pytest.raises(CentroidError, match="inside the image"):
        logic.grade(volume, markups)  # the points are still in the old frame
    markups.SetAndObserveTransformNodeID(move.GetID())
    results = logic.grade(volume, markups)
    expected = _here()
    assert _grades(results.report) == _grades(expected)
    for mine, other in zip(results.report.findings, expected.findings, strict=True):
        np.testing.assert_allclose(mine.center_ras_mm, turn[:3, :3] @ other.center_ras_mm + turn[:3, 3], atol=0.5)
        for position, height in other.heights_mm.items():
            assert mine.heights_mm[position] == pytest.approx(height, abs=0.4)


def test_a_warped_ct_is_hardened_and_graded(logic: Any, host: SimpleNamespace) -> None:
    volume, markups = _nodes()
    warp = add_warp(shift_mm=6.0)
    volume.SetAndObserveTransformNodeID(warp.GetID())
    markups.SetAndObserveTransformNodeID(warp.GetID())
    count = host.slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    results = logic.grade(volume, markups)
    assert _grades(results.report)[WEDGED] == 2
    patches = len(results.report.findings)
    assert host.slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == count + patches
    assert results.segmentation_node.GetTransformNodeID() is None


def test_closing_the_module_in_mid_run_ends_the_worker(logic: Any) -> None:
    run = Run()
    logic.startGrading(*_nodes(), callbacks=run.callbacks())
    qt_actions.wait_until(lambda: bool(run.rows), WAIT_S, "the first row")
    pid = _pid(logic)
    logic.close()
    assert run.errors
    assert not is_running(pid)


def test_the_worker_speaks_this_interpreter(module: Any) -> None:
    from VertebralGradingLib.panel.worker import pythonProgram

    assert pythonProgram() == sys.executable
