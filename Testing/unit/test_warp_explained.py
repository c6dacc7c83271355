"""The warp from the entries on: what an explanation holds, its files, its command, and when no picture is shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rendering.analytic import Phantom, analytic_spine, box_spine_ct, grid_around, usual_heights
from scipy.ndimage import binary_erosion
from typer.testing import CliRunner

from VertebralGradingLib import pipeline
from VertebralGradingLib.cli import app
from VertebralGradingLib.counterfactual import explained
from VertebralGradingLib.counterfactual.case import warp_case
from VertebralGradingLib.counterfactual.checks import Checked, gas_share
from VertebralGradingLib.counterfactual.live import KNOT_GRADES, STRIP_GRADES, LiveWarp
from VertebralGradingLib.counterfactual.request import Request
from VertebralGradingLib.counterfactual.toning import Tone, toned
from VertebralGradingLib.counterfactual.warp import carried
from VertebralGradingLib.errors import InputError, MethodError
from VertebralGradingLib.findings import POSITIONS, Report
from VertebralGradingLib.image.io import read_volume, write_volume
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.morphometry.heights import measure
from VertebralGradingLib.report.drawn import Drawn
from VertebralGradingLib.report.html import html_page
from VertebralGradingLib.report.warp_strip import slider_losses, slider_png, slider_reasons, slider_text, warp_png
from VertebralGradingLib.report.warped import fold_html, is_kept_warp, kept_warp, numbers
from VertebralGradingLib.segmentation.labels import interpret
from VertebralGradingLib.spine.points import write_markups
from VertebralGradingLib.spine.reformation import patch_grid
from VertebralGradingLib.spine.spine import build_spine
from VertebralGradingLib.study import Study

LEVELS = ("T11", "T12", "L1", "L2", "L3")
LOST = np.array([0.45, 0.25, 0.05])


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    heights = usual_heights(LEVELS)
    heights[2] *= 1.0 - LOST
    spine = analytic_spine(LEVELS, heights)
    return box_spine_ct(spine, *grid_around(spine, (1.0, 1.0, 1.0), margin_mm=25.0), noise_hu=8.0)


@pytest.fixture(scope="module")
def study(phantom: Phantom) -> Study:
    seen: list[Study] = []
    pipeline.grade(phantom.ct, build_spine(phantom.points), interpret(phantom.labels, "verse"), on_study=seen.append)
    return seen[0]


def test_explanation_tells_heights_movements_and_checks(study: Study) -> None:
    seen = pipeline.explain(
        study.ct, study.spine, study.labels, level="L1", kind="counterfactual", study=study, grades=[0, 3], volumes=True
    )
    assert seen["changed"].shape == seen["changed_body"].shape == (2, 128, 128)
    assert seen["original"].shape == (128, 128)
    assert seen["wanted"] == [0.0, 3.0]
    assert seen["reached"] == pytest.approx([0.0, 3.0], abs=0.1)
    # the front of the upper endplate is raised by what was lost, as far as the reference knows
    risen = seen["healthy_mm"]["anterior"] - seen["heights_mm"]["anterior"]
    moved = seen["moved_mm"][0]
    assert moved["superior"]["anterior"] - moved["inferior"]["anterior"] == pytest.approx(risen, abs=1.5)
    assert risen == pytest.approx(LOST[0] * usual_heights(LEVELS)[2, 0], abs=2.0)
    assert seen["tilt_deg"][0] < -3.0
    assert min(seen["least_jacobian"]) > 0.1
    assert seen["reasons"] == [[], []]
    # what lies just below the front of the upper endplate was moved up with it, the vertebra below was not
    changed = seen["changed_body"][0]
    front = np.flatnonzero(changed.any(0))[4]
    top = np.flatnonzero(changed[:, front])[0]
    assert seen["rise_mm"][0][top + 1, front] == pytest.approx(moved["superior"]["anterior"], abs=1.5)
    assert np.abs(seen["rise_mm"][0][-20:, front]).max() < 0.01
    assert seen["volume_0"].dtype == np.int16
    assert seen["volume_0"].shape == seen["volume_1"].shape
    json.dumps({name: value for name, value in seen.items() if not isinstance(value, np.ndarray)})
    assert warp_png(seen, "L1").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"grade": 3}, MethodError),
        ({"grades": []}, InputError),
        ({"grades": ["3"]}, InputError),
        ({"grades": [4.0]}, InputError),
        ({"shape": "dent"}, InputError),
        ({"shape": 1}, InputError),
        ({"tilt_share": 1.5}, InputError),
        ({"volumes": "yes"}, InputError),
        ({"reference_mm": [25.0, 24.0]}, InputError),
        ({"reference_mm": [25.0, 24.0, -1.0]}, InputError),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(
    study: Study, options: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        pipeline.explain(study.ct, study.spine, level="L1", kind="counterfactual", study=study, **options)  # type: ignore[arg-type]


def test_knots_give_every_grade_between_without_solving(study: Study) -> None:
    wish = {"grades": [0.0, 1.5, 3.0], "knots": True}
    seen = pipeline.explain(study.ct, study.spine, level="L1", kind="counterfactual", study=study, **wish)
    live = LiveWarp.from_arrays(seen)
    grid = patch_grid(study.spine, study.spine.by_level["L1"])
    assert study.ct is not None
    at_knot = live.frame(study.ct, 3.0, grid)[..., 0]
    assert np.abs(at_knot - seen["changed"][2]).max() < 1.0  # tables travel as float32
    assert "25." in slider_text(live, seen, 0.0)
    seen["reasons"][2] = ["there is gas in the body"]
    assert [len(slider_reasons(live, seen, grade)) for grade in (0.0, 1.6, 2.9)] == [0, 0, 1]
    image, rise = live.frame_and_rise(study.ct, 3.0, grid)
    assert np.array_equal(image[..., 0], at_knot)
    assert np.abs(rise[..., 0] - seen["rise_mm"][2]).max() < 0.01
    pictures, losses = (seen["original"], at_knot, rise[..., 0]), slider_losses(live, seen, 3.0)
    assert losses[0] == pytest.approx([seen["loss"][name] for name in POSITIONS])
    assert losses[1] == pytest.approx([seen["reached_loss"][2][name] for name in POSITIONS], abs=0.002)
    plain, covered = (slider_png(pictures, "L1", 3.0, losses, seen["body"], shown) for shown in (True, False))
    assert plain != covered
    case = warp_case(study, "L1")
    for grade in (0.6, 2.3):
        between = measure(carried(case.warper.own.body, live.field(grade))).heights_mm
        assert np.abs(between - live.heights(grade)).max() < 0.5
    with pytest.raises(InputError):
        LiveWarp.from_arrays({"knot_grades": [0.0, 1.0]})
    for grades in ([1.0], [2.0, 1.0]):
        with pytest.raises(InputError):
            pipeline.explain(
                study.ct, study.spine, level="L1", kind="counterfactual", study=study, grades=grades, knots=True
            )


def test_expected_heights_may_come_from_a_longer_spine(study: Study) -> None:
    wish = {"grades": [0.0], "reference_mm": [27.0, 25.0, 28.0]}
    seen = pipeline.explain(study.ct, study.spine, level="L1", kind="counterfactual", study=study, **wish)
    assert list(seen["reached_mm"][0].values()) == pytest.approx(wish["reference_mm"], abs=0.1)


def test_posture_is_a_parameter_and_changes_no_height(study: Study) -> None:
    stiff, loose = (
        pipeline.explain(
            study.ct,
            study.spine,
            level="L1",
            kind="counterfactual",
            study=study,
            grades=[0],
            tilt_share=t,
            sink_share=t,
        )
        for t in (0.0, 1.0)
    )
    assert stiff["tilt_deg"] == [0.0]
    assert loose["tilt_deg"][0] < -8.0
    for name, height in stiff["reached_mm"][0].items():
        assert loose["reached_mm"][0][name] == pytest.approx(height, abs=0.12)


def test_gas_metal_and_cut_bodies_give_no_convincing_picture(study: Study) -> None:
    case = warp_case(study, "L1")
    own = case.warper.own
    assert case.gas == 0.0
    array = case.ct.array.copy()
    middle = np.rint(case.ct.to_index(own.body.centroid())).astype(int)
    array[tuple(slice(m - 2, m + 3) for m in middle)] = -800
    holed = replace(case, ct=Volume(array, case.ct.affine))
    assert gas_share(holed.ct, own.body) > 0.004
    warp = case.warper.solve(Request(0.0))
    grid = patch_grid(study.spine, study.spine.by_level["L1"])
    assert holed.shown(warp, grid).reasons == ["there is gas in the body"]
    flagged = replace(case, flags=("implant_or_cement", "cut_by_volume_edge"))
    assert len(flagged.shown(warp, grid).reasons) == 2
    good = Checked(0.3, 0.02, 0.0, 0.1, 0.1)
    assert good.reasons == []
    for change in ({"least_jacobian": 0.05}, {"missed_mm": 1.0}, {"seam_share": 0.6}, {"outside_share": 0.6}):
        assert len(replace(good, **change).reasons) == 1


def test_a_raised_core_takes_its_neighbours_tone() -> None:
    mask = np.zeros((60, 60), dtype=bool)
    mask[15:45, 15:45] = True
    rng = np.random.default_rng(0)
    image = np.where(mask, 320.0, 40.0) + rng.normal(0.0, 15.0, mask.shape)
    out = toned(image, mask, Tone(150.0, 20.0), 1.0)
    assert np.median(out[25:35, 25:35]) == pytest.approx(150.0, abs=5.0)
    assert np.array_equal(out[~mask], image[~mask])
    assert toned(image, mask, Tone(150.0, 20.0), 0.0) is image
    half = toned(image, mask, Tone(150.0, 20.0), 0.5)
    assert np.median(half[25:35, 25:35]) == pytest.approx(235.0, abs=5.0)


def test_command_writes_strip_volumes_and_numbers(phantom: Phantom, tmp_path: Path) -> None:
    write_volume(phantom.ct, tmp_path / "ct.nii.gz")
    write_volume(phantom.labels, tmp_path / "mask.nii.gz")
    write_markups(phantom.points, tmp_path / "points.mrk.json")
    asked = ["counterfactual", str(tmp_path / "ct.nii.gz"), "--centroids", str(tmp_path / "points.mrk.json"),
             "--mask", str(tmp_path / "mask.nii.gz"), "--level", "L1", "--grade", "0.5",
             "--out", str(tmp_path / "out")]  # fmt: skip
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    content = json.loads((tmp_path / "out" / "counterfactual.json").read_text())
    assert content["by"] == "warp"
    assert content["wanted"] == [0.5]
    assert (tmp_path / "out" / "counterfactual.png").read_bytes().startswith(b"\x89PNG")
    volume = read_volume(tmp_path / "out" / "grade-0.5.nii.gz")
    assert np.median(volume.spacing) == pytest.approx(1.0, abs=1e-3)
    there = volume.contains(np.array([point.position for point in phantom.points]))
    assert there.all()
    for wrong in (["--preset", "live"], ["--binary"]):
        assert CliRunner().invoke(app, [*asked, *wrong]).exit_code == 2
    assert CliRunner().invoke(app, [*asked[:-6], "--by", "dae", "--shape", "wedge"]).exit_code == 2


def test_the_warped_ct_has_the_tone_of_its_picture(study: Study) -> None:
    case = warp_case(study, "L1")
    dense = replace(case, tone=Tone(400.0, 30.0))
    warp = case.warper.solve(Request(0.0))
    plain, toned_ct = dense.volume(warp, tone=False), dense.volume(warp)
    assert plain.array.dtype == toned_ct.array.dtype == case.ct.array.dtype
    grid = patch_grid(study.spine, study.spine.by_level["L1"])
    flat = dense.shown(warp, grid)
    inside = binary_erosion(flat.mask[..., 0], iterations=4)
    points = grid.points()[..., 0, :]
    there = sample(toned_ct, points[inside])
    assert np.median(there) == pytest.approx(np.median(flat.image[..., 0][inside]), abs=15.0)
    assert np.median(there) > np.median(sample(plain, points[inside])) + 50.0
    changed = toned_ct.array != plain.array
    assert 0 < changed.mean() < 0.2, "the body alone"


def test_what_is_kept_of_a_warp_is_told_with_its_numbers(study: Study) -> None:
    wish = {"grades": list(KNOT_GRADES), "shape": "biconcave"}
    seen = pipeline.explain(study.ct, study.spine, level="L1", kind="counterfactual", study=study, **wish)
    seen["reasons"][-1] = ["there is <gas> in the body"]
    kept = json.loads(json.dumps(kept_warp(seen, "L1", 1.2)))
    assert is_kept_warp(kept)
    assert kept["grade"] == 1.2
    assert kept["wanted"] == list(STRIP_GRADES)
    rows = numbers(kept)
    assert [row[0] for row in rows] == ["grade", "limit", "0", "0.75", "1.5", "2.25", "3"]
    assert rows[2][2].split(" / ")[0] == f"{seen['reached_mm'][0]['anterior']:.1f}"
    assert rows[-1][-1] == "there is <gas> in the body"
    drawn = Drawn.of_warp(kept)
    assert "shape of a biconcave fracture" in drawn.text
    assert "1 of 5 grades have no convincing picture" in drawn.text
    page = html_page(Report({}, (), {}), None, None, False, None, [drawn])
    assert "Vertebrae warped to other grades" in page
    assert "<details><summary>Numbers and checks" in page
    assert "&lt;gas&gt;" in page
    assert "<gas>" not in page + fold_html(seen, 3.0, seen["reasons"][-1])
    for name, value in (("grade", 4.0), ("shape", "dent"), ("wanted", [0.0]), ("png", None)):
        assert not is_kept_warp(kept | {name: value})
    assert not is_kept_warp({})


def test_a_picture_that_is_read_otherwise_does_not_convince(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def far(image: object, health: object, grade: float) -> float:
        asked.append(grade)
        return {0.0: 0.1, 2.0: 2.4, 3.0: float("nan")}[grade]

    monkeypatch.setattr(explained, "apart", far)
    wish = {"level": "L1", "kind": "counterfactual", "study": study, "grades": [0, 2, 3]}
    seen = pipeline.explain(study.ct, study.spine, study.labels, **wish, read=True)
    assert asked == [0.0, 2.0, 3.0]
    assert seen["reasons"] == [[], ["it is read 2.4 grades from what was asked for"], []]
    assert [check["read_apart"] for check in seen["checks"]] == [0.1, 2.4, None]
    plain = pipeline.explain(study.ct, study.spine, study.labels, **wish)
    assert plain["reasons"] == [[], [], []] and len(asked) == 3

    def none(*_: object) -> float:
        raise MethodError("There is no network.", "")

    monkeypatch.setattr(explained, "apart", none)
    assert pipeline.explain(study.ct, study.spine, study.labels, **wish, read=True)["reasons"] == [[], [], []]
