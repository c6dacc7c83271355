"""Counterfactuals against the truth: measures of patches, cases whose truth is known, and the table."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("monai")

from scipy.ndimage import gaussian_filter, rotate, shift  # noqa: E402

from VertebralGradingLib.counterfactual import reading  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder.inference import Counterfactual  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder.network import AutoencoderConfig  # noqa: E402
from VertebralGradingLib.diffusion_autoencoder.patches import to_network  # noqa: E402
from VertebralGradingLib.errors import InputError  # noqa: E402
from VertebralGradingLib.evaluation import counterfactuals, flat  # noqa: E402

CONFIG = AutoencoderConfig(size=64, spacing_mm=2.0)


def picture(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return gaussian_filter(rng.normal(size=(128, 128)), 3.0) * 3000.0 + 100.0


def box(rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    out = np.zeros((128, 128), dtype=bool)
    out[rows[0] : rows[1], columns[0] : columns[1]] = True
    return out


def test_likeness_inside_a_region() -> None:
    a, middle = picture(), box((40, 80), (40, 80))
    assert flat.ssim(a, a, middle) == pytest.approx(1.0, abs=1e-5)
    assert flat.psnr(a, a + 110.0, middle) == pytest.approx(20.0)
    outside = np.where(middle, a, a + 500.0)
    assert flat.psnr(a, outside, middle) > 80.0
    assert flat.ssim(a, picture(1), middle) < 0.5


def test_image_is_brought_over_its_target() -> None:
    a, middle = picture(), box((40, 80), (40, 80))
    moved = flat.brought_over(np.roll(a, (5, -3), (0, 1)), a, middle)
    assert np.array_equal(moved, a)


def test_rigid_motion_of_a_neighbour_is_no_change() -> None:
    a, body = picture(), box((20, 45), (45, 80))
    moved = shift(rotate(a, 3.0, reshape=False, order=3, mode="nearest"), (3.5, -1.5), order=3, mode="nearest")
    plain = float(np.square(moved - a)[flat.around(body)].sum())
    assert flat.change_beside(a, moved, [body]) < 0.02 * plain
    other = a + np.where(body, gaussian_filter(np.random.default_rng(3).normal(size=a.shape), 2.0) * 1500.0, 0.0)
    assert flat.change_beside(a, other, [body]) > 0.1 * float(np.square(other - a).sum())
    assert flat.change_beside(a, other, []) == 0.0


@pytest.fixture(scope="module")
def cases() -> list[list[counterfactuals.Case]]:
    return list(counterfactuals.draw_cases(2, seed=31))


def test_cases_show_one_vertebra_at_two_grades(cases: list[list[counterfactuals.Case]]) -> None:
    kinds = {tuple(case.wanted for case in group) for group in cases}
    assert kinds == {(0,), (1, 2, 3)}
    for group in cases:
        for case in group:
            assert case.grade == (0 if case.wanted else case.grade) and (case.wanted or case.grade >= 2)
            assert len(case.targets) == (3 if case.wanted else 1)
            for target in case.targets:
                assert target.image.shape == case.image.shape == (128, 128)
                lower = max(np.flatnonzero(m.any(1))[-1] for m in (case.mask, target.mask))
                assert lower - min(np.flatnonzero(m.any(1))[-1] for m in (case.mask, target.mask)) <= 6
                own, theirs = case.mask.sum(), target.mask.sum()
                assert (theirs < own) if case.wanted else (theirs > own)
    wide = next(group for group in cases if len(group) == 3)
    assert [case.wanted for case in wide] == [1, 2, 3]
    for mild, severe in zip(wide[0].targets, wide[2].targets, strict=True):
        assert mild.name == severe.name and severe.heights_mm.mean() < mild.heights_mm.mean() - 0.5


def test_body_network_measures_a_patch(cases: list[list[counterfactuals.Case]]) -> None:
    """Its error on true images is the floor of every height in the table."""
    found = []
    for group in cases:
        for target in group[-1].targets:
            body = reading.flat_body(target.image)
            assert body is not None
            overlap = 2.0 * (body.mask & target.mask).sum() / (body.mask.sum() + target.mask.sum())
            found.append((np.abs(body.heights_mm - target.heights_mm)[:2].mean(), overlap))
    error, overlap = np.array(found).T
    assert error.mean() < 1.5 and overlap.mean() > 0.85
    assert reading.flat_body(np.full((128, 128), 40.0)) is None


class Oracle:
    """A system that draws the truth, or something wrong."""

    config = CONFIG

    def __init__(self, answers: list[np.ndarray], reached: float) -> None:
        self.answers, self.reached = answers, reached
        self.grader = SimpleNamespace(
            standardised=np.asarray,
            moved=lambda z, grade, project=True: z,
            score=lambda z: np.zeros(len(z)),
        )

    def seen(self, hu: np.ndarray) -> torch.Tensor:
        return to_network(torch.from_numpy(np.asarray(hu, dtype=np.float32))[:, None], 64, 2.0)

    def encode(self, hu: np.ndarray) -> np.ndarray:
        return np.asarray(hu, dtype=float).reshape(len(hu), -1)[:, :4]

    def counterfactuals(
        self, hu: np.ndarray, wanted: list[float], preset: str, project: bool, inside: np.ndarray
    ) -> list[Counterfactual]:
        before = counterfactuals.as_seen(self, hu)
        drawn = [counterfactuals.as_seen(self, image) for image in self.answers]
        return [
            Counterfactual(before, before, image, 0.0, g, self.reached, 0.0, 0.1, 40.0, ())
            for image, g in zip(drawn, wanted, strict=True)
        ]


def gallery(system: Oracle) -> counterfactuals.Gallery:
    images = np.stack([picture(k) for k in range(8)]).astype(np.float32)
    return counterfactuals.Gallery(images, np.arange(8) % 4, np.full(8, 10.0), system.encode(images))


def test_truth_drawn_is_best_and_nothing_drawn_is_not(cases: list[list[counterfactuals.Case]]) -> None:
    rows = []
    for group in cases:
        system = Oracle([case.targets[-1].image for case in group], float(group[0].wanted))
        rows += counterfactuals.judge(system, group, gallery(system))
    made = [row for row in rows if row.method == "counterfactual"]
    none = [row for row in rows if row.method == "no edit"]
    for drawn, left in zip(made, none, strict=True):
        assert drawn.ssim == pytest.approx(1.0, abs=1e-3) and drawn.ssim > left.ssim
        assert drawn.psnr_db > left.psnr_db + 5 and drawn.excess < 0.01
        assert drawn.nearest == ("crush" if drawn.wanted else "healed")
    text = "\n".join(counterfactuals.describe(rows))
    for name in ("to grade 0, counterfactual", "to grade 3, mean image", "all, nearest neighbour", "all, truth itself"):
        assert name in text
    assert "crush 3" in text and "wedge 0" in text


def test_change_of_a_neighbour_is_excess(cases: list[list[counterfactuals.Case]]) -> None:
    group = next(group for group in cases if len(group) == 1)
    target = group[0].targets[0].image.copy()
    for body in group[0].bodies:
        target[body] = -200.0
    system = Oracle([target], 0.0)
    row = next(r for r in counterfactuals.judge(system, group, gallery(system)) if r.method == "counterfactual")
    assert row.excess > 0.3
    with pytest.raises(InputError, match="one image"):
        counterfactuals.judge(system, [group[0], replace(group[0], image=target)], gallery(system))
