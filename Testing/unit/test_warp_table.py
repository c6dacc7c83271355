"""The table of the warp: one scene with truth, judged; rows that were not drawn or are hidden are counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")

from VertebralGradingLib.counterfactual.case import warp_case
from VertebralGradingLib.evaluation import scenes, warp_table, warps
from VertebralGradingLib.evaluation.scenes import Scene
from VertebralGradingLib.spine.anatomy import axis_position


@pytest.fixture(scope="module")
def scene() -> Scene:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "BLOCK", (168, 128, 45))
        return next(scenes.draw_scenes(1, 9000))


def test_a_scene_shows_one_vertebra_twice(scene: Scene) -> None:
    assert scene.grade == 3
    (aim,) = scene.aims
    assert (aim.grade, aim.loss, aim.target.name) == (0, 0.0, "healed")
    assert scene.image.shape == aim.target.image.shape == aim.again.shape == (128, 128)
    assert aim.target.mask.sum() > 1.2 * scene.body.sum()
    noise = aim.again - aim.target.image
    assert noise.std() > 3.0
    assert abs(noise.mean()) < 3.0
    assert all(not (mask & scene.body).any() for mask in scene.beside)
    middle = scene.ct.to_ras(np.array([83.5, 63.5, 22.0]))
    assert np.abs(scene.grid.to_ras(np.array([63.5, 63.5, 0.0])) - middle).max() < 1e-6
    gaps = [
        np.linalg.norm(np.subtract(a.position, b.position)) for a, b in zip(scene.points, scene.clicks, strict=True)
    ]
    assert 0.5 < np.mean(gaps) < 6.0


def test_the_warp_is_judged_by_the_true_body_carried_along(scene: Scene) -> None:
    study = warps.study_of(scene, warps.TRUE_MASK)
    own = warps.measurement_of(study, scene.level)
    (aim,) = scene.aims
    others = warps.Neighbourhood(
        np.stack([aim.target.image, aim.target.image + 200.0]).astype(np.float32),
        np.array([0, 3]),
        np.full(2, axis_position(scene.level)),
        np.stack([aim.target.heights_mm, np.zeros(3)]),
    )
    judge = warps.Judge(others)
    rows = {row.method: row for row in judge._baselines(scene, aim, own)}
    assert rows["nearest patch"].mae_mm == 0.0  # the true picture itself, out of two
    assert rows["nearest patch"].ssim == pytest.approx(1.0, abs=1e-4)
    assert rows["true picture, scanned again"].ssim < 1.0
    case = warp_case(study, scene.level)
    (row,) = judge._warped(scene, [aim], case, own, "warp", warps.request_of(aim, alone=False))
    assert row.mae_mm < rows["no edit"].mae_mm / 3
    assert row.ssim > rows["no edit"].ssim
    assert 0.0 <= row.excess < 0.3
    (exact,) = judge._warped(scene, [aim], case, own, "warp", aim.target.heights_mm)
    assert exact.mae_mm < 0.1  # given the true heights, the true body comes out with them
    assert np.isnan(exact.excess)


def test_the_table_counts_what_is_missing_and_hidden(scene: Scene) -> None:
    nothing = warps.nothing(scene, scene.aims[0], "warp, found mask")
    drawn = replace(nothing, subject="b", mae_mm=1.0, bias_mm=-1.0, ssim=0.5, ssim_low=0.7, detail=0.9, hidden=False)
    lines = warp_table.describe([nothing, drawn, replace(drawn, subject="c", mae_mm=2.0, least_jacobian=0.4)])
    line = next(line for line in lines if "found mask" in line)
    assert "1.50 [" in line
    assert "1 of 3" in line
    assert line.rstrip().endswith("1")
    assert lines[-1].endswith("0.400")
    assert any("nothing drawn" in one for one in warp_table.describe([nothing]))
