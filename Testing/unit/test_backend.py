"""The worker over real pipes: results one by one, cancel, typed errors, and no orphan."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from VertebralGradingLib.backend.blocking import WorkerClient
from VertebralGradingLib.backend.protocol import PROTOCOL, RemoteError, decode, encode
from VertebralGradingLib.backend.session import Handlers, Session, worker_command, worker_environment
from VertebralGradingLib.demo import demo_case
from VertebralGradingLib.errors import InputError
from VertebralGradingLib.points import Point
from VertebralGradingLib.volume import Volume

CT, POINTS = demo_case()


def test_grade_through_the_worker_equals_grade_in_process() -> None:
    from VertebralGradingLib.pipeline import grade
    from VertebralGradingLib.spine import build_spine

    done, rows = [], []
    with WorkerClient() as client:
        answer = client.grade(
            CT, POINTS, on_progress=lambda n, total, level: done.append((n, total, level)), on_finding=rows.append
        )
    here = grade(CT, build_spine(POINTS)).to_dict()
    assert answer["report"]["findings"] == here["findings"]
    assert not answer["cancelled"]
    assert [row["level"] for row in rows] == [point.level for point in POINTS]
    assert done[0] == (0, len(POINTS), "T11")
    assert done[-1][:2] == (len(POINTS), len(POINTS))


def test_cancel_keeps_finished_rows_and_the_worker_lives_on() -> None:
    with WorkerClient() as client:
        answer = client.grade(CT, POINTS, on_finding=lambda row: client.cancel())
        levels = [finding["level"] for finding in answer["report"]["findings"]]
        assert answer["cancelled"]
        assert 1 <= len(levels) < len(POINTS)
        assert levels == [point.level for point in POINTS][: len(levels)]
        assert client.explain(CT, POINTS[:2], level="T11")["explanation"]["height_mm"]


def test_errors_are_typed_and_have_a_hint() -> None:
    mr = Volume(np.full((40, 40, 40), 300, dtype=np.int16), np.eye(4))
    with WorkerClient() as client:
        for points, code in (([Point((20.0, 20.0, 20.0))], "input"), ([], "centroids")):
            with pytest.raises(RemoteError) as caught:
                client.grade(mr, points)
            assert caught.value.code == code
            assert caught.value.hint
        with pytest.raises(RemoteError) as caught:
            client.explain(CT, POINTS, level="L9")
        assert caught.value.code == "centroids"
        assert client.info()["methods"]


def test_a_missing_image_file_is_an_input_error(tmp_path: Path) -> None:
    with WorkerClient() as client:
        with pytest.raises(RemoteError) as caught:
            client._wait("grade", Handlers(), ct={"array": str(tmp_path / "none.npy"), "affine": np.eye(4).tolist()})
        assert caught.value.code == "input"


def test_a_killed_worker_is_reported() -> None:
    with WorkerClient() as client:
        pid = client.process.pid

        def kill(done: int, total: int, level: str) -> None:
            os.kill(pid, signal.SIGKILL)

        with pytest.raises(RemoteError) as caught:
            client.grade(CT, POINTS, on_progress=kill)
        assert caught.value.code == "worker"
        with pytest.raises(RemoteError):
            client.info()


def test_the_worker_ends_with_stdin_even_while_it_computes(tmp_path: Path) -> None:
    np.save(tmp_path / "ct.npy", CT.array)
    request = {
        "id": 1,
        "type": "grade",
        "ct": {"array": str(tmp_path / "ct.npy"), "affine": CT.affine.tolist()},
        "points": [{"position": list(point.position), "level": point.level} for point in POINTS],
    }
    process = subprocess.Popen(
        worker_command(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=worker_environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(encode(request))
    process.stdin.flush()
    kinds = []
    while "progress" not in kinds:
        kinds.append(decode(process.stdout.readline())["type"])
    process.stdin.close()
    started = time.monotonic()
    assert process.wait(timeout=30) == 0
    rest = process.stdout.read()
    process.stdout.close()
    assert process.stderr is not None
    process.stderr.close()
    assert b'"result"' not in rest, f"it went on for {time.monotonic() - started:.1f} s"


def test_printing_libraries_cannot_break_the_protocol() -> None:
    code = (
        "import os, sys, threading\n"
        "from VertebralGradingLib.backend import server\n"
        "original = server.Server._info\n"
        "def noisy(self, request):\n"
        "    print('library chatter'); os.write(1, b'more chatter\\n')\n"
        "    return original(self, request)\n"
        "server.Server._info = noisy\n"
        "server.main()\n"
    )
    command = [worker_command()[0], "-c", code]
    run = subprocess.run(
        command,
        input=encode({"id": 7, "type": "info"}) + encode({"id": 8, "type": "shutdown"}),
        capture_output=True,
        env=worker_environment(),
        check=True,
    )
    messages = [json.loads(line) for line in run.stdout.splitlines()]
    assert [message["type"] for message in messages] == ["ready", "result"]
    assert messages[0]["protocol"] == PROTOCOL
    assert b"library chatter" in run.stderr
    assert b"more chatter" in run.stderr


def test_bad_lines_are_answered_and_survived() -> None:
    lines = b"not json\n" + b"[1]\n" + encode({"id": 3, "type": "dance"}) + encode({"id": 4, "type": "info"})
    run = subprocess.run(
        worker_command(),
        input=lines + encode({"id": 5, "type": "shutdown"}),
        capture_output=True,
        env=worker_environment(),
        check=True,
    )
    kinds = [json.loads(line)["type"] for line in run.stdout.splitlines()]
    assert sorted(kinds) == ["error", "error", "error", "ready", "result"]


def test_session_takes_bytes_in_any_pieces() -> None:
    sent: list[bytes] = []
    session = Session(sent.append)
    results, errors = [], []
    first = session.request("info", Handlers(on_result=results.append, on_error=errors.append))
    second = session.request("info", Handlers(on_result=results.append, on_error=errors.append))
    stream = encode({"id": None, "type": "ready", "protocol": PROTOCOL}) + encode({"id": first, "type": "result"})
    for place in range(0, len(stream), 5):
        session.feed(stream[place : place + 5])
    assert session.ready is not None
    assert len(results) == 1
    session.lost("test")
    assert errors[0].code == "worker"
    assert not session.busy
    assert decode(sent[1])["id"] == second
    with pytest.raises(InputError):
        session.feed(b"garbage\n")
