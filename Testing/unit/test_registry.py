"""Models: cards, checks of weights, and import and deletion that leave a whole model or none, whatever goes wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from VertebralGradingLib.errors import MethodError, OutputError
from VertebralGradingLib.models import places, registry, weights
from VertebralGradingLib.models.cards import MAX_CARD_BYTES, Card, Figure, WeightFile, parse_card, version_number
from VertebralGradingLib.models.package import PackedFile
from VertebralGradingLib.models.registry import delete_model, find_model, import_model, list_models
from VertebralGradingLib.models.weights import describe_file, read_header

ROOT = Path(__file__).resolve().parents[2]
NAME = "body-net"


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {"layer.weight": random.normal(size=(64, 32)).astype(np.float32), "n": np.array(7, np.int64)}


def make_model(folder: Path, version: str = "1.0.0", seed: int = 0, **fields: Any) -> Path:
    """A model with two files of weights, as a folder."""
    folder.mkdir(parents=True)
    save_file(arrays(seed), folder / "encoder.safetensors", metadata={"made": "here"})
    save_file(arrays(seed + 1), folder / "head.safetensors")
    card = Card(
        name=NAME,
        version=version,
        method="segmentation",
        summary="Finds bodies.",
        min_program_version="0.1.0",
        files=tuple(describe_file(folder / file) for file in ("encoder.safetensors", "head.safetensors")),
        license="Apache-2.0",
        license_text="Free to use; name the authors.",
        trained_on="200 phantoms",
        figures=(Figure("Dice", 0.95, (0.94, 0.96), "phantoms never trained on", "evaluate segmentation"),),
        config={"spacing_mm": [1, 1, 1]},
    )
    (folder / "card.json").write_bytes(dataclasses.replace(card, **fields).to_json())
    return folder


def pack(folder: Path, path: Path, prefix: str = f"{NAME}/", **extra: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, prefix + file.name)
        for name, data in extra.items():
            archive.writestr(prefix + name, data)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of imported models, not yet made, and no shipped ones."""
    monkeypatch.setenv(places.ENVIRONMENT, str(tmp_path / "data" / "models"))
    monkeypatch.setattr(registry, "resource", lambda name: tmp_path / "shipped")
    return tmp_path / "data" / "models"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "source" / NAME)


def assert_is_whole(home: Path, version: str) -> None:
    """One model of this version is there, passes verification, and nothing is left beside it."""
    assert os.listdir(home) == [NAME]
    found = find_model(NAME)
    assert found.version == version
    found.verify()


def assert_refused(home: Path, source: Path, words: str, kind: type[MethodError | OutputError] = MethodError) -> None:
    """Import fails with a typed error that has a hint and no path, and changes nothing."""
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} if home.exists() else {}
    with pytest.raises(kind) as caught:
        import_model(source)
    assert words in caught.value.message
    assert caught.value.hint
    assert "/" not in str(caught.value).replace("and/or", "")
    after = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} if home.exists() else {}
    assert after == before
    assert not home.exists() or not [name for name in os.listdir(home) if name.startswith(".")]


# Import, list, find, delete.


@pytest.mark.parametrize("form", ["folder", "zip with a folder", "zip without", "zip with a folder of another name"])
def test_import_list_find_delete(tmp_path: Path, home: Path, model: Path, form: str) -> None:
    assert list_models() == ()
    prefix = {"zip with a folder": f"{NAME}/", "zip without": ""}.get(form, "body-net-main/")
    source = model if form == "folder" else pack(model, tmp_path / "a model.zip", prefix)
    imported = import_model(str(source))
    assert_is_whole(home, "1.0.0")
    assert list_models() == (imported,) == (find_model(NAME),)
    assert (imported.name, imported.method, imported.place) == (NAME, "segmentation", "imported")
    assert imported.complete
    assert imported.problem == ""
    assert imported.bytes == sum(path.stat().st_size for path in model.iterdir())
    card = imported.verify()
    assert card.figures[0].interval == (0.94, 0.96)
    assert card.config == {"spacing_mm": [1, 1, 1]}
    assert imported.path("head.safetensors").read_bytes() == (model / "head.safetensors").read_bytes()
    with pytest.raises(MethodError, match="has no file"):
        imported.path("../card.json")
    assert str(home) not in repr(imported)
    delete_model(NAME)
    assert list_models() == ()
    assert os.listdir(home) == []
    with pytest.raises(MethodError, match="not installed") as caught:
        find_model(NAME)
    assert "models import" in caught.value.hint
    with pytest.raises(MethodError, match="not installed"):
        delete_model(NAME)


