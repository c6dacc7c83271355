"""From slices to a pseudo-healthy body: fusion on known shapes, volumes in patient space, the grading method."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rendering.analytic import analytic_spine, box_spine_ct, grid_around  # noqa: E402
from tools.random_healthivert import CONFIG, random_networks, write_random_healthivert  # noqa: E402

from VertebralGradingLib import pipeline  # noqa: E402
from VertebralGradingLib.errors import CentroidError, InputError, MaskError, MethodError  # noqa: E402
from VertebralGradingLib.healthivert.calibration import Calibration  # noqa: E402
from VertebralGradingLib.healthivert.fusion import DrawnStack, crossings, fused  # noqa: E402
from VertebralGradingLib.healthivert.inference import Healthivert, places_mm  # noqa: E402
from VertebralGradingLib.healthivert.method import HealthivertGrading, loaded  # noqa: E402
from VertebralGradingLib.healthivert.patient import nearest_sound, patient_scale  # noqa: E402
from VertebralGradingLib.healthivert.pseudo_healthy import PseudoHealthy  # noqa: E402
from VertebralGradingLib.healthivert.rhlv import relative_height_loss  # noqa: E402
from VertebralGradingLib.healthivert.stacks import BodyFrame, stack_of  # noqa: E402
from VertebralGradingLib.image.sampling import sample  # noqa: E402
from VertebralGradingLib.methods.morphometric import judged  # noqa: E402
from VertebralGradingLib.models import places  # noqa: E402
from VertebralGradingLib.morphometry.norms import expected_log_heights  # noqa: E402
from VertebralGradingLib.segmentation.labels import interpret  # noqa: E402
from VertebralGradingLib.spine.spine import build_spine  # noqa: E402
from VertebralGradingLib.study import Study, prepare  # noqa: E402

LEVELS = ("T11", "T12", "L1", "L2", "L3")
USUAL = np.exp(expected_log_heights(np.arange(11.0, 16.0))).mean(1)
SIZE = 64


@pytest.fixture(scope="module", params=["plain", "oblique, anisotropic, flipped"])
def study(request: pytest.FixtureRequest) -> Study:
    """Boxes of their level's usual height but L1, which is a wedge; given on two kinds of grids."""
    heights = np.repeat(USUAL[:, None], 3, axis=1)
    heights[2] *= [0.6, 0.8, 1.0]
    spine = analytic_spine(LEVELS, heights, sagittal_deg=[4, 2, 0, -2, -4], origin=(12, -30, 200))
    if request.param == "plain":
        grid = grid_around(spine, (0.8, 0.8, 0.8))
    else:
        turn = np.array([[-0.96, 0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])
        grid = grid_around(spine, (0.7, 0.9, 1.2), turn)
    case = box_spine_ct(spine, *grid)
    return judged(prepare(case.ct, build_spine(case.points), interpret(case.labels, "verse")))


def drawn(view: str, heights: np.ndarray, top: float = 20.0, first: int = 22, last: int = 37) -> DrawnStack:
    """Slices of a box body of given heights, whose own rows are ``first`` to ``last``."""
    count, middle = len(heights), (first + last) / 2
    rows = np.arange(SIZE)[None, :, None]
    body = np.abs(rows - middle) <= heights[:, None, None] / 2
    body = np.repeat(body, SIZE, 2).astype(np.float32)
    body[:, :, :16] = body[:, :, -16:] = 0.0
    blank = np.zeros((count, SIZE, SIZE), np.float32)
    offsets = (np.arange(count) - (count - 1) / 2) * 2.0
    own = np.full(count, float(first)), np.full(count, float(last))
    return DrawnStack(view, offsets, *own, heights, blank, body, blank, blank)  # type: ignore[arg-type]


def test_edges_lie_where_the_mask_crosses_one_half() -> None:
    share = np.zeros((1, 8, 3))
    share[0, 2:5, 0] = 1.0
    share[0, 1:6, 1] = [0.25, 1.0, 1.0, 1.0, 0.0]
    top, bottom = crossings(share)
    assert top[0, 0] == 1.5 and bottom[0, 0] == 4.5  # three rows of a mask are 3 mm
    assert top[0, 1] == pytest.approx(2 - 0.5 / 0.75) and bottom[0, 1] == 4.5
    assert np.isnan(top[0, 2]) and np.isnan(bottom[0, 2])


def test_views_of_different_heights_meet_in_the_middle() -> None:
    sagittal, coronal = drawn("sagittal", np.full(9, 20.0)), drawn("coronal", np.full(7, 24.0))
    at = np.arange(-10.0, 11.0)
    one, other = (fused([stack], at, at).thickness_mm for stack in (sagittal, coronal))
    middle = np.abs(at) <= 6
    assert one[:, np.abs(at) <= 8][5:-5].min() == pytest.approx(20.0) and np.isnan(one[:, at == 10.0]).all()
    assert other[middle].max() == pytest.approx(24.0) and np.isnan(other[at == 10.0]).all()
    both = fused([sagittal, coronal], at, at)
    inside = np.ix_(middle, np.abs(at) <= 8)
    assert np.allclose(both.thickness_mm[inside], 22.0) and np.allclose(both.height[inside], 22.0)
    assert np.allclose(both.middle[inside], 29.5)
    corner = both.thickness_mm[at == 10.0][:, np.abs(at) <= 8]
    assert np.allclose(corner, 20.0)  # where one view alone has drawn


def test_single_odd_slices_do_not_count() -> None:
    heights = np.full(9, 20.0)
    heights[4] = 38.0
    assert np.allclose(drawn("sagittal", heights).smooth_height, 20.0)


def test_stacks_show_the_body_where_it_is(study: Study) -> None:
    chain = [item for item in study.vertebrae if item.measurement is not None]
    frame = BodyFrame.of(chain[2])
    assert study.ct is not None
    for view, other in (("sagittal", "coronal"), ("coronal", "sagittal")):
        offsets = frame.offsets(view)  # type: ignore[arg-type]
        assert len(offsets) % 2 == 1 and offsets[len(offsets) // 2] == 0.0
        stack = stack_of(study.ct, chain, 2, [False, True, False, False, False], view, offsets, 96)  # type: ignore[arg-type]
        middle = stack.own[len(offsets) // 2] >= 0.5
        rows, columns = (np.flatnonzero(middle.any(axis)) for axis in (1, 0))
        assert abs(rows.mean() - 47.5) < 2.0 and abs(columns.mean() - 47.5) < 2.0
        assert abs(len(columns) - 2 * frame.half_across_mm(other)) < 4.0  # type: ignore[arg-type]
        assert stack.above is not None and stack.below is None
        assert np.argwhere(stack.above)[:, 1].max() < rows[0] + 3
        assert stack.hu[:, rows[0] + 3 : rows[-1] - 2, 40:55].mean() > stack.hu[:, :, :8].mean() + 50
    front = stack_of(study.ct, chain, 2, [False] * 5, "sagittal", np.zeros(1), 96).own[0].sum(0)
    columns = np.flatnonzero(front > 3)
    assert front[columns[2]] < front[columns[-3]] - 4  # a wedge is low in front, and columns run posteriorly


def test_expected_heights_are_those_that_were_drawn(study: Study) -> None:
    chain = [item for item in study.vertebrae if item.measurement is not None]
    assert study.ct is not None
    found = random_networks(0.6).pseudo_healthy(study.ct, chain, 2, [False] * 5)
    known = np.isfinite(found.own_mm) & np.isfinite(found.healthy_mm)
    assert known.sum() > 0.7 * np.isfinite(found.own_mm).sum()
    assert np.abs(found.healthy_mm[known] - 25.0).max() < 0.05  # 60 % of the gap, half a row on either side
    loss = found.relative_height_loss().thirds
    true = 1.0 - USUAL[2] / 25.0 * np.array([0.6 + 0.4 / 6, 0.8, 1.0 - 0.4 / 6])
    assert [loss[name] for name in ("anterior", "middle", "posterior")] == pytest.approx(true.tolist(), abs=0.03)


def test_volumes_lie_in_patient_space_and_make_room(study: Study) -> None:
    chain = [item for item in study.vertebrae if item.measurement is not None]
    assert study.ct is not None
    height = float(np.round(USUAL[2] + 6.0)) / 40
    _, made = random_networks(height).volumes(study.ct, chain, 2, [False] * 5)
    frame = BodyFrame.of(chain[2])
    middle = (np.array(made.original.shape) - 1) / 2
    assert np.abs(made.affine[:3, :3] @ middle + made.affine[:3, 3] - frame.center).max() < 1e-6
    assert np.linalg.det(made.affine[:3, :3]) == pytest.approx(1.0)
    at = made.affine[:3, :3] @ np.array([20.0, 40.0, 8.0]) + made.affine[:3, 3]
    assert made.original[20, 40, 8] == pytest.approx(float(sample(study.ct, at[None])[0]), abs=0.1)
    column, depth = int(middle[1]), int(middle[2])
    rows = np.flatnonzero(made.healthy_body[:, column, depth])
    assert len(rows) == pytest.approx(height * 40, abs=1.0)
    own = np.flatnonzero(made.body[:, column, depth])
    beside = made.original[: own[0] - 4, column, depth], made.healthy[: own[0] - 4, column, depth]
    added = height * 40 - (chain[2].measurement.sheets.top - chain[2].measurement.sheets.bottom)[34, 36]  # type: ignore[union-attr]
    assert added > 3
    shift = [np.abs(np.roll(beside[0], -k)[:-12] - beside[1][:-12]).mean() for k in range(8)]
    assert abs(int(np.argmin(shift)) - added / 2) <= 2.0  # what lies above has moved up by half of what was added
    within = made.healthy_body & made.body.any(0)  # the random networks draw a body as wide as the slice
    masks = relative_height_loss(made.body, within)
    assert masks.thirds["anterior"] > masks.thirds["posterior"] + 0.2


def test_networks_of_straightened_blocks_see_the_spine_straight_and_their_volumes_come_back(study: Study) -> None:
    """Neighbours stand upright above one another; what was drawn lies where it does without straightening."""
    chain = [item for item in study.vertebrae if item.measurement is not None]
    assert study.ct is not None
    flat = random_networks(0.7)
    straight = Healthivert(flat.views, straight=True)
    frame = BodyFrame.of(chain[2])
    bent = frame.straightened(study.spine, chain[2].vertebra, 128)
    offsets = frame.offsets("sagittal")
    broken = [True] * 5
    for one, upright in ((frame, False), (bent, True)):
        stack = stack_of(study.ct, chain, 2, broken, "sagittal", offsets, 128, one)
        assert stack.above is not None and stack.below is not None
        middle = len(offsets) // 2
        places_ = [np.argwhere(mask[middle]).mean(0) for mask in (stack.above, stack.own >= 0.5, stack.below)]
        lean = abs((places_[2][1] - places_[0][1]) / (places_[2][0] - places_[0][0]))
        assert lean < 0.05, upright
        assert abs(places_[1][0] - 63.5) < 2.5 and abs(places_[1][1] - 63.5) < 2.5
    with pytest.raises(MethodError, match="curve"):
        straight.pseudo_healthy(study.ct, chain, 2, [False] * 5)
    one = flat.volumes(study.ct, chain, 2, [False] * 5)[1]
    found, other = straight.volumes(study.ct, chain, 2, [False] * 5, study.spine)
    assert np.array_equal(one.affine, other.affine) and np.array_equal(one.original, other.original)
    overlap = 2 * (one.body & other.body).sum() / (one.body.sum() + other.body.sum())
    assert overlap > 0.97
    near = one.body.any(0)
    drawn_ = [volumes.healthy_body & near for volumes in (one, other)]
    assert 2 * (drawn_[0] & drawn_[1]).sum() / (drawn_[0].sum() + drawn_[1].sum()) > 0.9
    known = np.isfinite(found.healthy_mm)
    assert np.abs(found.healthy_mm[known] - 29.0).max() < 0.05


def test_places_belong_to_the_sheets(study: Study) -> None:
    sheets = study.vertebrae[2].measurement.sheets  # type: ignore[union-attr]
    behind, left, u, v = places_mm(sheets)
    columns, depths = (np.flatnonzero(sheets.valid.any(axis)) for axis in (1, 0))
    assert behind[columns[0]] == -behind[columns[-1]] < 0 and left[depths[0]] == -left[depths[-1]] < 0
    assert u[columns[0]] == v[depths[0]] == -1 and u[columns[-1]] == v[depths[-1]] == 1


def test_calibration_takes_out_what_is_drawn_too_tall() -> None:
    rng = np.random.default_rng(0)
    u, v = rng.uniform(-1, 1, (2, 4000))
    bias = 0.05 + 0.02 * u - 0.03 * u**2 + 0.01 * v**2
    found = Calibration.fit(u, v, bias + 0.05 * rng.normal(size=4000))
    assert found.to_list() == pytest.approx([0.05, 0.02, -0.03, 0.01], abs=0.01)
    at = np.array([-1.0, 0.0, 1.0, 3.0])
    factor = Calibration(0.05, 0.02, -0.03, 0.01).factor(at, at)
    assert factor[1, 1] == pytest.approx(np.exp(-0.05)) and np.array_equal(factor[2], factor[3])
    assert factor[0, 2] == pytest.approx(np.exp(-(0.05 - 0.02 - 0.03 + 0.01)))
    for wrong in ([0.0], [0.0, 0.0, 0.0, float("nan")], [0.9, 0.0, 0.0, 0.0]):
        with pytest.raises(ValueError, match="calibration"):
            Calibration.from_list(wrong)
    body = fused([drawn("sagittal", np.full(9, 20.0))], np.arange(-8.0, 9.0), np.arange(-8.0, 9.0))
    lower = body.scaled(np.full((17, 17), 0.9))
    assert np.allclose(lower.thickness_mm, 18.0, equal_nan=True) and np.array_equal(lower.middle, body.middle)


def test_body_keeps_its_height_whatever_its_own_rows(study: Study) -> None:
    """Where a body and its pseudo-healthy self have odd and even rows, their middles differ by half a row."""
    for last in (36, 37):
        stack = drawn("sagittal", np.full(9, 24.0), first=22, last=last)
        rows = np.arange(SIZE)[None, :, None]
        gap_middle = 22 - (40 - (last - 21)) // 2 + 19.5  # as gap.Gap.around places it
        body = np.repeat(np.repeat((np.abs(rows - gap_middle) <= 12.0).astype(np.float32), SIZE, 2), 9, 0)
        made = fused([replace(stack, body=body)], np.zeros(1), np.zeros(1))
        assert made.thickness_mm[0, 0] == pytest.approx(24.0)


def test_a_patients_own_scale_is_that_of_the_sound_ones_around() -> None:
    own = np.full((12, 12), 20.0)
    excess = {0: 0.10, 1: 0.50, 2: 0.0, 3: 0.12, 4: 0.08, 6: 0.9, 7: 0.1}
    seen = {n: PseudoHealthy("L1", own, own * np.exp(value)) for n, value in excess.items()}
    sound = [True, False, True, True, True, True, False, True]
    assert nearest_sound(2, sound) == [3, 0, 4, 5]
    found = patient_scale(2, sound, seen.get)  # vertebra 5 was not drawn
    assert found == pytest.approx(0.10 * 3 / 4)
    assert patient_scale(0, [True, False], seen.get) == 0.0
    lowered = seen[0].lowered(0.1)
    assert lowered.log_excess == pytest.approx(0.0, abs=1e-9) and lowered.relative_height_loss().whole == pytest.approx(
        0
    )


def test_body_as_it_is_is_measured_in_the_same_slices(study: Study) -> None:
    chain = [item for item in study.vertebrae if item.measurement is not None]
    assert study.ct is not None
    found = random_networks(0.6).pseudo_healthy(study.ct, chain, 2, [False] * 5)
    sheets = chain[2].measurement.sheets  # type: ignore[union-attr]
    known = np.isfinite(found.own_mm)
    assert np.median(np.abs(found.own_mm - (sheets.top - sheets.bottom))[known]) < 0.15


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(places.ENVIRONMENT, str(tmp_path / "models"))
    return tmp_path / "models"


def test_method_grades_and_explains(study: Study, models: Path) -> None:
    write_random_healthivert(models, float(USUAL[2]) / 40)
    assert loaded()[0].size == CONFIG.size
    method = HealthivertGrading()
    said = method.grade(study)
    assert set(said) == set(LEVELS)
    assert said["L1"].score == pytest.approx(2.5, abs=0.6) and said["L1"].quantities["reference"] == "network"
    seen = pipeline.explain(None, study.spine, level="L1", kind="height_loss_map", method="healthivert", study=study)
    assert seen["original"].shape == seen["pseudo_healthy"].shape == seen["body"].shape
    assert seen["original"].dtype == np.int16 and set(seen["as_coded"]) == {"anterior", "middle", "posterior"}
    places_ras = seen["endplate_ras_mm"]
    assert places_ras.shape == (*seen["loss"].shape, 3)
    known = np.isfinite(places_ras).all(-1)
    sheets = study.vertebrae[2].measurement.sheets  # type: ignore[union-attr]
    up = sheets.axes[:, 2]
    corner = seen["map_affine"] @ np.array([0.0, 0.0, 0.0, 1.0])
    assert ((places_ras[known] - corner[:3]) @ up > 2).all()  # the upper endplate lies above the map
    lateral = seen["map_affine"] @ np.array([0, 1.0, 0, 0])
    assert lateral[:3] @ sheets.axes[:, 0] == pytest.approx(-1.0)
    cut = [replace(item, flags=("cut_by_volume_edge",)) if item.vertebra.level == "L1" else item
           for item in study.vertebrae]  # fmt: skip
    assert "L1" not in method.grade(replace(study, vertebrae=tuple(cut)))
    with pytest.raises(CentroidError):
        method.explain(study, "T4")
    with pytest.raises(MethodError):
        method.explain(study, "L1", "heights")


def test_what_is_missing_is_told(study: Study, models: Path) -> None:
    folder = write_random_healthivert(models)
    with pytest.raises(MethodError, match="needs a CT"):
        HealthivertGrading().check(None)
    (folder / "sagittal.safetensors").write_bytes(b"nothing")
    with pytest.raises(MethodError, match="cut short"):
        HealthivertGrading().check(study.ct)
    with pytest.raises(InputError, match="coronal"):
        Healthivert.of_runs({"coronal": models})
    chain = [item for item in study.vertebrae if item.measurement is not None]
    assert study.ct is not None
    far = BodyFrame.of(chain[2]).offsets("sagittal") + 200.0
    with pytest.raises(MaskError):
        stack_of(study.ct, chain, 2, [False] * 5, "sagittal", far, 96)


def test_broken_neighbours_are_made_healthy_first_and_the_vertebra_stays(study: Study) -> None:
    chain = [item for item in study.vertebrae if item.measurement is not None]
    system = random_networks(0.9)
    assert study.ct is not None
    alone = system.drawn(study.ct, chain, 2, [False] * 5)[0]
    after = system.drawn(study.ct, chain, 2, [False, True, False, True, False])[0]
    n = len(alone.first) // 2
    assert (after.first == alone.first).all() and (after.last == alone.last).all()
    rows = slice(int(alone.first[n]), int(alone.last[n]) + 1)
    assert np.array_equal(after.context[n, rows], alone.context[n, rows])
    assert not np.array_equal(after.context[n, : rows.start - 8], alone.context[n, : rows.start - 8])
    assert not np.array_equal(after.context[n, rows.stop + 8 :], alone.context[n, rows.stop + 8 :])
