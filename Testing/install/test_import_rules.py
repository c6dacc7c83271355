"""The rules that keep the package a house: imports point one way, and nothing heavy is loaded early.

The modules are discovered, not listed; a violation names file and line. The last part feeds the checker small packages
that break each rule, so that it is known to be able to fail.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "VertebralGradingLib"
MAX_LINES = 350
MAX_SHELL_BYTES = 15_000

# Units are the names directly below the package: files and folders. A folder not named here is a system.
FRONT_ENDS = {"scene", "panel", "report", "backend", "cli", "demo", "files", "__main__"}
STUDIO = {"phantom", "training", "evaluation"}
USES_STUDIO = {*STUDIO, "cli", "demo"}
ROOMS = ("image", "spine", "morphometry", "segmentation")
"""Each is built on those before it; segmentation finds the body masks whose form morphometry defines."""
SHARED_FOLDERS = {*ROOMS, "findings", "models"}
RANK_NAMES = ("shared ground", "a system", "methods", "pipeline", "a front end")

# Third-party libraries: what the part that runs inside Slicer has, and who may use more.
BUNDLED = {"numpy", "scipy", "SimpleITK", "vtk", "vtkmodules"}
BARE_BOX = {"torch", "numpy", "scipy", "safetensors"}
STUDIO_LIBRARIES = {*BUNDLED, *BARE_BOX, "monai", "sklearn", "matplotlib"}
UNIT_LIBRARIES = {"cli": {"typer", "rich"}, "scene": {"slicer"}, "panel": {"slicer", "qt", "ctk"}}
TORCH_INSIDE_FUNCTIONS = {"segmentation", "models", "backend", "cli"}


@dataclass(frozen=True)
class Import:
    """One imported name.

    Attributes:
        importer: dotted name of the importing module below the package ("report.html"; "" is the package itself).
        target: absolute dotted name, with the imported name where that may be a module.
        where: "file:line".
        lazy: inside a function, so not run when the module is imported.
    """

    importer: str
    target: str
    where: str
    lazy: bool


class _Reader(ast.NodeVisitor):
    """Collect imports of one module. Those under ``if TYPE_CHECKING`` never run and are left out."""

    def __init__(self, importer: str, is_package: bool, file: str) -> None:
        self.importer, self.file = importer, file
        parts = [PACKAGE, *(importer.split(".") if importer else [])]
        self.parents = parts if is_package else parts[:-1]
        self.depth = 0
        self.found: list[Import] = []

    def _add(self, target: str, node: ast.AST) -> None:
        line = getattr(node, "lineno", 0)
        self.found.append(Import(self.importer, target, f"{self.file}:{line}", self.depth > 0))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            above = self.parents[: len(self.parents) - node.level + 1]
            base = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            self._add(f"{base}.{alias.name}", node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in {"import_module", "__import__"} and node.args and isinstance(node.args[0], ast.Constant):
            self._add(str(node.args[0].value), node)
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            for statement in node.orelse:
                self.visit(statement)
        else:
            self.generic_visit(node)

    def _visit_function(self, node: ast.AST) -> None:
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_function  # noqa: N815


class Package:
    """The modules of a package on disk and what they import.

    Args:
        root: folder that holds the package.
        lazy_names: public name -> module, for names that the package itself resolves on use.
    """

    def __init__(self, root: Path, lazy_names: dict[str, str] | None = None) -> None:
        self.lazy_names = lazy_names or {}
        self.imports: dict[str, list[Import]] = {}
        for path in sorted((root / PACKAGE).rglob("*.py")):
            parts = list(path.relative_to(root / PACKAGE).with_suffix("").parts)
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            reader = _Reader(name, is_package, path.relative_to(root).as_posix())
            reader.visit(ast.parse(path.read_text(encoding="utf-8")))
            self.imports[name] = reader.found
        folders = {name.split(".")[0] for name in self.imports if "." in name}
        self.systems = folders - FRONT_ENDS - STUDIO - SHARED_FOLDERS - {"pipeline", "methods"}

    def module(self, target: str) -> str | None:
        """The module of this package that an import loads, or None for another library."""
        first, *rest = target.split(".")
        if first != PACKAGE:
            return None
        if rest and rest[0] in self.lazy_names and rest[0] not in self.imports:
            rest = [self.lazy_names[rest[0]]]
        while rest and ".".join(rest) not in self.imports:
            rest = rest[:-1]
        return ".".join(rest)

    def rank(self, module: str) -> int:
        """Height in the house, an index of RANK_NAMES."""
        unit = _unit(module)
        if unit in FRONT_ENDS:
            return 4
        if unit in self.systems:
            return 1
        return {"pipeline": 3, "methods": 2}.get(unit, 0)

    def is_studio(self, module: str) -> bool:
        """Whether a module is training or evaluation code, of its own folder or of a system."""
        inner = module.split(".")[1] if "." in module and _unit(module) in self.systems else ""
        return _unit(module) in STUDIO or inner.startswith(("training", "evaluation"))

    def violations(self) -> list[str]:
        """Every broken rule, as "file:line: what"."""
        imports = [item for items in self.imports.values() for item in items]
        judged = [f"{item.where}: {message}" for item in imports for message in self._judge(item)]
        return [*judged, *self._chain_violations(), *self._cycles()]

    def _judge(self, item: Import) -> Iterator[str]:
        target = self.module(item.target)
        if target is None:
            yield from self._judge_library(item)
        elif target and _unit(target) != _unit(item.importer):
            yield from self._judge_inside(item, target)
        elif target and self.is_studio(target) and not self.is_studio(item.importer):
            yield f"{item.importer} imports {target}, which is for training and evaluation only"

    def _judge_inside(self, item: Import, target: str) -> Iterator[str]:
        importer = item.importer
        if self.is_studio(target):
            if not (self.is_studio(importer) or _unit(importer) in USES_STUDIO):
                yield f"{importer} imports {target}, which is for training, evaluation and the CLI only"
        elif self.is_studio(importer):
            if self.rank(target) == RANK_NAMES.index("a front end"):
                yield f"{importer} imports {target}, a front end"
        elif self.rank(importer) < self.rank(target):
            above, below = RANK_NAMES[self.rank(target)], RANK_NAMES[self.rank(importer)]
            yield f"{importer} ({below}) imports {target} ({above}): imports point the other way"
        elif self.rank(importer) == self.rank(target) == RANK_NAMES.index("a system"):
            yield f"{importer} imports {target}: a system never imports another system"
        elif _unit(target) in {"cli", "panel"} and _unit(importer) != "__main__":
            yield f"{importer} imports {target}, which nothing else may import"

    def _judge_library(self, item: Import) -> Iterator[str]:
        library = item.target.split(".")[0]
        if library in sys.stdlib_module_names or library in self._libraries(item.importer, item.lazy):
            return
        how = "imports" if item.lazy else "imports, at module level,"
        yield f"{item.importer or PACKAGE} {how} {library}, which this part of the package may not"

    def _libraries(self, module: str, lazy: bool) -> set[str]:
        """Third-party libraries that a module may import, inside functions (lazy) or at module level."""
        unit = _unit(module)
        if unit == "":
            return set()
        if unit == "evaluation":
            return STUDIO_LIBRARIES if lazy else STUDIO_LIBRARIES - {"torch", "monai"}
        if self.is_studio(module):
            return STUDIO_LIBRARIES if lazy else BARE_BOX
        allowed = BUNDLED | UNIT_LIBRARIES.get(unit, set())
        is_network = "." in module and module.split(".")[1].startswith("network")
        if unit in self.systems or is_network or (lazy and unit in TORCH_INSIDE_FUNCTIONS):
            allowed = allowed | {"torch"}
        return allowed

    def _edges(self, module: str) -> Iterator[tuple[str, str]]:
        for item in self.imports[module]:
            target = self.module(item.target)
            if target and target != module:
                yield target, item.where

    def _chain_violations(self) -> Iterator[str]:
        """What reaches up the rooms, directly or through other modules."""
        for start in self.imports:
            height = ROOMS.index(_unit(start)) if _unit(start) in ROOMS else len(ROOMS)
            forbidden = set(ROOMS[height + 1 :])
            for target, where in self._edges(start) if forbidden else ():
                reached, waiting = set(), [target]
                while waiting:
                    module = waiting.pop()
                    if module not in reached:
                        reached.add(module)
                        waiting += [further for further, _ in self._edges(module)]
                for unit in sorted(forbidden & {_unit(module) for module in reached}):
                    yield f"{where}: {start} reaches {unit} by importing {target}: imports point the other way"

    def _cycles(self) -> Iterator[str]:
        finished: set[str] = set()

        def walk(module: str, path: list[str]) -> Iterator[str]:
            if module in finished:
                return
            for target, where in self._edges(module):
                if target in path:
                    yield f"{where}: circle of imports: {' -> '.join([*path[path.index(target) :], target])}"
                else:
                    yield from walk(target, [*path, target])
            finished.add(module)

        for module in self.imports:
            yield from walk(module, [module])


def _unit(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def too_long(root: Path) -> list[str]:
    """Files of the package above MAX_LINES lines."""
    found = []
    for path in sorted((root / PACKAGE).rglob("*.py")):
        size = len(path.read_text(encoding="utf-8").splitlines())
        if size > MAX_LINES:
            found.append(f"{path.relative_to(root).as_posix()}: {size} lines: find the concept that wants a name")
    return found


def test_package_keeps_the_import_rules() -> None:
    import VertebralGradingLib

    package = Package(ROOT, VertebralGradingLib._LAZY)
    assert {"", "study", *ROOMS, "morphometry.body"} <= set(package.imports)
    assert package.violations() == []


def test_files_stay_short() -> None:
    assert too_long(ROOT) == []


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = "import sys, VertebralGradingLib as v; print(v.__version__, *{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split()[1:])
    assert PACKAGE in loaded
    assert not loaded & {*STUDIO_LIBRARIES, "typer", "rich"}


def test_slicer_module_is_a_thin_shell() -> None:
    path = ROOT / "VertebralGrading" / "VertebralGrading.py"
    assert path.stat().st_size < MAX_SHELL_BYTES
    reader = _Reader("VertebralGrading", False, path.name)
    reader.visit(ast.parse(path.read_text(encoding="utf-8")))
    libraries = {item.target.split(".")[0] for item in reader.found if not item.lazy}
    assert libraries - sys.stdlib_module_names <= {"slicer", "qt", "ctk", "vtk"}
    assert "torch" not in {item.target.split(".")[0] for item in reader.found}


def _package(root: Path, files: dict[str, str]) -> Package:
    """Write a small package and read it."""
    for name, text in {"__init__.py": "", **files}.items():
        path = root / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Package(root, {"grade": "pipeline"})


@pytest.mark.parametrize(
    ("files", "where", "what"),
    [
        ({"pipeline.py": "\nfrom VertebralGradingLib.report import html\n", "report/html.py": ""}, "2", "other way"),
        ({"volume.py": "def f():\n    from . import pipeline\n", "pipeline.py": ""}, "2", "other way"),
        ({"volume.py": "from . import grade\n", "pipeline.py": ""}, "1", "other way"),
        ({"errors.py": "import importlib as i\ni.import_module('VertebralGradingLib.cli')", "cli.py": ""}, "2", "way"),
        (
            {"image/a.py": "from ..errors import x\n", "errors.py": "from .spine import b\n", "spine/b.py": ""},
            "1",
            "reaches",
        ),
        ({"points.py": "from . import curve\n", "curve.py": "from . import points\n"}, "1", "circle"),
        ({"one/network.py": "from ..two import network\n", "two/network.py": ""}, "1", "another system"),
        ({"pipeline.py": "from .phantom import spine\n", "phantom/spine.py": ""}, "1", "training, evaluation"),
        ({"one/infer.py": "from .training import fit\n", "one/training.py": ""}, "1", "training and evaluation"),
        ({"training/loop.py": "from .. import cli\n", "cli.py": ""}, "1", "front end"),
        ({"report/html.py": "from .. import cli\n", "cli.py": ""}, "1", "nothing else"),
        ({"report/html.py": "def f():\n    import matplotlib.pyplot\n"}, "2", "matplotlib"),
        ({"volume.py": "try:\n    import torch\nexcept ImportError:\n    pass\n"}, "2", "torch"),
        ({"pipeline.py": "def f():\n    import torch\n"}, "2", "torch"),
        ({"backend/server.py": "import torch\n"}, "1", "torch"),
        ({"one/infer.py": "def f():\n    import sklearn\n"}, "2", "sklearn"),
        ({"training/loop.py": "import monai\n"}, "1", "monai"),
        ({"report/html.py": "from rich import print\n"}, "1", "rich"),
        ({"scene/nodes.py": "import qt\n"}, "1", "qt"),
        ({"backend/server.py": "import slicer\n"}, "1", "slicer"),
        ({"points.py": "import pandas\n"}, "1", "pandas"),
        ({"__init__.py": "import numpy\n"}, "1", "numpy"),
    ],
)
def test_checker_finds_a_violation(tmp_path: Path, files: dict[str, str], where: str, what: str) -> None:
    found = _package(tmp_path, files).violations()
    prefix = f"{PACKAGE}/{next(iter(files))}:{where}: "
    assert any(line.startswith(prefix) and what in line for line in found), found


@pytest.mark.parametrize(
    "files",
    [
        {"cli.py": "import typer\nfrom .training import loop\n", "training/loop.py": "import torch, safetensors\n"},
        {"cli.py": "from .report import html\nfrom . import pipeline\n", "report/html.py": "", "pipeline.py": ""},
        {"pipeline.py": "from . import methods, volume\n", "methods.py": "from .volume import V\n", "volume.py": ""},
        {"one/network.py": "import torch\nfrom ..segmentation import body\n", "morphometry/body.py": "import scipy\n"},
        {"backend/server.py": "def f():\n    import torch\n", "scene/nodes.py": "import slicer\n"},
        {"volume.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n"},
        {"panel/table.py": "import qt, ctk\nfrom ..scene import nodes\n", "scene/nodes.py": ""},
        {"one/training.py": "from .network import N\ndef f():\n    import monai\n", "one/network.py": ""},
    ],
)
def test_checker_accepts_what_is_allowed(tmp_path: Path, files: dict[str, str]) -> None:
    assert _package(tmp_path, files).violations() == []


def test_checker_finds_a_long_file(tmp_path: Path) -> None:
    _package(tmp_path, {"volume.py": "\n" * MAX_LINES, "spine.py": "\n" * (MAX_LINES + 1)})
    assert [line.split(":")[0] for line in too_long(tmp_path)] == [f"{PACKAGE}/spine.py"]
