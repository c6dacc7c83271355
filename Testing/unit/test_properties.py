"""Whatever is handed in, the program says what is wrong and what to do, or reports on every vertebra; it never breaks.

Inputs are drawn by hypothesis: centroids (jittered, shuffled, doubled, senseless, with any names) and volumes (tiny, of
any type, on turned, flipped and sheared grids). The draws are the same in every run.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from VertebralGradingLib.errors import InputError, VertebralGradingError
from VertebralGradingLib.findings import Report
from VertebralGradingLib.findings.flags import FLAG_TEXT
from VertebralGradingLib.image.io import as_labels
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume, as_ct
from VertebralGradingLib.morphometry.reference import grade_heights
from VertebralGradingLib.pipeline import grade
from VertebralGradingLib.resources import resource
from VertebralGradingLib.segmentation.labels import centroids_from_labels, interpret
from VertebralGradingLib.spine.anatomy import COMMON, GRADABLE, ORDER, parse_level, rank
from VertebralGradingLib.spine.points import Point, parse_fcsv, parse_markups, parse_verse
from VertebralGradingLib.spine.spine import Spine, build_spine

COMMON_SETTINGS: dict[str, Any] = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
}
MANY = settings(max_examples=250, **COMMON_SETTINGS)
SOME = settings(max_examples=60, **COMMON_SETTINGS)
FEW = settings(max_examples=22, **COMMON_SETTINGS)

LABELS = st.one_of(
    st.sampled_from([*ORDER, "", "F-1", "Th5", "vertebrae_L2", "l3", "BW4", "T0", "L99", "T12-L1", "🦴", "centroid 3"]),
    st.text(max_size=8),
)
SENSELESS = st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e300, -1e18, 1e5, 99_999.0])


@st.composite
def chains(draw: st.DrawFn, most: int = 25) -> list[Point]:
    """Centroids along a bent column, as careful and careless users place them."""
    count = draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    step = draw(st.floats(8.0, 70.0))
    bend, side = draw(st.floats(-40.0, 40.0)), draw(st.floats(-40.0, 40.0))
    t = np.linspace(-1.0, 1.0, count)
    xyz = np.column_stack([side * t**2, bend * np.cos(2 * t), -step * np.arange(count)])
    xyz = (
        xyz
        + rng.normal(0.0, draw(st.sampled_from([0.0, 1.0, 4.0, 15.0])), xyz.shape)
        + draw(st.sampled_from([0.0, -250.0, 900.0]))
    )
    naming = draw(st.sampled_from(["none", "right", "some", "lowest", "any"]))
    first = draw(st.integers(0, max(len(COMMON) - count, 0)))
    labels = [""] * count
    for n in range(count):
        right = COMMON[first + n] if first + n < len(COMMON) else ""
        if naming == "right" or (naming == "some" and rng.random() < 0.4) or (naming == "lowest" and n == count - 1):
            labels[n] = right
        elif naming == "any":
            labels[n] = draw(LABELS)
    points = [_point(place, label) for place, label in zip(xyz, labels, strict=True)]
    if draw(st.booleans()):
        points += [points[draw(st.integers(0, count - 1))] for _ in range(draw(st.integers(1, 2)))]
    if draw(st.integers(0, 9)) == 0:
        bad = [draw(SENSELESS) if draw(st.booleans()) else 0.0 for _ in range(3)]
        points.append(_point(np.array(bad), draw(LABELS)))
    return [points[n] for n in rng.permutation(len(points))]


@st.composite
def scattered(draw: st.DrawFn) -> list[Point]:
    """Any numbers at all, with any labels."""
    coordinate = st.one_of(st.floats(-300, 300), st.floats(), st.integers(-5, 5).map(float), SENSELESS)
    places = draw(st.lists(st.tuples(coordinate, coordinate, coordinate), min_size=0, max_size=12))
    return [_point(np.array(place), draw(LABELS)) for place in places]


def _point(place: NDArray[np.float64], label: str) -> Point:
    x, y, z = (float(v) for v in place)
    return Point((x, y, z), parse_level(label), label)


@st.composite
def affines(draw: st.DrawFn, shape: tuple[int, int, int], center: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turned, flipped, left-handed, swapped, sheared grids whose middle is ``center``."""
    angles = [draw(st.sampled_from([0.0, 0.0, 5.0, -30.0, 90.0, 180.0, 47.0])) for _ in range(3)]
    columns = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    columns = columns[:, draw(st.permutations([0, 1, 2]))] * [draw(st.sampled_from([1.0, -1.0])) for _ in range(3)]
    shear = np.eye(3)
    shear[draw(st.integers(0, 1)), 2] = draw(st.sampled_from([0.0, 0.0, 0.3, -0.5]))
    spacing = [draw(st.sampled_from([0.6, 1.0, 2.0, 5.0])) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = columns @ shear * spacing
    affine[:3, 3] = center - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


@st.composite
def scans(draw: st.DrawFn, center: NDArray[np.float64]) -> Volume:
    """Small volumes: tissue-like noise with some bone, plain values, or anything, of any type; may not be valid."""
    shape = tuple(draw(st.sampled_from([1, 2, 3, 9, 40, 60])) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["tissue", "tissue", "tissue", "plain", "anything", "missing"]))
    values = rng.normal(60.0, 60.0, shape)
    values[rng.random(shape) < 0.1] = -100.0
    if kind == "plain":
        values = np.full(shape, draw(st.sampled_from([0.0, 40.0, -1024.0, 3000.0])))
    elif kind == "anything":
        values = rng.uniform(-3e4, 3e4, shape)
    dtype = draw(st.sampled_from([np.int16, np.int16, np.int16, np.int32, np.uint8, np.float32, np.float64]))
    if kind == "missing":
        values[rng.random(shape) < draw(st.sampled_from([0.02, 1.0]))] = np.nan
        dtype = np.float32
    if np.issubdtype(dtype, np.integer):
        values = np.clip(values, np.iinfo(dtype).min, np.iinfo(dtype).max)
    array = values.astype(dtype)
    if draw(st.booleans()):
        array = np.asfortranarray(array)
    return as_ct(array, draw(affines(array.shape, center)))  # type: ignore[arg-type]


