"""The field: one function of position, rigid where it should be, the same however it is evaluated."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from VertebralGradingLib.errors import MaskError  # noqa: E402
from VertebralGradingLib.image.volume import Volume  # noqa: E402
from VertebralGradingLib.morphometry.body import BodyMask, body_grid  # noqa: E402
from VertebralGradingLib.morphometry.heights import measure  # noqa: E402
from VertebralGradingLib.morphometry.sheets import AHEAD_MM, LEFT_MM  # noqa: E402
from VertebralGradingLib.phantom.alignment import align, rotation  # noqa: E402
from VertebralGradingLib.phantom.body import body_depth  # noqa: E402
from VertebralGradingLib.phantom.columns import AMOUNTS, COLUMNS, View, index, indices  # noqa: E402
from VertebralGradingLib.phantom.draw import SpineOptions, draw_spine  # noqa: E402
from VertebralGradingLib.phantom.field import Field, prepare  # noqa: E402
from VertebralGradingLib.phantom.fracture import KINDS, fracture  # noqa: E402
from VertebralGradingLib.phantom.masks import body_masks  # noqa: E402
from VertebralGradingLib.phantom.mimics import SINGLE, add_mimics  # noqa: E402
from VertebralGradingLib.phantom.parameters import SpineParameters, healed  # noqa: E402
from VertebralGradingLib.phantom.patches import body_middle  # noqa: E402
from VertebralGradingLib.phantom.truth import body_heights, stated_edges, truth  # noqa: E402
from VertebralGradingLib.spine.anatomy import VERSE  # noqa: E402
from VertebralGradingLib.spine.reformation import sample_where  # noqa: E402

LABEL = {level: label for label, level in VERSE.items()}


def _around(field: Field, level: str, count: int = 3000, seed: int = 0) -> torch.Tensor:
    """(1, N, 3) RAS points that have the same place in a vertebra's own frame, whatever the spine."""
    rng = np.random.default_rng(seed)
    own = rng.uniform([-30, -60, -12], [30, 40, 12], (count, 3))
    frame = field.frame(level)
    return torch.from_numpy(own @ frame[:3, :3].T + frame[:3, 3])[None]


def _occupancy(spine: SpineParameters, level: str, seed: int) -> BodyMask:
    rng = np.random.default_rng(seed)
    ready = prepare(spine)
    frame = ready.frames[spine.levels.index(level)]
    masks = body_masks(ready, [level], 0.5, rotation(*rng.normal(0, 0.2, 3)))
    center, axes = frame[:3, :3] @ body_middle(spine, level) + frame[:3, 3], frame[:3, :3]
    inside = Volume((masks.array == LABEL[level]).astype(np.float32), masks.affine)
    shifts = [a * axes[:, 0] + b * axes[:, 1] for a in (-0.25, 0.25) for b in (-0.25, 0.25)]  # 1 mm: 2 x 2 voxels
    occupancy = np.mean([sample_where(inside, body_grid(center + shift, axes)) for shift in shifts], axis=0)
    return BodyMask(occupancy, body_grid(center, axes), axes, "given")


@pytest.mark.parametrize(("level", "kind"), [("L1", "wedge"), ("L3", "mixed"), ("T8", "biconcave"), ("T12", "crush")])
def test_healed_is_the_same_spine_before_the_fracture(level: str, kind: str) -> None:
    broken = fracture(draw_spine(5), level, 0.42, 3, kind)
    whole = healed(broken)
    assert broken.fractured() == (level,)
    assert whole.fractured() == ()
    fields = [Field([spine], dtype=torch.float64) for spine in (broken, whole)]
    place = broken.levels.index(level)
    for other in (broken.levels[place + 2], broken.levels[place - 2]):  # caudal and cranial, not next to it
        values = [field(_around(field, other), ribs=True) for field in fields]
        assert float((values[0].hu - values[1].hu).abs().max()) < 1e-6
        assert bool((values[0].vertebra == values[1].vertebra).all())
    moved = [np.abs(fields[0].frame(name) - fields[1].frame(name)).max() for name in broken.levels]
    assert max(moved[place + 1 :]) == 0.0
    assert min(moved[: place - 1]) > 1.0
    for other in (broken.levels[place + 1], broken.levels[place - 1]):  # next to it: the bone itself
        values = [field(_around(field, other), ribs=True) for field in fields]
        inside = values[1].depth > 2.5
        own = inside & (values[1].body == LABEL[other])
        assert int(own.sum()) > 50
        assert float((values[0].hu - values[1].hu).abs()[own].max()) < 1.0


