"""The scans and masks of the shared data folder, graded as a user would, against what is known of each.

The folder's README says what each case shows, who says so, and how far centroids placed by eye can be trusted.
"""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rendering.mask_ct import ct_from_mask

from VertebralGradingLib.errors import InputError
from VertebralGradingLib.findings import Finding, Report
from VertebralGradingLib.image.io import read_labels, read_volume
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.pipeline import grade
from VertebralGradingLib.segmentation import find_body
from VertebralGradingLib.segmentation.finders import choose_finder
from VertebralGradingLib.segmentation.labels import centroids_from_labels, interpret
from VertebralGradingLib.spine.points import Point, read_points
from VertebralGradingLib.spine.spine import Spine, build_spine

DATA = Path(os.environ.get("VERTEBRAL_GRADING_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not DATA.is_dir(), reason="the CT scans are not in the repository: set VERTEBRAL_GRADING_DATA to their folder"
    ),
]

TOTALSEG = "totalseg-example/example_ct.nii.gz", "totalseg-example/example_bodies.mrk.json"
AORTA = "totalseg-aorta/ct_cropped.nii.gz", "totalseg-aorta/ct_cropped_bodies.mrk.json"
LIDC = "lidc-0314/LIDC-IDRI-0314_spine_crop_ct.nii.gz", "lidc-0314/LIDC-IDRI-0314_bodies.mrk.json"
TPTBOX = "tptbox-l3/sub-ct_label-22_ct.nii.gz", "tptbox-l3/sub-ct_bodies.mrk.json"
VERSE_MASK, VERSE_POINTS = "verse004/sub-verse004_seg-vert_msk.nii.gz", "verse004/sub-verse004_bodies.mrk.json"
VERSE_CTD = "verse004/sub-verse004_seg-subreg_ctd.json"
HEALTHIVERT_MASK, HEALTHIVERT_POINTS = "healthivert-0007/0007_msk.nii.gz", "healthivert-0007/0007_bodies.mrk.json"
LUMBAR = ("L1", "L2", "L3", "L4", "L5")


@cache
def _ct(name: str) -> Volume:
    return read_volume(DATA / name)


@cache
def _mask(name: str) -> Volume:
    return read_labels(DATA / name)


@cache
def _rendered(mask: str) -> Volume:
    return ct_from_mask(_mask(mask))


def _spine(name: str) -> Spine:
    return build_spine(read_points(DATA / name))


@pytest.fixture(params=["classical", "network"])
def search(request: pytest.FixtureRequest) -> str:
    """How bodies are found on CT."""
    if request.param == "network":
        pytest.importorskip("torch")
    return str(request.param)


@cache
def _from_points(case: tuple[str, str], search: str) -> Report:
    return _shown(grade(_ct(case[0]), _spine(case[1]), bodies_by=search))


@cache
def _from_mask(mask: str, ct: str | None = None) -> Report:
    labels = interpret(_mask(mask))
    return _shown(grade(_ct(ct) if ct else None, build_spine(centroids_from_labels(labels)), labels))


@cache
def _from_rendered(mask: str, points: str, search: str) -> Report:
    if search == "network":
        pytest.importorskip("torch")
    return _shown(grade(_rendered(mask), _spine(points), bodies_by=search))


def _shown(report: Report) -> Report:
    """The same report; what it says is printed, for pytest to show when a test fails."""
    for finding in report.findings:
        heights = " ".join(f"{value:5.1f}" for value in finding.heights_mm.values())
        losses = " ".join(f"{value:5.2f}" for value in finding.height_loss.values())
        print(f"{finding.level:4s} {finding.state} | {heights} mm | {losses} | {finding.flags} {finding.reason}")
    return report


def _finding(report: Report, level: str) -> Finding:
    return next(finding for finding in report.findings if finding.level == level)


def _grades(report: Report) -> dict[str, int | None]:
    return {finding.level: finding.grade for finding in report.findings}


def _at_least(report: Report, least: int) -> set[str]:
    return {level for level, value in _grades(report).items() if value is not None and value >= least}


def test_lumbar_spine_without_fracture_from_points(search: str) -> None:
    report = _from_points(TOTALSEG, search)
    assert set(_grades(report)) == set(LUMBAR)
    assert None not in _grades(report).values()
    assert _at_least(report, 2) == set()