def test_checksum_is_what_the_shell_prints(home: Path, model: Path) -> None:
    lines = ""
    for file in ("encoder.safetensors", "head.safetensors"):
        lines += f"{hashlib.sha256((model / file).read_bytes()).hexdigest()}  {file}\n"
    assert import_model(model).checksum == hashlib.sha256(lines.encode()).hexdigest()[:12]


def test_files_of_an_imported_model_can_be_read_by_whom_the_umask_lets(home: Path, model: Path) -> None:
    old = os.umask(0o022)
    try:
        import_model(model)
    finally:
        os.umask(old)
    assert stat.S_IMODE((home / NAME).stat().st_mode) & 0o755 == (0o755 if os.name == "posix" else 0o555)


@pytest.mark.parametrize("name", ["..", "../models", "", ".", "/", "body-net/..", "BODY-NET", "(imported models)"])
def test_names_that_are_no_models_are_not_found_and_delete_nothing(home: Path, model: Path, name: str) -> None:
    import_model(model)
    with pytest.raises(MethodError):
        find_model(name)
    with pytest.raises(MethodError):
        delete_model(name)
    assert_is_whole(home, "1.0.0")


def test_another_version_replaces_the_old_one(tmp_path: Path, home: Path, model: Path) -> None:
    import_model(model)
    import_model(pack(make_model(tmp_path / "v2", "1.10.0", seed=9), tmp_path / "v2.zip"))
    assert_is_whole(home, "1.10.0")
    import_model(model)  # back to earlier results
    assert_is_whole(home, "1.0.0")
    import_model(home / NAME)  # from itself
    assert_is_whole(home, "1.0.0")


def test_shipped_and_imported(tmp_path: Path, home: Path, model: Path) -> None:
    make_model(tmp_path / "shipped" / NAME, "1.2.0", seed=5)
    assert find_model(NAME).place == "shipped"
    with pytest.raises(MethodError, match="came with the program"):
        delete_model(NAME)
    assert_refused(home, model, "older than 1.2.0")
    import_model(make_model(tmp_path / "newer", "1.10.0"))
    assert [(found.version, found.place) for found in list_models()] == [("1.2.0", "shipped"), ("1.10.0", "imported")]
    assert find_model(NAME).place == "imported"
    shutil.rmtree(tmp_path / "shipped" / NAME)
    make_model(tmp_path / "shipped" / NAME, "2.0.0")  # the program was updated
    assert find_model(NAME).version == "2.0.0"
    delete_model(NAME)
    assert [found.place for found in list_models()] == ["shipped"]


def test_a_broken_imported_model_is_not_silently_replaced_by_the_shipped_one(tmp_path: Path, home: Path) -> None:
    make_model(tmp_path / "shipped" / NAME)
    import_model(make_model(tmp_path / "newer", "1.1.0"))
    (home / NAME / "card.json").write_text("{")
    with pytest.raises(MethodError, match="cannot be used"):
        find_model(NAME)
    delete_model(NAME)
    find_model(NAME).verify()


# What lies on disk may be broken.


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


BREAKS: dict[str, tuple[Callable[[Path], object], str, bool]] = {
    "card missing": (lambda f: (f / "card.json").unlink(), "card.json is missing", True),
    "card not JSON": (lambda f: (f / "card.json").write_text("{"), "not JSON", True),
    "card not UTF-8": (lambda f: (f / "card.json").write_bytes(b"\xff\xfe"), "not JSON", True),
    "card too deep": (lambda f: (f / "card.json").write_text("[" * 100_000), "not JSON", True),
    "card a list": (lambda f: (f / "card.json").write_text("[]"), "not an object", True),
    "card huge": (lambda f: (f / "card.json").write_bytes(b" " * 2_000_000), "too large", True),
    "weights missing": (lambda f: (f / "head.safetensors").unlink(), "head.safetensors is missing", True),
    "weights cut": (lambda f: os.truncate(f / "head.safetensors", 100), "cut short: 100 of", True),
    "weights empty": (lambda f: os.truncate(f / "head.safetensors", 0), "cut short: 0 of", True),
    "weights longer": (lambda f: os.truncate(f / "head.safetensors", 10**5), "too long", True),
    "one bit": (lambda f: _flip(f / "head.safetensors"), "checksum is another one", False),
    "folder renamed": (lambda f: f.rename(f.parent / "other"), "another name than its card", True),
}


@pytest.mark.parametrize("fault", BREAKS)
def test_a_broken_model_is_listed_with_its_problem_and_never_verifies(home: Path, model: Path, fault: str) -> None:
    import_model(model)
    breaks, words, seen_at_once = BREAKS[fault]
    breaks(home / NAME)
    (found,) = list_models()
    assert found.complete is not seen_at_once
    assert (words in found.problem) is seen_at_once
    with pytest.raises(MethodError) as caught:
        found.verify()
    assert words in caught.value.message
    assert caught.value.hint
    assert str(home) not in str(caught.value)
    assert not found.verified().complete
    assert words in found.verified().problem
    if seen_at_once:
        with pytest.raises(MethodError):
            find_model(found.name)
    delete_model(found.name)
    assert os.listdir(home) == []