def test_everything_follows_from_seed_and_parameters() -> None:
    one, two = draw_spine(11), draw_spine(11)
    assert np.array_equal(one.vertebrae, two.vertebrae)
    assert np.array_equal(one.trunk, two.trunk)
    assert not np.array_equal(one.vertebrae, draw_spine(12).vertebrae)
    points = _around(Field([one]), "L2", 500).float()
    assert bool((Field([one])(points).hu == Field([two])(points).hu).all())


def test_points_do_not_know_each_other() -> None:
    """A patch, a block and a volume are samples of one function: values depend on the point alone."""
    field = Field([draw_spine(13)])
    points = _around(field, "T9", 4000).float()
    together = field(points, ribs=True)
    apart = torch.cat([field(points[:, n : n + 500], ribs=True).hu for n in range(0, 4000, 500)], 1)
    assert float((together.hu - apart).abs().max()) < 0.05
    middle = int(field.prepared[0].spine.levels.index("T9"))
    window = Field([draw_spine(13)], windows=([middle - 4], 9))
    assert float((together.hu - window(points, ribs=True).hu).abs().max()) < 0.05


def test_batches_mix_spines_of_different_length() -> None:
    plain, long = draw_spine(1, SpineOptions(variants=0.0)), draw_spine(1, SpineOptions(variants=1.0))
    assert "T13" in long.levels
    assert "L6" in long.levels
    both, single = Field([plain, long]), Field([plain])
    points = _around(single, "T3", 800).float()
    batch = both(points.expand(2, -1, -1), ribs=True)
    assert float((batch.hu[0] - single(points, ribs=True).hu[0]).abs().max()) < 0.05


def test_all_at_once_gives_what_one_by_one_gives() -> None:
    """Accelerators evaluate a whole batch densely; the values are the same."""
    spines = [add_mimics(draw_spine(30 + n), 30 + n, 4.0)[0] for n in range(2)]
    spines[0] = fracture(spines[0], "L1", 0.4, 1)
    one, all_ = Field(spines, dense=False), Field(spines, dense=True)
    points = torch.cat([_around(one, "L1", 1500).float(), _around(one, "T9", 1500).float()])
    for ribs in (False, True):
        a, b = one(points, ribs=ribs), all_(points, ribs=ribs)
        assert float((a.hu - b.hu).abs().max()) < 0.05
        assert bool((a.body == b.body).all())
        assert bool((a.vertebra == b.vertebra).all())


@pytest.mark.slow
def test_stated_heights_are_those_of_a_fine_mask() -> None:
    """Found: all within 0.15 mm; the benchmark has the figures of 500 vertebrae."""
    errors = []
    for seed, (level, kind) in enumerate(zip(("T7", "T11", "L1", "L4", "L2"), (*KINDS, "none"), strict=True)):
        spine = draw_spine(100 + seed)
        if kind != "none":
            spine = fracture(spine, level, 0.15 + 0.1 * seed, seed, kind)
        errors.append(measure(_occupancy(spine, level, seed)).heights_mm - body_heights(spine, level))
    away = np.abs(np.array(errors))
    assert np.median(away) < 0.1
    assert away.max() <= 0.25


@pytest.mark.parametrize(("level", "kind"), [("T5", "wedge"), ("L2", "crush")])
def test_stated_edges_lie_on_the_surface(level: str, kind: str) -> None:
    spine = fracture(draw_spine(8), level, 0.45, 2, kind)
    p = View(torch.from_numpy(spine.row(level)))
    origin = np.array([0.0, 0.5, 0.3])
    axes = rotation(0.2, 0.1, 0.0)
    sheets = stated_edges(View(torch.from_numpy(spine.row(level)[0])), origin, axes)
    where = np.argwhere(sheets.valid)
    assert len(where) > 400
    ahead, left = AHEAD_MM[where[:, 0]], LEFT_MM[where[:, 1]]
    for sheet, sign in ((sheets.top, 1.0), (sheets.bottom, -1.0)):
        height = sheet[sheets.valid]
        for step, inside in ((-0.005, True), (0.005, False)):
            own = origin + np.column_stack([-left, ahead, height + sign * step]) @ axes.T
            u, v, w = torch.from_numpy(np.ascontiguousarray(own.T))
            assert bool(((body_depth(u, v, w, p)["depth"] > 0) == inside).all())