# ---- what must hold -----------------------------------------------------------------------------------------------


def check_error(error: VertebralGradingError) -> None:
    assert error.message
    assert error.hint, f"no hint: {error.message}"
    assert error.exit_code > 1
    event(type(error).__name__)


def check_spine(spine: Spine, points: Sequence[Point]) -> None:
    assert 1 <= len(spine.vertebrae) <= len(points)
    levels = [vertebra.level for vertebra in spine.vertebrae]
    assert len(set(levels)) == len(levels)
    known = [rank(vertebra.level) for vertebra in spine.vertebrae if vertebra.known]
    assert known == sorted(known)
    named = {point.level for point in points if point.level is not None}
    assert named <= set(levels)
    for vertebra in spine.vertebrae:
        assert set(vertebra.flags) <= set(FLAG_TEXT)
        axes = spine.axes(vertebra)
        assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-6)
        assert np.linalg.det(axes) > 0.999
        assert all(step is None or step > 0 for step in spine.spacing_mm(vertebra))
        assert -1 <= vertebra.chain < len(spine.curves)
    event("spine")


def check_report(report: Report, spine: Spine) -> None:
    """One finding for each vertebra that is graded by name or has none; a grade, or a reason why not."""
    wanted = [v.level for v in spine.vertebrae if not v.known or v.level in GRADABLE]
    assert [finding.level for finding in report.findings] == wanted
    for finding in report.findings:
        assert set(finding.flags) <= set(FLAG_TEXT)
        assert finding.gradable == (finding.grade is not None)
        assert finding.gradable != bool(finding.reason)
        if finding.grade is not None:
            assert finding.score is not None
            assert finding.grade_interval is not None
            low, high = finding.grade_interval
            assert 0.0 <= low <= finding.score <= high <= 3.0
            assert finding.evidence
            assert len(finding.points_ras_mm) == 6
        event("graded" if finding.gradable else finding.reason.split("(")[0])
    content = json.loads(report.to_json())
    SCHEMA.validate(content)
    assert Report.from_dict(content).to_dict() == report.to_dict()


SCHEMA = jsonschema.Draft202012Validator(
    json.loads(resource("schema/findings.schema.json").read_text(encoding="utf-8"))
)


# ---- centroids ----------------------------------------------------------------------------------------------------


@MANY
@given(st.one_of(chains(), scattered()), st.one_of(st.none(), st.sampled_from([*ORDER, "", "X", "l5"])))
def test_any_centroids_make_a_spine_or_a_clear_error(points: list[Point], lowest: str | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            spine = build_spine(points, lowest)
        except VertebralGradingError as error:
            check_error(error)
            return
    check_spine(spine, points)


@SOME
@given(chains(), st.randoms(use_true_random=False))
def test_order_of_the_points_does_not_matter(points: list[Point], random: Any) -> None:
    """Up to doubles, whose group depends on which is met first."""
    points = list({point.position: point for point in points}.values())
    other = list(points)
    random.shuffle(other)
    results = []
    for order in (points, other):
        try:
            spine = build_spine(order)
            results.append([(v.level, *np.round(v.center, 6)) for v in spine.vertebrae])
        except VertebralGradingError as error:
            results.append([type(error)])
    if any("doubled_point" in v.flags for order in (points,) for v in _vertebrae(order)):
        return
    assert results[0] == results[1]


def _vertebrae(points: list[Point]) -> Sequence[Any]:
    try:
        return build_spine(points).vertebrae
    except VertebralGradingError:
        return ()


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), LABELS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(
                "markups controlPoints position coordinateSystem positionStatus label direction X Y Z".split()
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=14,
)