def test_lumbar_spine_without_fracture_from_the_mask_of_another_tool() -> None:
    report = _from_mask("totalseg-example/totalseg.nii.gz", TOTALSEG[0])
    assert set(LUMBAR) <= {level for level, value in _grades(report).items() if value is not None}
    assert not _at_least(report, 2) & set(LUMBAR)


@pytest.mark.slow
def test_chest_without_definite_fracture(search: str) -> None:
    report = _from_points(LIDC, search)
    assert {f"T{n}" for n in range(1, 12)} <= {level for level, value in _grades(report).items() if value is not None}
    assert _at_least(report, 2) == set()


def test_giant_schmorl_node_is_shown_and_left_to_the_reader(search: str) -> None:
    finding = _finding(_from_points(AORTA, search), "T11")
    assert "focal_endplate_defect" in finding.flags
    assert finding.height_loss["middle"] >= 0.25
    _is_undecided(finding)
    evidence = finding.evidence_of("morphometry")
    assert evidence is not None
    assert evidence.grade is not None
    superior = [defect for defect in evidence.quantities["defects"] if defect["endplate"] == "superior"]
    assert len(superior) == 1
    # by eye about 14 mm front to back, 12 mm side to side, 11 mm to the deepest point of the cleft; the depth measured
    # is that of a smooth surface at half maximum below the plane of the rim, which is less
    assert 9.0 <= superior[0]["extent_ap_mm"] <= 19.0
    assert 7.0 <= superior[0]["extent_lr_mm"] <= 17.0
    assert 4.0 <= superior[0]["depth_mm"] <= 14.0
    assert "mm" in finding.reason


def _is_undecided(finding: Finding) -> None:
    """Below grade 2 if it is a Schmorl node, grade 2 or more if it is a fracture, and no grade of its own."""
    assert finding.state == "undecided"
    assert not finding.gradable
    assert finding.grade is None
    assert (finding.score, finding.loss_percent, finding.grade_probabilities) == (None, None, None)
    node, fracture = finding.hypotheses
    assert node.cause == "Schmorl node"
    assert node.grade < 2
    assert fracture.cause == "fracture"
    assert fracture.grade >= 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "methods",
    [("neighbours",), ("healthivert",), ("dae",), ("neighbours", "healthivert", "dae")],
    ids="+".join,
)
def test_giant_schmorl_node_is_undecided_whatever_methods_are_chosen(methods: tuple[str, ...]) -> None:
    if methods != ("neighbours",):
        pytest.importorskip("torch")
    alone = _from_points(AORTA, "classical")
    report = _shown(grade(_ct(AORTA[0]), _spine(AORTA[1]), methods=methods, bodies_by="classical"))
    assert "not_run" not in report.provenance
    finding, before = _finding(report, "T11"), _finding(alone, "T11")
    _is_undecided(finding)
    assert finding.hypotheses == before.hypotheses
    assert {item.method for item in finding.evidence} == {"morphometry", *methods}
    assert [one.state for one in report.findings] == [one.state for one in alone.findings], "no method changes a state"


def test_neighbors_of_the_schmorl_node_are_not_fractured(search: str) -> None:
    assert _at_least(_from_points(AORTA, search), 2) == set()


SOURCES = ["mask", *(pytest.param(search, marks=pytest.mark.slow) for search in ("classical", "network"))]
"""A mask, or a CT rendered from it on which bodies are searched."""


@pytest.mark.parametrize("source", SOURCES)
def test_expert_grades_of_verse004(source: str) -> None:
    """Expert: L1 = 3, T11 T12 L2 L3 = 0; T9 and T10 are graded 2 by eye, against the look of their neighbors."""
    report = _from_mask(VERSE_MASK) if source == "mask" else _from_rendered(VERSE_MASK, VERSE_POINTS, source)
    assert _finding(report, "L1").grade == 3
    for level in ("T11", "T12", "L2", "L3"):
        assert _finding(report, level).grade is not None
    assert not _at_least(report, 2) & {"T11", "T12", "L2", "L3"}


