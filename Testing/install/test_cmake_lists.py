"""The CMake lists name every installed file, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools import cmake_lists

ROOT = Path(__file__).resolve().parents[2]


def test_lists_are_complete() -> None:
    lines = cmake_lists.differences()
    assert not lines, "\n".join([*lines, "Run: python Testing/tools/cmake_lists.py --write"])


def test_no_listed_file_is_missing() -> None:
    assert cmake_lists.missing_files() == []


def test_lists_hold_the_essentials() -> None:
    """A selector that picks nothing would make the two tests above pass for nothing."""
    listed = {
        item.variable: item.listed((ROOT / item.cmake_file).read_text(encoding="utf-8")) for item in cmake_lists.LISTS
    }
    assert "VertebralGradingLib/__init__.py" in listed["VertebralGradingLib_SCRIPTS"]
    assert "VertebralGrading.py" in listed["MODULE_PYTHON_SCRIPTS"]
    assert "Resources/Icons/VertebralGrading.png" in listed["MODULE_PYTHON_RESOURCES"]


@pytest.fixture
def small_repository(tmp_path: Path) -> Path:
    """A repository (an unpacked archive, without git) of the same layout with lists that are right."""
    for name in (
        "VertebralGradingLib/__init__.py",
        "VertebralGradingLib/report/html.py",
        "VertebralGradingLib/training/QUEUE.md",
        "Resources/norms/heights.csv",
        "VertebralGrading/VertebralGrading.py",
        "VertebralGrading/Resources/UI/VertebralGrading.ui",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
    for item in cmake_lists.LISTS:
        with (tmp_path / item.cmake_file).open("a", encoding="utf-8") as stream:
            stream.write(f"set({item.variable}\n  )\n")
    cmake_lists.write(tmp_path)
    return tmp_path


def test_written_lists_are_right(small_repository: Path) -> None:
    assert cmake_lists.differences(small_repository) == []
    assert cmake_lists.missing_files(small_repository) == []
    assert (small_repository / "VertebralGradingLib.cmake").read_text(encoding="utf-8") == (
        "set(VertebralGradingLib_SCRIPTS\n"
        "  VertebralGradingLib/__init__.py\n"
        "  VertebralGradingLib/report/html.py\n"
        "  )\n"
        "set(VertebralGradingLib_RESOURCES\n"
        "  Resources/norms/heights.csv\n"
        "  )\n"
    )
    module = (small_repository / "VertebralGrading" / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "  VertebralGrading.py\n" in module
    assert "  Resources/UI/VertebralGrading.ui\n" in module


def test_new_and_vanished_files_are_noticed(small_repository: Path) -> None:
    (small_repository / "VertebralGradingLib" / "report" / "csv.py").write_text("", encoding="utf-8")
    (small_repository / "Resources" / "norms" / "heights.csv").unlink()
    lines = cmake_lists.differences(small_repository)
    assert "+VertebralGradingLib/report/csv.py" in lines
    assert "-Resources/norms/heights.csv" in lines
    assert cmake_lists.missing_files(small_repository) == [
        "VertebralGradingLib.cmake: VertebralGradingLib_RESOURCES: Resources/norms/heights.csv"
    ]


def test_awkward_names_are_refused(small_repository: Path) -> None:
    (small_repository / "Resources" / "two words.json").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="two words"):
        cmake_lists.differences(small_repository)