def test_links_are_not_followed(tmp_path: Path, home: Path, model: Path) -> None:
    import_model(model)
    (home / NAME / "head.safetensors").unlink()
    (home / NAME / "head.safetensors").symlink_to(model / "head.safetensors")
    assert "missing" in list_models()[0].problem
    shutil.rmtree(home / NAME)
    (home / NAME).symlink_to(model)
    assert "link" in list_models()[0].problem
    delete_model(NAME)
    assert (model / "head.safetensors").exists()
    assert os.listdir(home) == []


def test_a_model_for_a_newer_program_is_listed_and_refused(tmp_path: Path, home: Path, model: Path) -> None:
    newer = make_model(tmp_path / "newer", min_program_version="99.0.0")
    assert_refused(home, newer, "needs VertebralGrading 99.0.0")
    assert not home.exists()
    import_model(model)
    shutil.copy(newer / "card.json", home / NAME)
    assert "99.0.0" in list_models()[0].problem


def test_other_things_in_the_folder_do_no_harm(home: Path, model: Path) -> None:
    import_model(model)
    (home / "notes.txt").write_text("mine")
    (home / "empty").mkdir()
    (home / ".hidden").mkdir()
    assert [(found.name, found.complete) for found in list_models()] == [(NAME, True), ("empty", False)]


def test_a_folder_that_cannot_be_read_is_an_entry(tmp_path: Path, home: Path) -> None:
    make_model(tmp_path / "shipped" / NAME)
    home.parent.mkdir(parents=True)
    home.write_text("a file where the folder should be")
    models = list_models()
    assert [found.place for found in models if not found.complete] == ["imported"]
    assert "cannot be read" in models[0].problem
    assert find_model(NAME).place == "shipped"


# What is handed over may be anything.


def _edit(folder: Path, **changes: Any) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, **changes}))


def _replace_weights(folder: Path, data: bytes) -> None:
    """Other bytes in place of the weights, truthfully described by the card."""
    (folder / "head.safetensors").write_bytes(data)
    files = [dataclasses.asdict(describe_file(folder / file)) for file in ("encoder.safetensors", "head.safetensors")]
    _edit(folder, files=files)


FOLDER_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped bit": (lambda f: _flip(f / "encoder.safetensors"), "checksum is another one"),
    "cut short": (lambda f: os.truncate(f / "encoder.safetensors", 200), "cut short"),
    "too long": (lambda f: os.truncate(f / "encoder.safetensors", 10**5), "too long"),
    "missing": (lambda f: (f / "encoder.safetensors").unlink(), "is missing"),
    "no card": (lambda f: (f / "card.json").unlink(), "no card.json"),
    "not listed": (lambda f: save_file(arrays(), f / "extra.safetensors"), "not part of it: 'extra.safetensors'"),
    "a text": (lambda f: (f / "README.md").write_text("x"), "not part of it: 'README.md'"),
    "a folder": (lambda f: (f / "more").mkdir(), "not part of it: 'more'"),
    "a pipe": (lambda f: os.mkfifo(f / "pipe"), "not part of it: 'pipe'"),
    "a link": (lambda f: (f / "link.safetensors").symlink_to("/etc/passwd"), "holds a link"),
    "a pickle": (lambda f: (f / "weights.PTH").write_bytes(b"x"), "can run code"),
    "many files": (lambda f: [(f / f"f{n}.safetensors").touch() for n in range(70)], "too many files"),
    "no weights": (lambda f: _replace_weights(f, b"PK\3\4 a pickle of torch" * 9), "no safetensors file"),
    "newer schema": (lambda f: _edit(f, schema="vertebral-grading/model-card/2"), "schema is another one"),
}

ONLY_IN_FOLDERS = {"a pipe", "a link", "a folder"}


@pytest.mark.parametrize("installed", [False, True])
@pytest.mark.parametrize(
    ("fault", "zipped"),
    # pipes, links and folders are made otherwise in a zip file, see below
    [
        (fault, zipped)
        for fault in FOLDER_FAULTS
        for zipped in (False, True)
        if not (zipped and fault in ONLY_IN_FOLDERS)
    ],
)
def test_faulty_models_are_refused(
    tmp_path: Path, home: Path, model: Path, fault: str, zipped: bool, installed: bool
) -> None:
    if installed:
        import_model(model)
    source = make_model(tmp_path / "new", "2.0.0", seed=3)
    breaks, words = FOLDER_FAULTS[fault]
    breaks(source)
    if zipped:
        source = pack(source, tmp_path / "new.zip")
    assert_refused(home, source, words)
    if installed:
        assert_is_whole(home, "1.0.0")


