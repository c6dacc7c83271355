"""What Slicer's extension index and its extension manager read about this extension is complete and agrees.

``VertebralGrading.json`` is the entry for the index (Slicer's catalog entry schema 1.0.2; the rules are those of the
index's own check). Its place there is the root, under the extension's name; it is kept here so that it can be tested.

``slicer-extension.json`` is the manifest of scripted extensions that are installed from their source. No released
Slicer reads it: the format is that of the proposal Slicer/Slicer#9148, whose parser's rules are held here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAME = "VertebralGrading"
SCHEMA = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json#"
)
REQUIRED = {"$schema", "category", "scm_url"}
TYPES: dict[str, type] = {
    "$schema": str,
    "category": str,
    "scm_url": str,
    "scm_revision": str,
    "scm_type": str,
    "build_dependencies": list,
    "build_subdirectory": str,
    "dicom_support_rule": str,
    "enabled": bool,
    "tier": int,
}
# The part of the index's accepted categories that could fit a measurement on images.
CATEGORIES = {"Analysis", "Quantification", "Radiotherapy", "Segmentation", "Shape Analysis"}
METADATA = ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS")
ADDRESSES = ("HOMEPAGE", "ICONURL", "SCREENSHOTURLS")
MANIFEST_TEXTS = ("description", "contributors", "homepage", "iconurl", "category", "screenshots", "status")


def entry_faults(name: str, data: bytes) -> list[str]:
    """What the index would refuse in an entry."""
    found = [] if b"\r" not in data and data.endswith(b"\n") else ["lines end in LF, the last one too"]
    entry = json.loads(data)
    found += [f"{key} is missing" for key in sorted(REQUIRED - set(entry))]
    found += [f"{key} is no field" for key in sorted(set(entry) - set(TYPES))]
    for key, kind in TYPES.items():
        value = entry.get(key, kind())
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            found.append(f"{key} is no {kind.__name__}")
    if found:
        return found
    repository = PurePosixPath(urlsplit(entry["scm_url"]).path).name.removesuffix(".git")
    rules = {
        "the schema is version 1.0.2": entry["$schema"] == SCHEMA,
        "the category is one that the index knows and that fits": entry["category"] in CATEGORIES,
        "the address is https or git": urlsplit(entry["scm_url"]).scheme in {"https", "git"},
        "the repository's name starts with Slicer": repository.startswith(("Slicer", "Slicer-", "SlicerExtension-")),
        "the extension's name does not start with Slicer": not name.startswith("Slicer"),
        "the tier is from 1 to 5": 1 <= entry.get("tier", 1) <= 5,
        "scm_type is git or local": entry.get("scm_type", "git") in {"git", "local"},
        "dependencies are names": all(isinstance(item, str) and item for item in entry.get("build_dependencies", [])),
        "the revision is a branch, not a hash": not re.fullmatch(r"[0-9a-f]{7,40}", entry.get("scm_revision", "main")),
    }
    return [text for text, kept in rules.items() if not kept]


def cmake_metadata(text: str) -> dict[str, str]:
    """The EXTENSION_* values as the index's regular expressions read them: one quoted string on one line."""
    found = re.findall(r'^set\(EXTENSION_(\w+) "([^"\n]+)"\)$', text, re.MULTILINE)
    return dict(found)


def cmake_faults(text: str) -> list[str]:
    """EXTENSION_* values that are missing, unreadable or given twice, and a wrong project name."""
    read = cmake_metadata(text)
    found = [f"EXTENSION_{key} is not one quoted string on one line" for key in METADATA if key not in read]
    found += [
        f"EXTENSION_{key} is given twice" for key in METADATA if len(re.findall(rf"\(EXTENSION_{key}\b", text)) > 1
    ]
    project = re.search(r"project\s*\(\s*([^\s)]+)", text)
    if project is None or project[1].strip("\"'") != NAME:
        found.append(f"the first project() is not {NAME}")
    return found


def manifest_faults(text: str, root: Path) -> list[str]:
    """What the proposed parser would refuse in a manifest of an extension in ``root``."""
    manifest = json.loads(text)
    found = [
        f"{key} is missing or empty"
        for key in ("schema", "type", "extensionname")
        if not (isinstance(manifest.get(key), str) and manifest[key].strip())
    ]
    if manifest.get("type") != "source-scripted":
        found.append("the type is source-scripted")
    found += [f"{key} is a text" for key in MANIFEST_TEXTS if not isinstance(manifest.get(key, ""), str)]
    modules = manifest.get("modules")
    if not isinstance(modules, list) or not modules:
        return [*found, "modules is a list that is not empty"]
    for module in modules:
        path = module.get("path", "")
        if not module.get("name") or not path.endswith(".py") or not _inside(path, root, Path.is_file):
            found.append(f"{module}: a module has a name and an existing .py file")
    for path in manifest.get("pythonPaths", []):
        if not _inside(path, root, Path.is_dir):
            found.append(f"{path!r} is no folder below the source; the source itself cannot be named")
    if not all(isinstance(item, str) and item for item in manifest.get("depends", [])):
        found.append("depends is a list of names")
    source = manifest.get("installSource", {"type": "git", "url": "."})
    if source.get("type") not in {"git", "url"} or not source.get("url"):
        found.append("installSource has a type, git or url, and a url")
    return found


def _inside(path: str, root: Path, exists: Callable[[Path], bool]) -> bool:
    parts = PurePosixPath(path).parts
    is_safe = "\\" not in path and ":" not in path and not path.startswith("/") and parts and ".." not in parts
    return bool(is_safe) and exists(root / path)


