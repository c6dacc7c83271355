"""The command line as a user meets it: what it writes, what it says, how it ends."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from VertebralGradingLib.demo import WEDGE_LOSS, WEDGED, demo_case, write_demo_case
from VertebralGradingLib.findings import NEVER_ASSESSED
from VertebralGradingLib.image.io import write_volume
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.resources import resource
from VertebralGradingLib.spine.points import Point, read_points, write_markups

PROGRAM = [sys.executable, "-m", "VertebralGradingLib.cli"]


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        env={"PYTHONPATH": root, "PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONUTF8": "1"},
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The demo, run in a folder with a space and an accent in its name."""
    folder = tmp_path_factory.mktemp("out") / "dossier é 1"
    return folder, run("demo", "--out", folder)


def test_demo_grades_its_wedge(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, finished = demo
    assert finished.returncode == 0, finished.stderr
    content = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(
        json.loads(resource("schema/findings.schema.json").read_text(encoding="utf-8"))
    ).validate(content)
    grades = {finding["level"]: finding["grade"] for finding in content["findings"]}
    assert grades == {"T11": 0, "T12": 0, WEDGED: 2, "L2": 0, "L3": 0, "L4": 0}
    wedge = next(finding for finding in content["findings"] if finding["level"] == WEDGED)
    assert wedge["deformity"] == "wedge"
    assert wedge["height_loss"]["anterior"] == pytest.approx(WEDGE_LOSS, abs=0.06)
    for name in ("findings.csv", "report.html", "overview.png"):
        assert (folder / name).stat().st_size > 500


def test_grading_says_index_trabecular_hu_and_what_is_not_assessed(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    said = " ".join(demo[1].stdout.split())
    assert "spinal deformity index at least 2 (6 of 13 levels)" in said
    assert "Mean trabecular of T12, L2, L3" in said, "L1 is the wedge"
    assert "tube voltage not known" in said
    assert NEVER_ASSESSED in said


def test_nothing_written_or_said_tells_where_files_are(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = demo
    for name in ("findings.json", "findings.csv", "report.html"):
        text = (folder / name).read_text(encoding="utf-8")
        assert str(folder) not in text
        assert "dossier" not in text
        assert "demo_ct" not in text


def test_info_is_instant_because_it_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['vertebral-grading', 'info', '--json']\n"
        "from VertebralGradingLib import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'scipy', 'SimpleITK', 'vtk', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    content = json.loads(finished.stdout)
    assert content["methods"]["morphometry"] == {"requires": []}
    assert "torch" in content["methods"]["dae"]["requires"]
    assert "grade" in content["commands"]


def test_centroids_from_mask_can_be_read_back(tmp_path: Path) -> None:
    from rendering.analytic import box_spine_ct  # the analytic spine of the tests
    from test_morphometry import bent_spine, grid_around

    phantom = box_spine_ct(bent_spine(), *grid_around(bent_spine()))
    write_volume(phantom.labels, tmp_path / "mask.nii.gz")
    finished = run("centroids", "--from-mask", tmp_path / "mask.nii.gz", "--out", tmp_path / "c.mrk.json")
    assert finished.returncode == 0, finished.stderr
    found = {point.level: np.array(point.position) for point in read_points(tmp_path / "c.mrk.json")}
    for point in phantom.points:
        assert np.linalg.norm(found[point.level] - point.position) < 3.0


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The demo's files, to be copied."""
    return write_demo_case(tmp_path_factory.mktemp("demo"))


def _copied(files: tuple[str, str], folder: Path) -> tuple[Path, Path]:
    ct_path, points_path = (Path(shutil.copy(file, folder)) for file in files)
    return ct_path, points_path


def _case(folder: Path, files: tuple[str, str], fault: str) -> list[str | Path]:
    """Arguments of a run that must fail, and why."""
    ct_path, points_path = _copied(files, folder)
    good = ["grade", ct_path, "--centroids", points_path, "--out", folder / "out"]
    ct, points = demo_case()
    if fault == "no such image":
        return ["grade", folder / "none.nii.gz", "--centroids", points_path]
    if fault == "mr":
        write_volume(Volume((np.clip(ct.array, 0, None) // 2).astype(np.int16), ct.affine), ct_path)
    if fault == "damaged image":
        Path(ct_path).write_bytes(Path(ct_path).read_bytes()[:5000])
    if fault == "no centroids":
        return ["grade", ct_path]
    if fault == "centroids elsewhere":
        write_markups([Point((x + 900, y, z), p.level) for p in points for x, y, z in [p.position]], points_path)
    if fault == "names upside down":
        names = [p.level for p in points][::-1]
        write_markups([Point(p.position, n) for p, n in zip(points, names, strict=True)], points_path)
    if fault == "damaged centroids":
        Path(points_path).write_text("{", encoding="utf-8")
    if fault == "mask is an image":
        return [*good, "--mask", ct_path]
    if fault == "unknown method":
        return [*good, "--method", "guess"]
    if fault == "unwritable":
        write_markups(points[1:3], points_path)  # it is found when everything has been graded
        (folder / "out").write_text("a file where the folder should be", encoding="utf-8")
    return good


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("no such image", 3),
        ("mr", 3),
        ("damaged image", 3),
        ("no centroids", 4),
        ("centroids elsewhere", 4),
        ("names upside down", 4),
        ("damaged centroids", 4),
        ("mask is an image", 5),
        ("unknown method", 6),
        ("unwritable", 7),
    ],
)
def test_errors_have_their_exit_code_and_a_hint_and_no_traceback(
    tmp_path: Path, files: tuple[str, str], fault: str, code: int
) -> None:
    finished = run(*_case(tmp_path, files, fault))
    assert finished.returncode == code, finished.stderr
    assert "Error:" in finished.stderr
    assert "Hint:" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert str(tmp_path) not in finished.stderr


def test_mask_only_with_a_ct_is_wrong_usage(tmp_path: Path) -> None:
    assert run("grade", "ct.nii.gz", "--mask-only", "mask.nii.gz", cwd=tmp_path).returncode == 2


def test_lowest_names_unnamed_points(tmp_path: Path, files: tuple[str, str]) -> None:
    ct_path, points_path = _copied(files, tmp_path)
    write_markups([Point(p.position, None, f"F-{n}") for n, p in enumerate(demo_case()[1])], points_path)
    finished = run("grade", ct_path, "--centroids", points_path, "--lowest", "L4", "--out", tmp_path / "out")
    assert finished.returncode == 0, finished.stderr
    content = json.loads((tmp_path / "out" / "findings.json").read_text(encoding="utf-8"))
    assert [finding["level"] for finding in content["findings"]] == ["T11", "T12", "L1", "L2", "L3", "L4"]
    assert content["study"]["levels_named"]