def _zip_with(model: Path, path: Path, name: str, data: bytes = b"x", mode: int = 0, copies: int = 1) -> Path:
    pack(model, path)
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("placeholder")
        info.filename = info.orig_filename = name
        info.external_attr = mode << 16
        for _ in range(copies):
            archive.writestr(info, data)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../evil.safetensors", "outside its own folder"),
        (f"{NAME}/../../evil.safetensors", "outside its own folder"),
        (f"{NAME}/..", "outside its own folder"),
        ("/etc/evil.safetensors", "outside its own folder"),
        ("..\\evil.safetensors", "outside its own folder"),
        ("C:/evil.safetensors", "outside its own folder"),
        ("C:evil.safetensors", "outside its own folder"),
        (f"{NAME}/head.safetensors:stream", "outside its own folder"),
        (f"{NAME}/more/evil.safetensors", "not part of it"),
        (f"{NAME}/more/", "not part of it"),
        ("other/evil.safetensors", "not part of it"),
        (f"{NAME}/data.pkl", "can run code"),
        ("data/weights.bin", "can run code"),
        (f"{NAME}/\x1b[2Jevil", "not part of it: '\\x1b[2Jevil'"),
        (f"{NAME}/head.safetensors", "holds a file twice"),
        (f"{NAME}/card.json", "holds a file twice"),
    ],
)
def test_zip_files_with_foreign_names_are_refused(
    tmp_path: Path, home: Path, model: Path, name: str, words: str
) -> None:
    assert_refused(home, _zip_with(model, tmp_path / "evil.zip", name), words)
    assert not list(tmp_path.rglob("evil*.safetensors"))


def test_zip_files_with_a_zero_in_a_name_are_refused(tmp_path: Path, home: Path, model: Path) -> None:
    path = _zip_with(model, tmp_path / "m.zip", f"{NAME}/#evil")  # read as "body-net/", if one stops at the zero
    path.write_bytes(path.read_bytes().replace(b"#evil", b"\0evil"))
    assert_refused(home, path, "outside its own folder")


def test_zip_files_with_links_are_refused(tmp_path: Path, home: Path, model: Path) -> None:
    (model / "head.safetensors").unlink()
    path = _zip_with(model, tmp_path / "m.zip", f"{NAME}/head.safetensors", b"/etc/passwd", stat.S_IFLNK | 0o777)
    assert_refused(home, path, "holds a link")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, home: Path, model: Path) -> None:
    size = 300_000_000
    files = [dataclasses.asdict(describe_file(model / "encoder.safetensors"))]
    _edit(model, files=[*files, {"file": "head.safetensors", "sha256": "0" * 64, "bytes": size}])
    (model / "head.safetensors").write_bytes(b"")
    os.truncate(model / "head.safetensors", size)
    path = pack(model, tmp_path / "bomb.zip")
    assert path.stat().st_size < 1_000_000
    assert_refused(home, path, "too large when it is unpacked")


def test_a_card_bomb_is_refused(tmp_path: Path, home: Path, model: Path) -> None:
    (model / "card.json").write_bytes(b" " * 90_000_000)
    assert_refused(home, pack(model, tmp_path / "bomb.zip"), "too large")
    assert_refused(home, model, "too large")
    liar = PackedFile(10, lambda: io.BytesIO(b" " * 3_000_000))
    assert len(registry._read_card({"card.json": liar})) == MAX_CARD_BYTES + 1


def test_a_zip_file_that_lies_about_sizes_is_refused(tmp_path: Path, home: Path, model: Path) -> None:
    """The directory says a size the card agrees with, but more is packed: no more than that is ever read."""
    data = (model / "head.safetensors").read_bytes()
    path = tmp_path / "lie.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(model / "card.json", f"{NAME}/card.json")
        archive.write(model / "encoder.safetensors", f"{NAME}/encoder.safetensors")
        archive.writestr(f"{NAME}/head.safetensors", data + os.urandom(100_000))
        archive.infolist()[-1].file_size = len(data)
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo(f"{NAME}/head.safetensors").file_size == len(data)
    with pytest.raises(MethodError, match="damaged"):
        import_model(path)
    assert os.listdir(home) == []


