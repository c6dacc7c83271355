"""The project's own worker, run over the host's QProcess: rows arrive one by one while the event loop runs on."""

from __future__ import annotations

import sys

import pytest
from host import qt_actions
from host.panel_driver import is_running

from VertebralGradingLib.backend.protocol import points_message, volume_message, write_array
from VertebralGradingLib.backend.qprocess import QProcessWorker
from VertebralGradingLib.backend.session import Handlers, worker_environment
from VertebralGradingLib.demo import LEVELS, WEDGED, demo_case


def environment(qt):
    """The worker's environment, as the panel sets it."""
    variables = qt.QProcessEnvironment.systemEnvironment()
    for name, value in worker_environment().items():
        variables.insert(name, value)
    return variables


@pytest.fixture
def worker(host):
    process = host.qt.QProcess()
    process.setProcessEnvironment(environment(host.qt))
    log, ended = [], []
    made = QProcessWorker(process, sys.executable, log.append, ended.append)
    made.start()
    yield made, process, ended
    made.stop()


def test_rows_arrive_one_by_one(host, worker, tmp_path, capsys):
    made, process, ended = worker
    qt_actions.wait_until(lambda: made.session.ready is not None, 60, "the worker's first word")
    pid = process.processId()
    assert is_running(pid)
    ticks, rows, results = [], [], []
    gap = qt_actions.LongestGap()
    timer = host.qt.QTimer()
    timer.setInterval(10)
    timer.connect("timeout()", lambda: ticks.append(len(rows)))
    timer.start()
    ct, points = demo_case()
    made.request(
        "grade",
        Handlers(on_finding=lambda finding: rows.append(finding["level"]), on_result=results.append),
        points=points_message(points),
        ct=volume_message(write_array(ct.array, tmp_path, "ct"), ct.affine),
        lowest=None,
        methods=["morphometry"],
    )
    with gap:
        qt_actions.wait_until(lambda: bool(results), 120, "the result")
    timer.stop()
    assert sorted(rows) == sorted(LEVELS)
    grades = {finding["level"]: finding["grade"] for finding in results[0]["report"]["findings"]}
    assert grades[WEDGED] == 2
    assert sum(grades.values()) == 2
    # The timer saw the table grow: rows came in between its ticks, not all at the end.
    assert len(set(ticks)) > 2
    made.stop()
    assert process.state() == host.qt.QProcess.NotRunning
    assert not is_running(pid)
    assert ended == []
    with capsys.disabled():
        print(f"\n{len(rows)} rows, {len(ticks)} ticks of the timer, longest gap {gap.seconds * 1000:.0f} ms")


def test_worker_that_dies_is_told(host, worker, tmp_path):
    made, process, ended = worker
    qt_actions.wait_until(lambda: made.session.ready is not None, 60, "the worker's first word")
    ct, points = demo_case()
    errors, rows = [], []
    made.request(
        "grade",
        Handlers(on_finding=rows.append, on_error=errors.append),
        points=points_message(points),
        ct=volume_message(write_array(ct.array, tmp_path, "ct"), ct.affine),
        lowest=None,
        methods=["morphometry"],
    )
    qt_actions.wait_until(lambda: bool(rows), 120, "the first row")
    process.kill()
    qt_actions.wait_until(lambda: bool(ended), 30, "the end of the worker")
    assert len(errors) == 1
    assert not made.session.busy
