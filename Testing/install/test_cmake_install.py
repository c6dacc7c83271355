"""The extension is configured, built and installed by CMake, and what was installed works by itself.

Slicer's side of the build is a stand-in (``mock_slicer``); CMake is the real one. What is installed is used in
processes that do not see the source tree, from a folder whose name has a space and a letter beyond ASCII.
"""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tools import cmake_lists

ROOT = Path(__file__).resolve().parents[2]
MOCK = Path(__file__).resolve().parent / "mock_slicer"
MODULES = Path("lib", "Slicer-5.12", "qt-scripted-modules")
CMAKE_FILES = {"VertebralGrading/CMakeLists.txt"}
# Extensions declare no language, so CMake looks for compilers, though nothing is compiled. Naming any program and
# telling CMake to trust it saves the test from needing one.
NO_COMPILER = [
    f"-DCMAKE_{language}_COMPILER{what}"
    for language in ("C", "CXX")
    for what in (f":FILEPATH={Path(sys.executable).as_posix()}", "_FORCED:BOOL=ON", "_ID_RUN:BOOL=ON")
]


@dataclass(frozen=True)
class Build:
    """CMake run on one source tree.

    Attributes:
        source: the extension's source tree.
        folder: the build tree.
    """

    source: Path
    folder: Path

    def configure(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run CMake; the caller looks at the exit code."""
        ninja = _program("ninja")
        if ninja is not None:
            options += ("-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM:FILEPATH={Path(ninja).as_posix()}")
        elif os.name != "nt" and _program("make") is None:
            pytest.fail("This test needs make or ninja:  python -m pip install ninja")
        command = [_cmake("cmake"), "-S", self.source, "-B", self.folder, f"-DSlicer_DIR:PATH={MOCK.as_posix()}"]
        return _run([*command, "-DCMAKE_BUILD_TYPE=Release", *NO_COMPILER, *options])

    def run(self, program: str, *arguments: str | Path) -> str:
        """Run one of CMake's programs in the build tree and return what it prints."""
        done = _run([_cmake(program), *arguments], cwd=self.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _run(command: list[Any], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=300,
        check=False,
    )


def _program(name: str) -> str | None:
    """A program of this Python environment (the packages cmake and ninja bring theirs), else of the system."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return shutil.which(name, path=os.pathsep.join(places))


def _cmake(name: str) -> str:
    found = _program(name)
    if found is None:
        pytest.fail(f"This test needs {name} of CMake 3.20.6 or newer:  python -m pip install cmake")
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """This source tree, built."""
    build = Build(ROOT, tmp_path_factory.mktemp("build"))
    done = build.configure()
    assert done.returncode == 0, done.stdout + done.stderr
    build.run("cmake", "--build", ".", "--config", "Release")
    return build


@pytest.fixture(scope="module")
def installed(built: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed folder of scripted modules."""
    prefix = tmp_path_factory.mktemp("prefix") / "Slicer d'été"
    built.run("cmake", "--install", ".", "--config", "Release", "--prefix", prefix)
    return prefix / MODULES


def _expected() -> dict[str, Path]:
    """Installed name -> source file: the module's folder is flattened, library and resources lie beside it."""
    expected: dict[str, Path] = {}
    for name in cmake_lists.repository_files(ROOT):
        top, _, rest = name.partition("/")
        if top not in {"VertebralGrading", "VertebralGradingLib", "Resources"} or name in CMAKE_FILES:
            continue
        if top == "VertebralGradingLib" and name.endswith(".md"):
            continue  # notes for developers
        target = rest if top == "VertebralGrading" else name
        assert target not in expected, f"{name} and {expected[target]} would be installed as one file"
        expected[target] = ROOT / name
    return expected


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_installed_is_what_the_repository_holds(installed: Path) -> None:
    expected, found = _expected(), _files(installed)
    assert {"VertebralGrading.py", "VertebralGradingLib/__init__.py", "Resources/colors/grades.json"} <= found
    hint = "Run: python Testing/tools/cmake_lists.py --write"
    assert set(expected) - found == set(), f"not installed. {hint}"
    assert found - set(expected) == set(), "installed though not in the repository"
    for name, source in expected.items():
        assert (installed / name).read_bytes() == source.read_bytes(), name


def test_nothing_is_installed_elsewhere(installed: Path) -> None:
    prefix = installed.parents[len(MODULES.parts) - 1]
    assert _files(prefix) == {(MODULES / name).as_posix() for name in _files(installed)}


def test_the_package_holds_what_is_installed(built: Build, installed: Path) -> None:
    built.run("cpack", "-C", "Release")
    with tarfile.open(built.folder / "VertebralGrading.tar.gz") as archive:
        packed = {member.name.removeprefix("./") for member in archive.getmembers() if member.isfile()}
    assert packed == {(MODULES / name).as_posix() for name in _files(installed)}


def test_description_and_self_test_are_declared(built: Build) -> None:
    lines = (built.folder / "VertebralGrading.s4ext").read_text(encoding="utf-8").splitlines()
    described = dict(line.split(" ", 1) for line in lines)
    assert described["name"] == "VertebralGrading"
    assert described["depends"] == "PyTorch"
    assert "research only" in described["description"]
    declared = json.loads(built.run("ctest", "--show-only=json-v1", "-C", "Release"))["tests"]
    commands = {test["name"]: test["command"] for test in declared}
    assert set(commands) == {"py_VertebralGrading", "py_nomainwindow_qSlicerVertebralGradingModuleGenericTest"}
    assert "runUnitTest" in commands["py_VertebralGrading"][-1]
    assert "'VertebralGrading')" in commands["py_VertebralGrading"][-1]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what CMake reads of this source tree, in a folder with an awkward name."""
    copy = tmp_path_factory.mktemp("source") / "à essayer"
    listed = [item.base + entry for item in cmake_lists.LISTS for entry in item.listed(_text(item.cmake_file))]
    for name in [*listed, *{item.cmake_file for item in cmake_lists.LISTS}, "CMakeLists.txt"]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    return copy


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "missing",
    [
        None,
        "VertebralGrading/VertebralGrading.py",
        "VertebralGrading/Resources/Icons/VertebralGrading.png",
        "VertebralGradingLib/backend/__main__.py",
        "Resources/schema/findings.schema.json",
    ],
)
def test_a_listed_file_that_is_missing_stops_the_build(copied: Path, tmp_path: Path, missing: str | None) -> None:
    kept = tmp_path / "kept"
    if missing is not None:
        shutil.move(copied / missing, kept)
    try:
        done = Build(copied, tmp_path / "build").configure()
    finally:
        if missing is not None:
            shutil.move(kept, copied / missing)
    if missing is None:
        assert done.returncode == 0, done.stderr
        assert "CMake Warning" not in done.stderr
        assert "Deprecat" not in done.stderr
    else:
        assert done.returncode != 0
        words = " ".join(done.stderr.split())
        assert f"given nonexistent file '{missing.removeprefix('VertebralGrading/')}'" in words


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("NAME ${MODULE_NAME}", "SOURCES x.py NAME ${MODULE_NAME}", "unknown keywords: SOURCES"),
        ("NAME ${MODULE_NAME}\n", "", "NAME is missing"),
        ("SCRIPT ${MODULE_NAME}.py", "SCRIPT Other.py", "given nonexistent script 'Other.py'"),
        ("SCRIPTS ${MODULE_PYTHON_SCRIPTS}", "SCRIPTS ../x.py", "'../x.py' leaves its folder"),
    ],
)
def test_the_stand_in_refuses_mistakes(copied: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    """As Slicer does; else the tests above would pass for nothing."""
    path = copied / "VertebralGrading" / "CMakeLists.txt"
    text = path.read_text(encoding="utf-8")
    assert old in text
    try:
        path.write_text(text.replace(old, new), encoding="utf-8")
        done = Build(copied, tmp_path / "build").configure()
    finally:
        path.write_text(text, encoding="utf-8")
    assert done.returncode != 0
    assert message in " ".join(done.stderr.split())


def _away(code: str, folder: Path) -> dict[str, Any]:
    """Run code in a new process, in ``folder``, that sees third-party packages but no source tree.

    ``-S`` keeps Python from following the link that an editable installation of this package leaves in site-packages.

    Returns:
        The JSON of the last line it prints.
    """
    start = [
        "import json, sys",
        "from pathlib import Path",
        f"sys.path += {[*site.getsitepackages(), site.getusersitepackages()]!r}",
        f"sys.path.append({str(MOCK)!r})",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", "\n".join([*start, code])],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_process_away_from_the_source_tree_does_not_see_it(tmp_path: Path) -> None:
    code = "import importlib.util; print(json.dumps({'seen': bool(importlib.util.find_spec('VertebralGradingLib'))}))"
    assert _away(code, tmp_path) == {"seen": False}


def test_the_installed_library_finds_its_resources(installed: Path, tmp_path: Path) -> None:
    code = f"""
sys.path.insert(0, {str(installed)!r})
import VertebralGradingLib
from VertebralGradingLib.resources import resource
names = ["colors/grades.json", "norms/vertebral_heights.csv", "schema/findings.schema.json"]
print(json.dumps({{"library": VertebralGradingLib.__file__, **{{name: str(resource(name)) for name in names}}}}))
"""
    found = {name: Path(path) for name, path in _away(code, tmp_path).items()}
    assert found.pop("library") == installed / "VertebralGradingLib" / "__init__.py"
    assert found == {name: installed / "Resources" / name for name in found}
    assert len(found) == 3


def test_the_installed_worker_grades(installed: Path, tmp_path: Path) -> None:
    """Started from the installed library, it runs the installed library, and ends when its client does."""
    code = f"""
import os
sys.path.insert(0, {str(installed)!r})
os.environ["PYTHONVERBOSE"] = "1"  # the worker's log names every file it imports
from VertebralGradingLib.backend.blocking import WorkerClient
from VertebralGradingLib.demo import demo_case
with WorkerClient(log=Path("worker.log")) as client:
    answer = client.grade(*demo_case())
findings = answer["report"]["findings"]
grades = {{finding["level"]: finding["grade"] for finding in findings}}
print(json.dumps({{"grades": grades, "cancelled": answer["cancelled"], "exit": client.process.returncode}}))
"""
    answer = _away(code, tmp_path)
    _assert_demo_grades(answer["grades"])
    assert not answer["cancelled"]
    assert answer["exit"] == 0
    log = (tmp_path / "worker.log").read_text(encoding="utf-8", errors="replace")
    imported = [line for line in log.splitlines() if "code object from" in line and "VertebralGradingLib" in line]
    for name in ("backend/server.py", "pipeline.py"):
        path = installed / "VertebralGradingLib" / name
        assert any(line.endswith(str(path)) for line in imported), f"{path} was not run"
    assert [line for line in imported if str(installed) not in line] == []


def _grade_files(module_folder: Path, folder: Path) -> dict[str, Any]:
    """Load the module's file from a folder, as Slicer does, and call its logic on the demo case."""
    code = f"""
import importlib.util
from slicer_stubs import load_module
module = load_module(Path({str(module_folder)!r}))
beside = importlib.util.find_spec("VertebralGradingLib") is not None
early = [name for name in sys.modules if name.startswith("VertebralGradingLib")]
module.ensureLibrary()
import VertebralGradingLib
from VertebralGradingLib.demo import write_demo_case
report = module.VertebralGradingLogic().gradeFiles(*write_demo_case("case"), "résultats")
print(json.dumps({{
    "module": module.__file__,
    "library": VertebralGradingLib.__file__,
    "beside": beside,
    "early": early,
    "grades": {{finding.level: finding.grade for finding in report.findings}},
    "written": sorted(path.name for path in Path("résultats").iterdir()),
}}))
"""
    return _away(code, folder)


def test_the_installed_module_grades(installed: Path, tmp_path: Path) -> None:
    answer = _grade_files(installed, tmp_path)
    assert answer["beside"]
    assert answer["early"] == [], "loading the module loads the library"
    assert Path(answer["module"]) == installed / "VertebralGrading.py"
    assert Path(answer["library"]) == installed / "VertebralGradingLib" / "__init__.py"
    _assert_demo_grades(answer["grades"])
    assert {"findings.csv", "findings.json", "overview.png", "report.html"} <= set(answer["written"])


def test_developer_mode_grades(tmp_path: Path) -> None:
    """Only the module's folder of the source tree is known to Slicer; the module finds the library beside it."""
    answer = _grade_files(ROOT / "VertebralGrading", tmp_path)
    assert not answer["beside"]
    assert Path(answer["module"]) == ROOT / "VertebralGrading" / "VertebralGrading.py"
    assert Path(answer["library"]) == ROOT / "VertebralGradingLib" / "__init__.py"
    _assert_demo_grades(answer["grades"])


def _assert_demo_grades(grades: dict[str, int | None]) -> None:
    """The demo's L1 has lost a third of its anterior height (grade 2); its neighbours are whole."""
    assert list(grades) == ["T11", "T12", "L1", "L2", "L3", "L4"]
    assert grades == dict.fromkeys(grades, 0) | {"L1": 2}