@pytest.mark.parametrize("place", [0.02, 0.3, 0.6, 0.9, 0.97])
@pytest.mark.parametrize("fault", ["cut", "changed"])
def test_damaged_zip_files_are_refused(tmp_path: Path, home: Path, model: Path, place: float, fault: str) -> None:
    path = pack(model, tmp_path / "m.zip")
    data = bytearray(path.read_bytes())
    at = int(place * len(data))
    end = len(data) if fault == "cut" else at + 40
    data[at:end] = b"" if fault == "cut" else bytes(255 - byte for byte in data[at:end])
    path.write_bytes(data)
    with pytest.raises(MethodError) as caught:
        import_model(path)
    assert caught.value.hint
    assert not home.exists() or os.listdir(home) == []


def test_encrypted_and_unusual_zip_files_are_refused(tmp_path: Path, home: Path, model: Path) -> None:
    path = pack(model, tmp_path / "m.zip")
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2")
    data[at + 8] |= 1
    (tmp_path / "secret.zip").write_bytes(data)
    assert_refused(home, tmp_path / "secret.zip", "encrypted")
    with zipfile.ZipFile(tmp_path / "lzma.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.write(model / "card.json", "card.json")
    assert_refused(home, tmp_path / "lzma.zip", "unusual")


def test_what_is_no_model_at_all_is_refused(tmp_path: Path, home: Path, model: Path) -> None:
    assert_refused(home, tmp_path / "none.zip", "no such model file")
    assert_refused(home, model / "head.safetensors", "no model")
    (tmp_path / "w.pt").write_bytes(pack(model, tmp_path / "m.zip").read_bytes())
    assert_refused(home, tmp_path / "w.pt", "can run code")
    (tmp_path / "empty").mkdir()
    assert_refused(home, tmp_path / "empty", "no card.json")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    assert_refused(home, tmp_path / "empty.zip", "no card.json")
    assert_refused(home, pack(model, tmp_path / "deep.zip", "a/b/"), "no card.json")


# Writing may fail at any step.


def child(code: str, home: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, with the package importable and ``argv`` as given."""
    start = "import sys, os\nfrom VertebralGradingLib.models import registry, places, weights, package\n"
    return subprocess.run(
        [sys.executable, "-c", start + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), places.ENVIRONMENT: str(home)},
    )


TELL = """
from VertebralGradingLib.errors import VertebralGradingError
try:
    registry.import_model(sys.argv[1])
except VertebralGradingError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
@pytest.mark.parametrize("limit", [0, 100, 3000, 8_000])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, home: Path, model: Path, limit: int) -> None:
    import_model(model)
    new = make_model(tmp_path / "new", "2.0.0", seed=4)
    assert (new / "encoder.safetensors").stat().st_size > limit
    code = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))" + TELL
    finished = child(code, home, new)
    assert finished.stdout.startswith("OutputError The model cannot be written: the disk is full."), finished
    assert str(tmp_path) not in finished.stdout
    assert_is_whole(home, "1.0.0")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_an_unwritable_folder_leaves_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _import_as_nobody(Path(folder), monkeypatch)


def _import_as_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that the user "nobody" may read, since the tests may run as root."""
    folder.chmod(0o755)
    home = folder / "models"
    monkeypatch.setenv(places.ENVIRONMENT, str(home))
    import_model(make_model(folder / "old"))
    new = make_model(folder / "new", "2.0.0")
    home.chmod(0o555)
    delete = """
try:
    registry.delete_model("body-net")
except VertebralGradingError as error:
    print(type(error).__name__, error)
print([(m.name, m.complete) for m in registry.list_models() if m.place == "imported"])
"""
    become = "os.geteuid() == 0 and os.seteuid(65534)\n"
    try:
        finished = child(become + TELL + delete, home, new)
    finally:
        home.chmod(0o755)
    lines = finished.stdout.splitlines()
    assert lines[0].startswith("OutputError The model cannot be written. Check permissions."), finished
    assert lines[1].startswith("OutputError The model cannot be deleted."), finished
    assert lines[2] == "[('body-net', True)]"
    assert str(folder) not in finished.stdout
    assert_is_whole(home, "1.0.0")


def test_a_file_in_the_way_is_a_typed_error(home: Path, model: Path) -> None:
    home.mkdir(parents=True)
    (home / NAME).write_text("mine")
    with pytest.raises(OutputError, match="cannot be put in its place"):
        import_model(model)
    assert os.listdir(home) == [NAME]
    assert (home / NAME).read_text() == "mine"


def test_an_old_model_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, home: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_model(model)
    rename, calls = os.rename, []

    def failing(source: Path, target: Path) -> None:
        calls.append(Path(source).name.split("-")[0])
        if calls == [".importing", "body", ".importing"]:
            raise PermissionError("held by another program")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OutputError, match="cannot be put in its place"):
        import_model(make_model(tmp_path / "new", "2.0.0"))
    assert calls == [".importing", "body", ".importing", ".replaced"]
    assert_is_whole(home, "1.0.0")


@pytest.mark.parametrize("step", ["_copy", "verify", "first rename", "second rename"])
def test_a_process_that_is_killed_leaves_a_whole_model(tmp_path: Path, home: Path, model: Path, step: str) -> None:
    """Killed without a chance to clean up, at each step: the old model is there, and later imports work."""
    import_model(model)
    code = {
        "_copy": "registry._copy = lambda *a: os._exit(9)",
        "verify": "registry.Model.verify = lambda self: os._exit(9)",
        "first rename": "places.put = lambda *a: os._exit(9)",
        "second rename": """
