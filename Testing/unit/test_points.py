"""Centroid files: Slicer's two formats and VerSe's, all ending at the same place in the world."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nibabel import orientations
from scipy.spatial.transform import Rotation

from VertebralGradingLib.errors import CentroidError
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.spine.anatomy import VERSE, parse_level
from VertebralGradingLib.spine.points import Point, parse_verse, positions, read_points, write_markups

WORLD = [("T12", (10.0, -20.5, 300.25)), ("L1", (11.0, -22.0, 270.0)), ("L2", (12.5, -21.0, 238.75))]


def markups(system: str | None = "LPS", **changes: Any) -> dict[str, Any]:
    sign = 1.0 if system == "RAS" else -1.0
    controls = [
        {"id": str(n), "label": level, "position": [sign * x, sign * y, z], "positionStatus": "defined"}
        for n, (level, (x, y, z)) in enumerate(WORLD, start=1)
    ]
    markup = {"type": "Fiducial", "coordinateSystem": system, "controlPoints": controls, **changes}
    return {"markups": [{key: value for key, value in markup.items() if value is not None}]}


def save(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def assert_world(points: list[Point]) -> None:
    assert [point.level for point in points] == [level for level, _ in WORLD]
    assert np.allclose(positions(points), [place for _, place in WORLD], atol=1e-6)


@pytest.mark.parametrize("system", ["LPS", "RAS", "ras", None])
def test_markups_in_either_system_are_the_same_place(tmp_path: Path, system: str | None) -> None:
    """Without the field Slicer's default is LPS."""
    content = markups("RAS" if system == "ras" else system)
    if system == "ras":
        content["markups"][0]["coordinateSystem"] = "ras"
    assert_world(read_points(save(tmp_path / "p.mrk.json", content)))


def test_several_lists_in_one_file_are_joined(tmp_path: Path) -> None:
    lps, ras = markups("LPS")["markups"][0], markups("RAS")["markups"][0]
    lps["controlPoints"], ras["controlPoints"] = lps["controlPoints"][:1], ras["controlPoints"][1:]
    assert_world(read_points(save(tmp_path / "p.mrk.json", {"markups": [lps, ras]})))


def test_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "p.mrk.json"
    path.write_text(json.dumps(markups()), encoding="utf-8-sig")
    assert_world(read_points(path))


@pytest.mark.parametrize("status", ["undefined", "preview", "missing"])
def test_undefined_points_are_skipped(tmp_path: Path, status: str) -> None:
    content = markups()
    controls = content["markups"][0]["controlPoints"]
    controls.insert(1, {"id": "9", "label": "T3", "position": [0.0, 0.0, 0.0], "positionStatus": status})
    controls.append({"id": "10", "label": "T4", "position": None})
    controls.append({"id": "11", "label": "T5", "position": [float("nan"), 0.0, 0.0]})
    assert_world(read_points(save(tmp_path / "p.mrk.json", content)))


@pytest.mark.parametrize(("header", "sign"), [("0", 1.0), ("RAS", 1.0), ("1", -1.0), ("LPS", -1.0)])
def test_fcsv_in_either_system_is_the_same_place(tmp_path: Path, header: str, sign: float) -> None:
    lines = [
        "# Markups fiducial file version = 4.11",
        f"# CoordinateSystem = {header}",
        "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID",
        *(f"n,{sign * x},{sign * y},{z},0,0,0,1,1,1,0,{level},," for level, (x, y, z) in WORLD),
        "",
    ]
    assert_world(read_points(save(tmp_path / "p.fcsv", "\n".join(lines))))


def test_fcsv_label_with_a_comma_stays_one_label(tmp_path: Path) -> None:
    text = '# CoordinateSystem = RAS\n# columns = id,x,y,z,label,desc\n1,1,2,3,"L1, body",x\n'
    (point,) = read_points(save(tmp_path / "p.fcsv", text))
    assert (point.level, point.label, point.position) == ("L1", "L1, body", (1.0, 2.0, 3.0))


# ---- VerSe --------------------------------------------------------------------------------------------------------

DIRECTIONS = ["".join(code) for axes in itertools.permutations(("LR", "PA", "IS")) for code in itertools.product(*axes)]
"""All 48 orders and signs of three axes."""

TURN = Rotation.from_euler("xyz", [18, -12, 25], degrees=True).as_matrix()
VERSE_LABELS = {level: number for number, level in VERSE.items()}


def oblique_volume(axes: np.ndarray) -> Volume:
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array([0.9, 1.3, 2.0])
    affine[:3, 3] = -35.0, 20.0, 215.0
    return Volume(np.zeros((80, 70, 60), np.uint8), affine)


@pytest.mark.parametrize("stored", [np.eye(3), TURN, TURN @ np.diag([-1.0, 1, 1]), TURN[:, [2, 0, 1]] * [1, -1, 1]])
def test_verse_in_any_stated_direction_is_the_same_place(stored: np.ndarray) -> None:
    """The truth: nibabel reorients the image into the stated direction, and voxels there go through its affine."""
    volume = oblique_volume(stored)
    own = orientations.io_orientation(volume.affine)
    for code in DIRECTIONS:
        turned = orientations.ornt_transform(own, orientations.axcodes2ornt(tuple(code)))
        affine = volume.affine @ orientations.inv_ornt_aff(turned, volume.shape)
        content: list[Any] = [{"direction": list(code)}]
        for level, place in WORLD:
            x, y, z = np.linalg.inv(affine)[:3] @ (*place, 1.0)
            content.append({"label": VERSE_LABELS[level], "X": x, "Y": y, "Z": z})
        assert_world(parse_verse(content, volume))