def test_body_masks_are_the_formula_at_every_voxel() -> None:
    spine = fracture(draw_spine(6), "T9", 0.5, 1, "mixed")
    ready = prepare(spine)
    masks = body_masks(ready, ["T9", "L1"], 0.9, rotation(0.2, -0.1, 0.3))
    points = masks.to_ras(np.stack(np.indices(masks.shape), -1).reshape(-1, 3))
    for level in ("T9", "L1"):
        n = spine.levels.index(level)
        u, v, w = torch.from_numpy((points @ ready.inverse[n, :, :3].T + ready.inverse[n, :, 3]).T.copy())
        inside = body_depth(u, v, w, View(torch.from_numpy(spine.row(level))))["depth"].numpy() > 0
        assert inside.sum() > 5000
        assert np.array_equal(inside.reshape(masks.shape), masks.array == LABEL[level])


@pytest.mark.parametrize(("kind", "loss"), list(zip(KINDS, (0.05, 0.2, 0.4, 0.6), strict=True)))
def test_fracture_has_the_loss_asked_for(kind: str, loss: float) -> None:
    for level in ("L2", "T6"):
        spine = fracture(draw_spine(7), level, loss, 4, kind)
        true = truth(spine, level)
        assert true.graded == pytest.approx(loss, abs=0.015)
        assert np.allclose(1 - np.array(true.after_mm) / np.array(true.before_mm), true.loss)
        assert max(abs(x) for x in truth(spine, "L3").loss) == 0.0


def test_fracture_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="loss"):
        fracture(draw_spine(1), "L1", 0.8, 0)
    with pytest.raises(ValueError, match="kind"):
        fracture(draw_spine(1), "L1", 0.3, 0, "bent")


def test_shapes_lose_where_their_name_says() -> None:
    losses = {kind: np.array(truth(fracture(draw_spine(3), "L1", 0.35, 2, kind), "L1").loss) for kind in KINDS}
    assert losses["wedge"].argmax() == 0
    assert losses["wedge"][2] < 0.15
    assert losses["biconcave"].argmax() == 1
    assert losses["crush"][2] > 0.2


@pytest.mark.parametrize("name", [*SINGLE, "scheuermann", "dish", "screws", "block"])
def test_mimics_change_the_picture_but_not_the_grade(name: str) -> None:
    plain = draw_spine(21)
    spine, found = add_mimics(plain, 21, rate=60.0 if name in SINGLE else 1000.0, only=name)
    assert found
    assert {kind for names in found.values() for kind in names} == {name}
    level = next(level for level in found if level[0] in "TL")
    assert truth(spine, level).graded == 0.0
    assert spine.fractured() == ()
    points = _around(Field([plain]), level).float()
    assert float((Field([spine])(points).hu - Field([plain])(points).hu).abs().max()) > 20


def test_columns_are_where_their_names_say() -> None:
    spine = draw_spine(2)
    assert np.array_equal(spine.view.height, spine.vertebrae[:, COLUMNS.index("height")])
    assert index("height") == COLUMNS.index("height")
    assert spine.changed("L1", wedge_mm=2.0).fractured() == ("L1",)
    assert not spine.vertebrae[:, indices(AMOUNTS)].any()
    with pytest.raises(AttributeError):
        _ = spine.view.__nothing__
    with pytest.raises(ValueError, match="vertebrae"):
        SpineParameters(1, ("L1",), np.zeros((2, 3)), spine.trunk, spine.root)


def test_spines_stand_up() -> None:
    for seed in range(12):
        spine = draw_spine(seed)
        frames = align(spine).frames
        t1, l5 = (frames[spine.levels.index(level), :3, 3] for level in ("T1", "L5"))
        assert 300 < t1[2] - l5[2] < 620
        heights = np.array([body_heights(spine, level) for level in ("T4", "T12", "L3")])
        assert (np.diff(heights[:, 2]) > [4.0, -1.5]).all()
        trunk = frames[spine.levels.index("T1") : spine.levels.index("L5") + 1, 2, 3]
        assert (np.diff(trunk) < -8.0).all()  # no spine bends over
        assert 10 < heights.min()
        assert heights.max() < 36


def test_what_is_left_of_a_body_can_be_measured() -> None:
    try:
        spine = fracture(draw_spine(9), "T5", 0.6, 1, "crush")
        assert min(body_heights(spine, "T5")) > 3
    except (ValueError, MaskError):
        pytest.fail("a crush of 60 % must be possible")