rename, count = os.rename, []
def f(a, b):
    count.append(a)
    if len(count) == 3:
        os._exit(9)
    rename(a, b)
os.rename = f
""",
    }[step]
    finished = child(code + TELL, home, make_model(tmp_path / "new", "2.0.0"))
    assert finished.returncode == 9, finished
    if step == "second rename":
        assert not (home / NAME).exists()  # the old one stands aside
    assert find_model(NAME).version == "1.0.0"
    find_model(NAME).verify()
    left = [name for name in os.listdir(home) if name != NAME]
    assert [name.split("-")[0] for name in left] == [".importing"]
    assert len(list_models()) == 1
    import_model(tmp_path / "new")
    assert sorted(os.listdir(home)) == sorted([NAME, *left])  # perhaps still at work
    for name in left:
        os.utime(home / name, (0, 0))
    import_model(tmp_path / "new")
    assert_is_whole(home, "2.0.0")


def test_deleting_also_removes_versions_that_stand_aside(home: Path, model: Path) -> None:
    import_model(model)
    shutil.copytree(model, places.beside(home / NAME, "replaced"))
    others = {"body-net-2", ".replaced-body-net-2-0123"}  # of another model
    for name in others:
        shutil.copytree(model, home / name)
    delete_model(NAME)
    assert set(os.listdir(home)) == others


def test_rivals_that_put_and_move_models_in_between_do_no_harm(
    tmp_path: Path, home: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice another process puts its model where ours would go, and once it moves away what we would move."""
    rename, calls = os.rename, []

    def with_rivals(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) in (1, 3):
            shutil.copytree(model, home / NAME)
        if len(calls) == 4:
            shutil.rmtree(home / NAME)
        rename(source, target)

    monkeypatch.setattr(os, "rename", with_rivals)
    import_model(make_model(tmp_path / "new", "2.0.0"))
    assert len(calls) == 5
    assert_is_whole(home, "2.0.0")


def test_a_model_that_was_replaced_since_it_was_looked_up_is_not_called_damaged(
    tmp_path: Path, home: Path, model: Path
) -> None:
    found = import_model(model)
    import_model(make_model(tmp_path / "new", "2.0.0", seed=8))
    with pytest.raises(MethodError, match="replaced meanwhile"):
        found.verify()


def test_processes_that_import_the_same_model_at_once_leave_a_whole_one(tmp_path: Path, home: Path) -> None:
    sources = [make_model(tmp_path / f"v{n}", f"{n}.0.0", seed=n) for n in (1, 2, 3)]
    code = """
print("ready", flush=True)
sys.stdin.readline()
for n in range(40):
    model = registry.import_model(sys.argv[1 + n % 3])
    found = [one for one in registry.list_models() if one.place == "imported"]
    assert len(found) <= 1, found
print("done")
"""
    start = "import sys\nfrom VertebralGradingLib.models import registry\n"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", start + code, *map(str, sources[n:] + sources[:n])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for n in range(3)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        out, err = process.communicate(timeout=120)
        assert out == "done\n", err
    assert_is_whole(home, find_model(NAME).version)


# Cards.

GOOD: dict[str, Any] = {
    "schema": "vertebral-grading/model-card/1",
    "name": "a",
    "version": "1.2.3",
    "method": "dae",
    "summary": "s",
    "min_program_version": "0.1.0",
    "files": [{"file": "a.safetensors", "sha256": "0" * 64, "bytes": 10}],
    "license": "MIT",
    "license_text": "l\nl",
    "trained_on": "t",
    "figures": [{"name": "n", "value": 1, "interval": None, "data": "d", "command": "c"}],
}


def test_a_card_is_read_and_written() -> None:
    card = parse_card(json.dumps(GOOD).encode())
    assert card.files == (WeightFile("a.safetensors", "0" * 64, 10),)
    assert card.config == {}
    assert parse_card(card.to_json()) == card
    assert json.loads(card.to_json()) == {**GOOD, "config": {}}


def _item(key: str, **changes: Any) -> dict[str, Any]:
    return {key: [{**GOOD[key][0], **changes}]}