@MANY
@given(JSON, JSON, JSON)
def test_any_json_is_read_or_refused(content: Any, system: Any, position: Any) -> None:
    image = Volume(np.zeros((5, 6, 7), np.uint8), np.eye(4))
    whole = {"markups": [{"coordinateSystem": system, "controlPoints": [{"position": position, "label": content}]}]}
    ctd = [{"direction": system}, {"label": content, "X": position, "Y": 1, "Z": 2}]
    usual = [{"direction": ["R", "A", "S"]}, content, {"label": system, "X": position, "Y": 1, "Z": 2}]
    readings = [lambda one=one: parse_markups(one) for one in (whole, content, {"markups": content})]
    readings += [lambda one=one: parse_verse(one, image) for one in (ctd, usual, content)]
    for read in readings:
        try:
            points = read()
        except VertebralGradingError as error:
            check_error(error)
        else:
            assert all(np.isfinite(point.position).all() for point in points)


@MANY
@given(st.lists(st.one_of(st.text(max_size=20), st.sampled_from(["# CoordinateSystem = 0", "1,2,3,4,0,L1", "# a=b"]))))
def test_any_text_is_read_as_fcsv_or_refused(lines: list[str]) -> None:
    try:
        points = parse_fcsv("\n".join(lines))
    except VertebralGradingError as error:
        check_error(error)
    else:
        assert all(np.isfinite(point.position).all() for point in points)


@MANY
@given(st.text(max_size=30))
def test_any_label_names_one_level_or_none(text: str) -> None:
    level = parse_level(text)
    assert level is None or level in ORDER


# ---- volumes ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@FEW
@given(st.data())
def test_any_scan_and_centroids_are_graded_or_refused(data: st.DataObject) -> None:
    points = data.draw(chains(most=3))
    finite = [point for point in points if np.abs(point.position).max() < 1e4]
    center = np.array(finite[0].position) if finite else np.zeros(3)
    try:
        scan = data.draw(scans(center))
        spine = build_spine(points)
        report = grade(scan, spine)
    except VertebralGradingError as error:
        check_error(error)
        return
    check_report(report, spine)


@SOME
@given(st.data())
def test_any_mask_is_graded_or_refused(data: st.DataObject) -> None:
    """Boxes of random size with random numbers, some like vertebrae."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    shape = tuple(data.draw(st.sampled_from([2, 12, 40, 90])) for _ in range(3))
    array = np.zeros(shape)
    numbers = data.draw(st.sampled_from([[20], [18, 19, 20, 21], [30, 31, 32], [1], [1, 2], [5, 60, 117], [400, 7]]))
    for n, number in enumerate(numbers):
        size = [data.draw(st.sampled_from([1, 6, 22, 34])) for _ in range(3)]
        low = rng.integers(0, np.maximum(np.array(shape) - size, 1))
        if data.draw(st.booleans()):
            low = np.array([2, 2, 2 + 26 * n])
        array[tuple(slice(a, a + s) for a, s in zip(low, size, strict=True))] = number
    if data.draw(st.integers(0, 5)) == 0:
        array = array * data.draw(st.sampled_from([0.5, -1.0, np.nan, 1e6]))
    affine = data.draw(affines(shape, np.zeros(3)))  # type: ignore[arg-type]
    try:
        labels = interpret(as_labels(array, affine))
        points = centroids_from_labels(labels)
        spine = build_spine(points)
        report = grade(None, spine, labels)
    except VertebralGradingError as error:
        check_error(error)
        return
    check_report(report, spine)


@SOME
@given(st.data())
def test_any_volume_can_be_sampled(data: st.DataObject) -> None:
    try:
        scan = data.draw(scans(np.zeros(3)))
    except InputError as error:
        check_error(error)
        return
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    points = rng.normal(0.0, data.draw(st.sampled_from([1.0, 50.0, 1e6])), (300, 3))
    low, high = min(int(scan.array.min()), -1024), max(int(scan.array.max()), -1024)
    for order in (0, 1, 3):
        values = sample(scan, points, order=order)
        assert values.shape == (300,)
        assert np.isfinite(values).all()
        if order < 3:
            assert low - 0.5 <= values.min()
            assert values.max() <= max(high, 0) + 0.5


# ---- heights ------------------------------------------------------------------------------------------------------


@MANY
@given(
    st.lists(st.tuples(*[st.floats(0.5, 80.0)] * 3), min_size=1, max_size=20),
    st.booleans(),
    st.sampled_from([0.0, 0.3, 5.0]),
)
def test_any_positive_heights_are_graded(heights: list[tuple[float, float, float]], known: bool, sd: float) -> None:
    values = np.array(heights)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = grade_heights(np.arange(len(values), dtype=float), values, np.full(values.shape, sd), known)
    assert len(results) == len(values)
    for result in results:
        assert 0 <= result.grade <= 3
        assert np.isfinite(result.loss).all()
        assert (result.loss < 1.0).all()
        assert 0.0 <= result.score_interval[0] <= result.score <= result.score_interval[1] <= 3.0
        assert (result.reference_mm > 0).all()
