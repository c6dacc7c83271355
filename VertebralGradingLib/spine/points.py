"""Reading centroids: Slicer markups (.mrk.json, .fcsv), VerSe ``*_ctd.json``, and plain lists."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.errors import CentroidError
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.spine.anatomy import VERSE, parse_level

_HINT = "Supported: Slicer markups (.mrk.json, .fcsv) and VerSe centroids (*_ctd.json)."
_AXIS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


@dataclass(frozen=True)
class Point:
    """One centroid as the user gave it.

    Attributes:
        position: RAS mm.
        level: standard name, or None when the label names no vertebra.
        label: the user's own text.
    """

    position: tuple[float, float, float]
    level: str | None = None
    label: str = ""


def read_points(path: str | Path, image: Volume | None = None) -> list[Point]:
    """Read centroids from a file; the ending and the content choose the format.

    Args:
        path: ``.mrk.json``, ``.fcsv`` or VerSe ``.json``.
        image: the volume that VerSe's voxel coordinates refer to; not needed for Slicer files.

    Returns:
        Points with finite positions; undefined or skipped ones are left out.

    Raises:
        CentroidError: unknown format, damaged file, no points, or VerSe points without their image.
    """
    path = Path(path)
    if not path.exists():
        raise CentroidError("The centroid file does not exist.", "Check the path.")
    try:
        text = path.read_text(encoding="utf-8-sig", errors="strict")
        if path.suffix.lower() == ".fcsv":
            points = parse_fcsv(text)
        else:
            content = json.loads(text)
            points = parse_markups(content) if isinstance(content, dict) else parse_verse(content, image)
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise CentroidError("The centroid file is damaged or of an unknown format.", _HINT) from error
    if not points:
        raise CentroidError("The centroid file has no defined points.", "Place at least one point per vertebra.")
    return points


def parse_markups(content: dict[str, Any]) -> list[Point]:
    """Points of a Slicer markups file (every point list in it), LPS or RAS as the file says; others are refused.

    Raises:
        CentroidError: no markups, or fields of the wrong kind.
    """
    try:
        points = []
        for markup in content["markups"]:
            if markup.get("type", "Fiducial") != "Fiducial":
                continue
            sign = _sign(str(markup.get("coordinateSystem", "LPS")))
            for item in markup.get("controlPoints", []):
                if item.get("positionStatus", "defined") != "defined" or item.get("position") is None:
                    continue
                x, y, z = (float(v) for v in item["position"])
                points += _point((sign * x, sign * y, z), str(item.get("label", "")))
        return points
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CentroidError("The markups file does not have the expected fields.", _HINT) from error


def parse_fcsv(text: str) -> list[Point]:
    """Points of a Slicer 4 fiducial file.

    Raises:
        CentroidError: rows that cannot be read.
    """
    sign, columns, points = 1.0, ["id", "x", "y", "z"], []
    for line in text.splitlines():
        if line.startswith("#"):
            key, _, value = line[1:].partition("=")
            if key.strip() == "CoordinateSystem":
                sign = _sign({"0": "RAS", "1": "LPS"}.get(value.strip(), value.strip()))
            elif key.strip() == "columns":
                columns = [name.strip() for name in value.split(",")]
        elif line.strip():
            row = dict(zip(columns, next(csv.reader([line])), strict=False))
            try:
                position = (sign * float(row["x"]), sign * float(row["y"]), float(row["z"]))
            except (KeyError, ValueError) as error:
                raise CentroidError("The .fcsv file has a row without a position.", _HINT) from error
            points += _point(position, row.get("label", ""))
    return points


def parse_verse(content: list[Any], image: Volume | None) -> list[Point]:
    """Points of a VerSe ``ctd`` file: voxel coordinates along the axes its first entry names.

    The file's axes may differ from the image's own; the conversion goes through the image's affine, without the
    one-voxel shift of mirroring by (size - x). (anjany/verse README; sheet 5 section 5.)

    Raises:
        CentroidError: no direction, wrong fields, or no image to refer to.
    """
    if image is None:
        raise CentroidError("VerSe centroids are voxel positions.", "Give the CT or mask they belong to.")
    try:
        direction = [str(axis).upper() for axis in content[0]["direction"]]
        axes = [_AXIS[axis] for axis in direction]
        if sorted(axis for axis, _ in axes) != [0, 1, 2]:
            raise KeyError("direction")
        to_image = _verse_axes(axes, image)
        points = []
        for item in content[1:]:
            xyz = np.array([float(item[key]) for key in "XYZ"])
            index = np.empty(3)
            for given, (own, flip) in enumerate(to_image):
                index[own] = image.shape[own] - 1 - xyz[given] if flip else xyz[given]
            level = VERSE.get(int(item["label"]))
            if level is not None:
                points += _point(tuple(image.to_ras(index)), level)
        return points
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise CentroidError("The VerSe centroid file does not have the expected fields.", _HINT) from error


def _verse_axes(axes: list[tuple[int, int]], image: Volume) -> list[tuple[int, bool]]:
    """For each axis of the file: the image axis along it, and whether it runs the other way."""
    from scipy.optimize import linear_sum_assignment

    cosines = (image.affine[:3, :3] / image.spacing).T  # (image axis, RAS axis)
    own, world = linear_sum_assignment(-np.abs(cosines))
    image_axis = {int(w): int(o) for o, w in zip(own, world, strict=True)}
    return [(image_axis[w], bool(cosines[image_axis[w], w] * sign < 0)) for w, sign in axes]


def write_markups(points: list[Point], path: str | Path) -> None:
    """Write points as a Slicer markups file (fiducials, LPS)."""
    controls = [
        {
            "id": str(n + 1),
            "label": point.level or point.label,
            "position": [-point.position[0], -point.position[1], point.position[2]],
            "selected": True,
            "locked": False,
            "visibility": True,
            "positionStatus": "defined",
        }
        for n, point in enumerate(points)
    ]
    schema = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    content = {
        "@schema": schema + "markups-schema-v1.0.3.json#",
        "markups": [
            {"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm", "controlPoints": controls}
        ],
    }
    Path(path).write_text(json.dumps(content, indent=1), encoding="utf-8")


def positions(points: list[Point]) -> NDArray[np.float64]:
    """(n, 3) RAS mm."""
    return np.array([point.position for point in points], dtype=np.float64).reshape(-1, 3)


def _sign(system: str) -> float:
    if system.upper() not in ("RAS", "LPS"):
        raise CentroidError(f"The points' coordinate system {system!r} is not known.", "Use RAS or LPS.")
    return 1.0 if system.upper() == "RAS" else -1.0


def _point(position: Any, label: str) -> list[Point]:
    """A list of one point, or none when the position is not finite (VerSe writes NaN for missing)."""
    values = tuple(float(v) for v in position)
    if not all(math.isfinite(v) for v in values):
        return []
    return [Point(values, parse_level(label), label)]  # type: ignore[arg-type]