@pytest.mark.parametrize(
    "changes",
    [
        *({key: None} for key in GOOD),
        {"name": "../a"},
        {"name": "A"},
        {"name": "con"},
        {"name": "a" * 65},
        {"name": ".a"},
        {"name": "a\n"},
        {"version": "1.0"},
        {"version": "1.0.0; rm"},
        {"version": "01.0.0"},
        {"summary": "\x1b[31mred"},
        {"summary": " "},
        {"files": []},
        {"files": GOOD["files"] * 2},
        {"files": [{**GOOD["files"][0], "file": f"f{n}.safetensors"} for n in range(65)]},
        {"figures": {}},
        {"figures": [3]},
        {"config": []},
        {"config": {"x": float("inf")}},
        {"more": 1},
        *(
            _item("files", **item)
            for item in (
                {"file": "../a.safetensors"},
                {"file": "a/b.safetensors"},
                {"file": "a.pt"},
                {"file": "nul.safetensors"},
                {"file": "card.json"},
                {"sha256": "A" * 64},
                {"sha256": "0" * 63},
                {"bytes": 0},
                {"bytes": -1},
                {"bytes": True},
                {"bytes": 1.5},
                {"bytes": 5 * 1024**3},
                {"more": 1},
            )
        ),
        *(
            _item("figures", **item)
            for item in (
                {"value": float("nan")},
                {"value": "1"},
                {"value": True},
                {"value": 10**400},
                {"interval": [2, 1]},
                {"interval": [1]},
                {"interval": "12"},
                {"data": 3},
                {"more": 1},
            )
        ),
    ],
    ids=lambda changes: json.dumps(changes)[:60],
)
def test_faulty_cards_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MethodError, match="card cannot be used") as caught:
        parse_card(json.dumps({**GOOD, **changes}).encode())
    assert caught.value.hint


@pytest.mark.parametrize("key", GOOD)
def test_a_card_that_lacks_a_field_is_refused(key: str) -> None:
    with pytest.raises(MethodError, match=f"lacks '{key}'"):
        parse_card(json.dumps({name: value for name, value in GOOD.items() if name != key}).encode())


def test_a_card_cannot_say_two_things_at_once() -> None:
    text = json.dumps(GOOD).replace('"version"', '"name": "b", "version"')
    with pytest.raises(MethodError, match="not JSON"):
        parse_card(text.encode())


@pytest.mark.parametrize("text", ['{"x": 1e999}', '{"x": "\\ud800"}'])
def test_a_card_whose_config_could_not_be_written_again_is_refused(text: str) -> None:
    with pytest.raises(MethodError, match="cannot"):
        parse_card(json.dumps({**GOOD, "config": 0}).replace('"config": 0', f'"config": {text}').encode())


def test_no_card_is_written_that_could_not_be_read() -> None:
    card = parse_card(json.dumps(GOOD).encode())
    with pytest.raises(MethodError):
        dataclasses.replace(card, version="next").to_json()
    with pytest.raises(MethodError):
        dataclasses.replace(card, config={"x": {1, 2}}).to_json()


def test_versions_are_compared_as_numbers() -> None:
    assert version_number("0.9.12") < version_number("0.10.0") < version_number("1.0.0")
    assert version_number("0.10.0.dev1") == version_number("0.10.0rc1") == (0, 10, 0)


# Weights.


def test_header_agrees_with_the_library(tmp_path: Path) -> None:
    written = {**arrays(), "half": np.zeros((3, 0, 2), np.float16), "flag": np.array([True])}
    save_file(written, tmp_path / "a.safetensors")
    data = (tmp_path / "a.safetensors").read_bytes()
    found = read_header(tmp_path / "a.safetensors")
    assert found.keys() == written.keys()
    for name, tensor in found.items():
        assert tensor.shape == written[name].shape
        assert data[tensor.begin : tensor.end] == written[name].tobytes()