@pytest.mark.parametrize("source", SOURCES)
def test_collapsed_l1_of_an_osteoporotic_lumbar_spine(source: str) -> None:
    rendered = (HEALTHIVERT_MASK, HEALTHIVERT_POINTS, source)
    report = _from_mask(HEALTHIVERT_MASK) if source == "mask" else _from_rendered(*rendered)
    assert "L1" in _at_least(report, 2)


def test_centroids_from_a_mask_against_the_data_sets_own() -> None:
    truth = {point.level: np.array(point.position) for point in read_points(DATA / VERSE_CTD, _mask(VERSE_MASK))}
    found = centroids_from_labels(interpret(_mask(VERSE_MASK)))
    assert {point.level for point in found} == set(truth)
    error = {point.level: float(np.linalg.norm(np.array(point.position) - truth[point.level])) for point in found}
    print({level: round(value, 2) for level, value in error.items()})
    assert np.mean(list(error.values())) <= 2.0
    assert max(error.values()) <= 4.0


def test_data_sets_centroids_equal_the_markups() -> None:
    """The VerSe voxel positions, read through the mask's affine, are the points that were derived by other code."""
    markups = {point.level: point.position for point in read_points(DATA / VERSE_POINTS)}
    voxels = {point.level: point.position for point in read_points(DATA / VERSE_CTD, _mask(VERSE_MASK))}
    assert set(markups) == set(voxels)
    for level, position in markups.items():
        assert np.allclose(position, voxels[level], atol=2e-3)


def _reference_bodies() -> dict[tuple[str, str], tuple[tuple[str, str], NDArray[np.bool_]]]:
    """(case, level) -> (the case's files, body mask on its CT's voxels)."""
    vertebrae = _mask("totalseg-example/totalseg.nii.gz").array
    bodies = _mask("totalseg-example/totalseg_vertebrae_body.nii.gz").array == 1
    out = {
        ("totalseg", f"L{n}"): (TOTALSEG, (vertebrae == 32 - n) & bodies)  # 27 = L5 ... 31 = L1
        for n in range(1, 6)
    }
    vertebra = _mask("tptbox-l3/sub-ct_seg-vert_label-22_msk.nii.gz").array == 22
    part = _mask("tptbox-l3/sub-ct_seg-subreg_label-22_msk.nii.gz").array
    return {**out, ("tptbox", "L3"): (TPTBOX, vertebra & ((part == 49) | (part == 50)))}


def test_found_bodies_against_reference_masks(search: str) -> None:
    dice, finder = {}, choose_finder(search)
    for (case, level), (files, truth) in _reference_bodies().items():
        ct, spine = _ct(files[0]), _spine(files[1])
        body, _ = find_body(ct, spine, spine.by_level[level], finder=finder)
        inside, region = body.to_labels(ct)
        dice[case, level] = 2.0 * float((inside & truth[region]).sum()) / float(inside.sum() + truth.sum())
    for (case, level), value in dice.items():
        print(f"{case:10s} {level:3s} Dice {value:.3f}")
    assert len(dice) == 6
    assert {name: value for name, value in dice.items() if value < 0.88} == {}


def test_magnetic_resonance_is_refused() -> None:
    from scipy.ndimage import center_of_mass

    image, discs = _ct("mri-ivd11/IVD11_T2w.nii.gz"), _mask("mri-ivd11/IVD11_discs.nii.gz")
    places = discs.to_ras(np.array(center_of_mass(discs.array > 0, discs.array, [5, 4, 3, 2, 1])))
    between = (places[1:] + places[:-1]) / 2  # the bodies L2 to L5 lie between the discs
    points = [Point((float(x), float(y), float(z))) for x, y, z in between]
    with pytest.raises(InputError, match="MR or a rescaled image") as caught:
        grade(image, build_spine(points))
    assert "Hounsfield" in caught.value.hint


@pytest.mark.parametrize("name", ["A002304_19010112-134", "A027284_19001231-081", "A062055_19001127-064"])
@pytest.mark.parametrize("as_folder", [False, True])
def test_single_sagittal_slice_is_refused(name: str, as_folder: bool, tmp_path: Path) -> None:
    path = DATA / "sbu-sagittal" / f"{name}.dcm"
    if as_folder:
        shutil.copy(path, tmp_path)
    with pytest.raises(InputError, match="single slice") as caught:
        read_volume(tmp_path if as_folder else path)
    assert "series" in caught.value.hint
