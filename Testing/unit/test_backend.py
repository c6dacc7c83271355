"""The worker over real pipes: results one by one, cancel, typed errors, and no orphan."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from VertebralGradingLib.backend.blocking import WorkerClient
from VertebralGradingLib.backend.protocol import PROTOCOL, RemoteError, decode, encode
from VertebralGradingLib.backend.session import Handlers, Session, worker_command, worker_environment
from VertebralGradingLib.backend.temporary import PREFIX, sweep
from VertebralGradingLib.demo import demo_case
from VertebralGradingLib.errors import OutputError
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.spine.points import Point

CT, POINTS = demo_case()
POINTS = POINTS[:4]  # the protocol is asked, not the spine: T11 to L2, the wedged L1 among them


def test_grade_through_the_worker_equals_grade_in_process() -> None:
    from VertebralGradingLib.pipeline import grade
    from VertebralGradingLib.spine.spine import build_spine

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
        findings = answer["report"]["findings"]
        reached = [finding["state"] != "not reached" for finding in findings]
        assert answer["cancelled"]
        assert [finding["level"] for finding in findings] == [point.level for point in POINTS]
        assert 1 <= sum(reached) < len(POINTS)
        assert reached == sorted(reached, reverse=True)
        assert answer["report"]["summary"]["n_assessed"] == sum(reached)
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
    third = session.request("info", Handlers(on_result=results.append))
    session.feed(b"a launcher's notice\n[1]\n" + encode({"id": third, "type": "result"}))
    assert session.unreadable == 2
    assert len(results) == 2, "a line that is no message loses none that is"


def test_a_handler_that_raises_loses_no_message() -> None:
    session = Session(lambda data: None)
    results = []

    def fail(*step: object) -> None:
        raise RuntimeError("in a handler")

    first = session.request("grade", Handlers(on_progress=fail, on_result=results.append))
    progress = encode({"id": first, "type": "progress", "done": 0, "total": 1, "level": "L1"})
    with pytest.raises(RuntimeError, match="in a handler"):
        session.feed(progress + encode({"id": first, "type": "result"}))
    assert len(results) == 1
    assert not session.busy


def test_a_callback_that_raises_reaches_the_caller_and_the_client_goes_on() -> None:
    threads = []

    def fail(done: int, total: int, level: str) -> None:
        threads.append(threading.current_thread())
        raise KeyError("in a callback")

    with WorkerClient() as client:
        with pytest.raises(KeyError):
            client.grade(CT, POINTS, on_progress=fail)
        assert threads == [threading.main_thread()], "callbacks come on the caller's own thread"
        assert len(client.grade(CT, POINTS[:2])["report"]["findings"]) == 2


def test_the_first_word_can_be_waited_for() -> None:
    with WorkerClient() as client:
        assert client.wait_ready()["protocol"] == PROTOCOL
    with WorkerClient(python="/bin/false") as client, pytest.raises(RemoteError, match="stopped"):
        client.wait_ready()


def test_bodies_of_one_request_outlive_the_next() -> None:
    with WorkerClient() as client:
        first = client.grade(CT, POINTS[:2], bodies=True)["bodies"]
        voxels = np.array(first.volume.array)
        client.grade(CT, POINTS[2:4], bodies=True)
        np.testing.assert_array_equal(first.volume.array, voxels)
    assert set(first.names.values()) == {"T11", "T12"}


def test_options_of_an_explanation_are_checked_and_gaps_are_null() -> None:
    with WorkerClient() as client:
        seen = client.explain(CT, POINTS, level="L1", kind="height_loss_map", method="neighbours")["explanation"]
        row = seen["loss"][0]
        assert None in row and any(isinstance(one, float) for one in seen["loss"][len(seen["loss"]) // 2])
        for options in ({"study": 1}, {"level": "L2"}, "all", {"colour": "red"}):
            with pytest.raises(RemoteError) as caught:
                client.explain(CT, POINTS[:2], level="T11", options=options)
            assert caught.value.code != "internal"


def test_explain_can_be_asked_for_a_kind() -> None:
    with WorkerClient() as client:
        assert client.explain(CT, POINTS[:2], level="T11", kind="heights")["explanation"]
        with pytest.raises(RemoteError) as caught:
            client.explain(CT, POINTS[:2], level="T11", kind="no such kind")
    assert caught.value.code == "method"


def test_a_client_that_nobody_holds_ends_its_worker(tmp_path: Path) -> None:
    client = WorkerClient(temporary=str(tmp_path))
    process = client.process
    client.grade(CT, POINTS[:2])
    assert not list(tmp_path.iterdir()), "no voxels stay in the temporary folder"
    del client
    gc.collect()
    process.wait(timeout=20)


def test_what_cannot_start_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="could not be started"):
        WorkerClient(python=str(tmp_path / "no python"))
    with WorkerClient(temporary=str(tmp_path / "gone")) as client, pytest.raises(OutputError) as caught:
        client.grade(CT, POINTS[:2])
    assert caught.value.hint


def test_folders_that_a_crash_left_are_removed_after_a_day(tmp_path: Path) -> None:
    old, young, other = (tmp_path / name for name in (PREFIX + "a", PREFIX + "b", "someone-elses"))
    for folder in (old, young, other):
        folder.mkdir()
        (folder / "ct.npy").write_bytes(b"voxels")
    for folder in (old, other):
        os.utime(folder, (time.time() - 2 * 86400,) * 2)
    sweep(str(tmp_path))
    assert not old.exists()
    assert young.exists()
    assert other.exists()