def _file(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def _array(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04\x95",
        bytes(8),
        _file({"a": _array()}, bytes(8), 2**63),
        _file({"a": _array()}, bytes(8), 200),
        _file({"a": _array()}, bytes(8), 20),
        _file(b"\xff\xff", bytes(8)),
        _file([], b""),
        _file({}, b""),
        _file({"a": 3}),
        _file({"a": _array()}, bytes(7)),
        _file({"a": _array()}, bytes(9)),
        _file({"a": _array("F99")}, bytes(8)),
        _file({"a": _array([])}, bytes(8)),
        _file({"a": _array(shape=(3,))}, bytes(8)),
        _file({"a": _array(shape=(-1, -2))}, bytes(8)),
        _file({"a": _array(shape=(2.0,))}, bytes(8)),
        _file({"a": _array(shape=(2**40, 2**40))}, bytes(8)),
        _file({"a": _array(offsets=(8, 16))}, bytes(16)),
        _file({"a": _array(offsets=(8, 0))}, bytes(8)),
        _file({"a": _array(offsets=(-8, 0))}, bytes(8)),
        _file({"a": _array(), "b": _array()}, bytes(8)),
        _file({"a": _array(), "b": _array(offsets=(12, 20))}, bytes(20)),
        _file({"a": {**_array(), "more": 1}}, bytes(8)),
        _file(b'{"a": %b, "a": %b}' % ((json.dumps(_array()).encode(),) * 2), bytes(8)),
        _file(b"[" * 100_000),
    ],
    ids=lambda content: repr(content[:40]),
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(MethodError, match="no safetensors file"):
        read_header(tmp_path / "a.safetensors")


def test_the_smallest_good_file_is_read(tmp_path: Path) -> None:
    """The faulty files above differ from this one in one thing each."""
    (tmp_path / "a.safetensors").write_bytes(_file({"a": _array()}, bytes(8)))
    assert read_header(tmp_path / "a.safetensors")["a"].shape == (2,)


def test_every_type_that_the_library_writes_has_its_size(tmp_path: Path) -> None:
    for dtype in (np.bool_, *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8"):
        (tmp_path / "a.safetensors").write_bytes(save({"a": np.zeros(3, dtype)}))
        (tensor,) = read_header(tmp_path / "a.safetensors").values()
        assert weights.DTYPE_BYTES[tensor.dtype] == np.dtype(dtype).itemsize


# Where models lie.


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "/home/u/.local/share"),
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data"),
        ("linux", {"XDG_DATA_HOME": "data"}, "/home/u/.local/share"),
        ("darwin", {"XDG_DATA_HOME": "/data"}, "/home/u/Library/Application Support"),
        ("win32", {"APPDATA": "/roaming"}, "/roaming"),
        ("win32", {}, "/home/u/AppData/Roaming"),
    ],
)
def test_folder_of_imported_models(
    monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], expected: str
) -> None:
    for name in (places.ENVIRONMENT, "XDG_DATA_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/u"))
    monkeypatch.setattr(sys, "platform", platform)
    assert places.imported_folder() == Path(expected) / "VertebralGrading" / "models"


def test_without_a_home_there_are_only_shipped_models(
    tmp_path: Path, home: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv(places.ENVIRONMENT)
    monkeypatch.setattr(Path, "home", no_home)
    make_model(tmp_path / "shipped" / NAME)
    assert [found.place for found in list_models()] == ["shipped"]
    with pytest.raises(OutputError) as caught:
        import_model(model)
    assert places.ENVIRONMENT in caught.value.hint


def test_shipped_models_of_this_version_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(places.ENVIRONMENT, str(tmp_path))
    for shipped in list_models():
        assert shipped.place == "shipped"
        shipped.verify()


# The command line.


def run(home: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "VertebralGradingLib.cli", "models", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", places.ENVIRONMENT: str(home)},
    )


def test_commands(tmp_path: Path, home: Path, model: Path) -> None:
    before = json.loads(run(home, "list", "--json").stdout)
    assert {entry["place"] for entry in before} <= {"shipped"}
    finished = run(home, "import", pack(model, tmp_path / "m.zip"))
    assert finished.returncode == 0, finished.stderr
    (imported,) = list_models()
    assert imported.checksum in finished.stdout
    listed = run(home, "list", "--verify").stdout
    assert all(word in listed for word in (NAME, "1.0.0", "segmentation", "imported", "verified"))
    _flip(home / NAME / "head.safetensors")
    assert NAME not in [line for line in run(home, "list", "--verify").stdout.splitlines() if "verified" in line]
    entry = next(one for one in json.loads(run(home, "list", "--verify", "--json").stdout) if one["name"] == NAME)
    assert entry["complete"] is False
    assert "checksum" in entry["problem"]
    assert entry["card"]["figures"][0]["value"] == 0.95
    assert str(home) not in json.dumps(entry)
    assert run(home, "delete", NAME).returncode == 0
    failed = run(home, "delete", NAME)
    assert failed.returncode == 6
    assert "Hint:" in failed.stderr
    failed = run(home, "import", tmp_path / "none.zip")
    assert failed.returncode == 6
    assert str(tmp_path) not in failed.stderr + failed.stdout
    assert "Traceback" not in failed.stderr


def test_the_registry_loads_nothing_heavy() -> None:
    finished = child("print(*{name.split('.')[0] for name in sys.modules})", Path("none"))
    assert finished.returncode == 0, finished.stderr
    assert not {"torch", "numpy", "safetensors", "scipy", "typer", "rich"} & set(finished.stdout.split())