def test_verse_file_skips_missing_points_and_foreign_labels(tmp_path: Path) -> None:
    volume = oblique_volume(np.eye(3))
    content: list[Any] = [{"direction": ["R", "A", "S"]}]
    for level, place in WORLD:
        x, y, z = volume.to_index(np.array(place))
        content.append({"label": VERSE_LABELS[level], "X": x, "Y": y, "Z": z})
    content.insert(2, {"label": 5, "X": float("nan"), "Y": 1.0, "Z": 1.0})
    content.insert(3, {"label": 27, "X": 1.0, "Y": 1.0, "Z": 1.0})  # coccyx
    content.insert(4, {"label": 99, "X": 1.0, "Y": 1.0, "Z": 1.0})
    assert_world(read_points(save(tmp_path / "a_ctd.json", content), volume))


def test_verse_file_without_its_image_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a_ctd.json", [{"direction": ["R", "A", "S"]}, {"label": 20, "X": 1, "Y": 2, "Z": 3}])
    with pytest.raises(CentroidError, match="voxel positions") as caught:
        read_points(path)
    assert "CT or mask" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.mrk.json", ""),
        ("p.mrk.json", "{"),
        ("p.mrk.json", "[1, 2"),
        ("p.mrk.json", {"nothing": 1}),
        ("p.mrk.json", {"markups": 3}),
        ("p.mrk.json", {"markups": [3]}),
        ("p.mrk.json", {"markups": []}),
        ("p.mrk.json", markups("IJK")),
        ("p.mrk.json", {"markups": [{"controlPoints": [{"position": [1, 2]}]}]}),
        ("p.mrk.json", {"markups": [{"controlPoints": [{"position": ["a", "b", "c"]}]}]}),
        ("p.mrk.json", {"markups": [{"controlPoints": 4}]}),
        ("p.mrk.json", "null"),
        ("p.mrk.json", "3"),
        ("p.mrk.json", '"text"'),
        ("a_ctd.json", []),
        ("a_ctd.json", [{"direction": ["R", "R", "S"]}, {"label": 20, "X": 1, "Y": 2, "Z": 3}]),
        ("a_ctd.json", [{"direction": ["R", "A"]}, {"label": 20, "X": 1, "Y": 2, "Z": 3}]),
        ("a_ctd.json", [{"direction": ["R", "A", "S", "L"]}, {"label": 20, "X": 1, "Y": 2, "Z": 3}]),
        ("a_ctd.json", [{"direction": None}, {"label": 20, "X": 1, "Y": 2, "Z": 3}]),
        ("a_ctd.json", [{"label": 20, "X": 1, "Y": 2, "Z": 3}]),
        ("a_ctd.json", [{"direction": ["R", "A", "S"]}, {"label": "x", "X": 1, "Y": 2, "Z": 3}]),
        ("a_ctd.json", [{"direction": ["R", "A", "S"]}, {"label": 20, "X": 1, "Y": 2}]),
        ("a_ctd.json", [{"direction": ["R", "A", "S"]}, 4]),
        ("a_ctd.json", [{"direction": ["R", "A", "S"]}]),
        ("a_ctd.json", [[1, 2, 3]]),
        ("p.fcsv", ""),
        ("p.fcsv", "# CoordinateSystem = XYZ\n"),
        ("p.fcsv", "1,2\n"),
        ("p.fcsv", "1,a,b,c\n"),
        ("p.fcsv", "1,nan,0,0\n"),
    ],
)
def test_unusable_file_is_refused_with_a_hint(tmp_path: Path, name: str, content: Any) -> None:
    path = save(tmp_path / name, content)
    with pytest.raises(CentroidError) as caught:
        read_points(path, oblique_volume(np.eye(3)))
    assert caught.value.hint
    assert str(tmp_path) not in str(caught.value)


def test_binary_missing_and_folder_are_refused(tmp_path: Path) -> None:
    binary = tmp_path / "p.mrk.json"
    binary.write_bytes(b"\x80\x81\xff\x00")
    for path in (binary, tmp_path / "nothing.json", tmp_path):
        with pytest.raises(CentroidError) as caught:
            read_points(path)
        assert caught.value.hint


def test_written_markups_read_back(tmp_path: Path) -> None:
    path = tmp_path / "p.mrk.json"
    write_markups([Point(place, level, level) for level, place in WORLD], path)
    assert_world(read_points(path))
    first = json.loads(path.read_text(encoding="utf-8"))["markups"][0]
    assert first["coordinateSystem"] == "LPS"
    assert first["controlPoints"][0]["position"] == [-10.0, 20.5, 300.25]


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("L1", "L1"),
        ("l1", "L1"),
        ("Th12", "T12"),
        ("TH 7", "T7"),
        ("D7 body", "T7"),
        ("BW4", "T4"),
        ("LW3", "L3"),
        ("vertebrae_T4", "T4"),
        ("sub-01_L2_center", "L2"),
        ("T-10", None),
        ("T13", "T13"),
        ("L6", "L6"),
        ("S1", "S1"),
        ("C07", "C7"),
        ("T12 T12", "T12"),
        ("F-1", None),
        ("MarkupsFiducial-3", None),
        ("12", None),
        ("", None),
        ("L7", None),
        ("T14", None),
        ("C8", None),
        ("L0", None),
        ("T12-L1", None),
        ("T1 or T2", None),
        ("L12", None),
        ("PL1", None),
        ("L1a", None),
        ("Point 1", None),
    ],
)
def test_levels_are_read_out_of_labels(text: str, level: str | None) -> None:
    assert parse_level(text) == level
