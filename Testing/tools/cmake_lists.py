"""Keep the CMake lists of installed files equal to the files in the repository.

Slicer packages only what its CMake lists name: a file left out works from the source tree and is missing for every
user, and a name without a file stops the build. ``--write`` rewrites the lists, ``--check`` exits 1 where they differ.
"""

from __future__ import annotations

import argparse
import difflib
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_SAFE_NAME = re.compile(r"[A-Za-z0-9_./+-]+")
_NEVER_LISTED = {"__pycache__", ".git", ".venv", ".DS_Store"}


@dataclass(frozen=True)
class FileList:
    """One ``set(VARIABLE ...)`` block.

    Attributes:
        cmake_file: the file that holds the block, relative to the root.
        variable: name of the CMake variable.
        belongs: whether a path relative to the root belongs in the list.
    """

    cmake_file: str
    variable: str
    belongs: Callable[[str], bool]

    @property
    def base(self) -> str:
        """Folder of the CMake file, which the listed paths are relative to ("" or "folder/")."""
        folder = Path(self.cmake_file).parent.as_posix()
        return "" if folder == "." else f"{folder}/"

    def expected(self, files: Iterable[str]) -> list[str]:
        """The entries this list should have, sorted, relative to :attr:`base`.

        Raises:
            ValueError: a file name has characters that CMake lists or old file systems treat specially.
        """
        chosen = sorted(name.removeprefix(self.base) for name in files if self.belongs(name))
        for name in chosen:
            if not _SAFE_NAME.fullmatch(name):
                raise ValueError(f"{name!r}: use only letters, digits and _ . / + - in names of installed files")
        return chosen

    def listed(self, text: str) -> list[str]:
        """The entries the block has now."""
        return self._block(text).group("body").split()

    def updated(self, text: str, entries: Iterable[str]) -> str:
        """The CMake file's text with this block replaced."""
        block = self._block(text)
        body = "".join(f"  {entry}\n" for entry in entries)
        return f"{text[: block.start('body')]}\n{body}  {text[block.end('body') :]}"

    def _block(self, text: str) -> re.Match[str]:
        found = re.search(rf"^set\({re.escape(self.variable)}\b(?P<body>[^)#\"$]*)\)", text, re.MULTILINE)
        if found is None:
            raise ValueError(f"{self.cmake_file} has no plain set({self.variable} ...) block")
        return found


def _is_library_script(name: str) -> bool:
    return name.startswith("VertebralGradingLib/") and name.endswith(".py")


def _is_library_resource(name: str) -> bool:
    if name.startswith("VertebralGradingLib/"):
        return not name.endswith((".py", ".md"))
    return name.startswith("Resources/")


def _is_module_script(name: str) -> bool:
    return name.startswith("VertebralGrading/") and name.endswith(".py")


def _is_module_resource(name: str) -> bool:
    return name.startswith("VertebralGrading/Resources/") and not name.endswith(".py")


LISTS = (
    FileList("VertebralGradingLib.cmake", "VertebralGradingLib_SCRIPTS", _is_library_script),
    FileList("VertebralGradingLib.cmake", "VertebralGradingLib_RESOURCES", _is_library_resource),
    FileList("VertebralGrading/CMakeLists.txt", "MODULE_PYTHON_SCRIPTS", _is_module_script),
    FileList("VertebralGrading/CMakeLists.txt", "MODULE_PYTHON_RESOURCES", _is_module_resource),
)


def repository_files(root: Path = ROOT) -> list[str]:
    """Every file of the repository that exists, tracked or new but not ignored, relative to ``root``.

    Outside a git checkout (an unpacked archive) every file below ``root`` counts.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        output = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout
        names = output.decode("utf-8").split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = [path.relative_to(root).as_posix() for path in root.rglob("*")]
    return sorted(
        {name for name in names if name and not _NEVER_LISTED & set(name.split("/")) and (root / name).is_file()}
    )


def differences(root: Path = ROOT) -> list[str]:
    """What is wrong with the lists, as lines of a diff; empty when all is well."""
    files = repository_files(root)
    lines: list[str] = []
    for item in LISTS:
        listed = item.listed((root / item.cmake_file).read_text(encoding="utf-8"))
        where = f"{item.cmake_file}: {item.variable}"
        lines += difflib.unified_diff(listed, item.expected(files), where, "files in the repository", lineterm="", n=0)
    return lines


def missing_files(root: Path = ROOT) -> list[str]:
    """Listed names that have no file: Slicer's build stops at the first."""
    missing = []
    for item in LISTS:
        for entry in item.listed((root / item.cmake_file).read_text(encoding="utf-8")):
            if not (root / item.base / entry).is_file():
                missing.append(f"{item.cmake_file}: {item.variable}: {entry}")
    return missing


def write(root: Path = ROOT) -> None:
    """Make every list equal to the files in the repository."""
    files = repository_files(root)
    for item in LISTS:
        path = root / item.cmake_file
        text = path.read_text(encoding="utf-8")
        updated = item.updated(text, item.expected(files))
        if updated != text:
            path.write_text(updated, encoding="utf-8", newline="\n")


def main(arguments: list[str] | None = None) -> int:
    """Command line: returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="rewrite the lists")
    action.add_argument("--check", action="store_true", help="exit 1 where a list differs from the files")
    if parser.parse_args(arguments).write:
        write()
        return 0
    lines = differences()
    if lines:
        print("\n".join([*lines, "Run: python Testing/tools/cmake_lists.py --write"]))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