@pytest.fixture
def entry() -> dict[str, Any]:
    """The entry for the index."""
    return json.loads((ROOT / f"{NAME}.json").read_bytes())  # type: ignore[no-any-return]


@pytest.fixture
def manifest() -> dict[str, Any]:
    """The manifest for an install from source."""
    return json.loads((ROOT / "slicer-extension.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


@pytest.fixture
def cmake() -> str:
    """The extension's CMakeLists.txt."""
    return (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")


def test_entry_is_what_the_index_accepts() -> None:
    assert entry_faults(NAME, (ROOT / f"{NAME}.json").read_bytes()) == []


def test_cmake_metadata_can_be_read(cmake: str) -> None:
    assert cmake_faults(cmake) == []


def test_manifest_is_what_the_proposal_accepts() -> None:
    assert manifest_faults((ROOT / "slicer-extension.json").read_text(encoding="utf-8"), ROOT) == []


def test_three_files_say_the_same(entry: dict[str, Any], manifest: dict[str, Any], cmake: str) -> None:
    metadata = cmake_metadata(cmake)
    depends = [] if metadata["DEPENDS"] == "NA" else metadata["DEPENDS"].split()
    assert entry["build_dependencies"] == manifest["depends"] == depends
    assert manifest["extensionname"] == NAME
    assert manifest["category"] == entry["category"]
    assert (manifest["description"], manifest["contributors"]) == (metadata["DESCRIPTION"], metadata["CONTRIBUTORS"])
    shell = (ROOT / manifest["modules"][0]["path"]).read_text(encoding="utf-8")
    assert f'"{entry["category"]}"' in shell


def test_addresses_become_public_together(entry: dict[str, Any], manifest: dict[str, Any], cmake: str) -> None:
    """Until the repository has a public address, none is made up: .invalid is reserved for names that lead nowhere."""
    metadata = cmake_metadata(cmake)
    if (urlsplit(entry["scm_url"]).hostname or "").endswith(".invalid"):
        assert {metadata[key] for key in ADDRESSES} == {"NA"}
        assert not {"installSource", "homepage", "iconurl"} & set(manifest)
    else:
        assert all(url.startswith("https://") for key in ADDRESSES for url in metadata[key].split())
        assert "?" not in "".join(metadata[key] for key in ADDRESSES)
        assert manifest["installSource"]["url"] == entry["scm_url"]


def test_icon_and_license_are_there() -> None:
    header = (ROOT / f"{NAME}.png").read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")) == (128, 128)
    assert (ROOT / "LICENSE").is_file()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"name": "VertebralGrading"}, "name is no field"),
        ({"category": None}, "category is missing"),
        ({"category": "Bones"}, "category"),
        ({"$schema": SCHEMA.replace("1.0.2", "1.0.1")}, "schema"),
        ({"scm_url": "ssh://host/Slicer.git"}, "https or git"),
        ({"scm_url": "https://host/VertebralGrading"}, "starts with Slicer"),
        ({"scm_revision": "0f8891f2b416c1f2874dc629c3463dbbc98db7ed"}, "not a hash"),
        ({"build_dependencies": "PyTorch"}, "build_dependencies is no list"),
        ({"build_dependencies": [""]}, "dependencies are names"),
        ({"tier": 6}, "tier"),
        ({"tier": True}, "tier is no int"),
        ({"scm_type": "svn"}, "scm_type"),
    ],
)
def test_fault_in_entry_is_found(entry: dict[str, Any], changes: dict[str, Any], what: str) -> None:
    changed = {key: value for key, value in {**entry, **changes}.items() if value is not None}
    found = entry_faults(NAME, json.dumps(changed).encode() + b"\n")
    assert len(found) == 1
    assert what in found[0]


def test_wrong_line_ends_are_found() -> None:
    data = (ROOT / f"{NAME}.json").read_bytes()
    assert entry_faults(NAME, data.replace(b"\n", b"\r\n"))
    assert entry_faults(NAME, data.rstrip())
    assert entry_faults("SlicerGrading", data)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("project(VertebralGrading)", "project(Grading)", "project"),
        ('(EXTENSION_DEPENDS "PyTorch")', "(EXTENSION_DEPENDS PyTorch)", "DEPENDS"),
        ('(EXTENSION_ICONURL "NA")', '(EXTENSION_ICONURL\n  "NA")', "ICONURL"),
        ('(EXTENSION_HOMEPAGE "NA")', '(EXTENSION_HOMEPAGE "NA")\nset(EXTENSION_HOMEPAGE "NA")', "twice"),
    ],
)
def test_fault_in_cmake_is_found(cmake: str, old: str, new: str, what: str) -> None:
    assert old in cmake
    found = cmake_faults(cmake.replace(old, new))
    assert len(found) == 1
    assert what in found[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": ""},
        {"type": "scripted"},
        {"description": 1},
        {"modules": []},
        {"modules": [{"name": "VertebralGrading", "path": "VertebralGrading/Other.py"}]},
        {"modules": [{"name": "VertebralGrading", "path": "../VertebralGrading.py"}]},
        {"pythonPaths": ["."]},
        {"depends": [""]},
        {"installSource": {"type": "git"}},
    ],
)
def test_fault_in_manifest_is_found(manifest: dict[str, Any], changes: dict[str, Any]) -> None:
    assert len(manifest_faults(json.dumps({**manifest, **changes}), ROOT)) == 1
