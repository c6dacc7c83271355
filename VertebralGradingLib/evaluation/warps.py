"""Counterfactuals against the truth: heights of the true body carried along, likeness, change beside it.

The warp without learning and what is learned on top of it; no edit, and patches of other people at the wanted grade;
networks that draw without a warp. The warp is given the true mask or finds the body on the CT, from scattered
centroids; the type and the loss of the true picture, or its grade alone.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from VertebralGradingLib.counterfactual.case import WarpCase, warp_case
from VertebralGradingLib.counterfactual.reading import allowed, flat_body
from VertebralGradingLib.counterfactual.request import Health, Request
from VertebralGradingLib.counterfactual.warp import Warp, carried
from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.evaluation.flat import Image, Mask, around, brought_over, change_beside, ssim
from VertebralGradingLib.evaluation.learned import Learned
from VertebralGradingLib.evaluation.scenes import Aim, Scene
from VertebralGradingLib.evaluation.warp_table import TRUE, WarpRow
from VertebralGradingLib.methods.morphometric import judged
from VertebralGradingLib.morphometry.heights import measure
from VertebralGradingLib.phantom.drawer import seed_of
from VertebralGradingLib.segmentation.finders import CLASSICAL, choose_finder
from VertebralGradingLib.segmentation.labels import interpret
from VertebralGradingLib.spine.anatomy import axis_position
from VertebralGradingLib.spine.spine import build_spine
from VertebralGradingLib.study import Study, prepare

LOW_PASS_MM, DETAIL_MM = 2.0, 1.0
"""Standard deviations: of the low-pass for the second likeness, and of the blur whose rest is fine detail."""
TRUE_MASK, FOUND_MASK = "true mask", "found mask"
_GALLERY_SPINES, _GALLERY, _BATCH, _MEAN_LEVELS = 16, 240, 12, 1.5


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Patches of other people.

    Attributes:
        images: (N, 128, 128) HU.
        grade, position: (N,)
        heights_mm: (N, 3) true.
    """

    images: NDArray[np.float32]
    grade: NDArray[np.int64]
    position: NDArray[np.float64]
    heights_mm: NDArray[np.float64]


def draw_neighbourhood(seed: int = 9500, count: int = _GALLERY) -> Neighbourhood:
    """Patches of other people, all grades equally often."""
    from VertebralGradingLib.phantom.dataset import DatasetOptions, PhantomDataset
    from VertebralGradingLib.phantom.pool import draw_pool
    from VertebralGradingLib.phantom.truth import body_heights

    pool = draw_pool(_GALLERY_SPINES, seed_of(seed, 0), mimic_rate=0.0)
    data = PhantomDataset(pool, seed, DatasetOptions(batch=_BATCH, jitter=0.5))
    drawn = [data.draw(n) for n in range(-(-count // _BATCH))]
    batches = [data.render(*one) for one in drawn]
    items = [item for chosen, _ in drawn for item in chosen]
    return Neighbourhood(
        np.concatenate([batch["image"][:, 0].numpy() for batch in batches]),
        np.concatenate([batch["grade"].numpy() for batch in batches]),
        np.concatenate([batch["position"].numpy() for batch in batches]),
        np.array([body_heights(pool[n].spine, level) for n, level in items]),
    )


class Judge:
    """All methods on one vertebra after the other.

    Args:
        others: patches of other people.
        learned: networks that draw; None for the warp and what stands beside it alone.
    """

    def __init__(self, others: Neighbourhood, learned: Learned | None = None) -> None:
        self.others, self.learned = others, learned

    def judge(self, scene: Scene) -> list[WarpRow]:
        """Rows of one vertebra.

        Raises:
            MethodError: the body network is not installed.
        """
        truly = study_of(scene, TRUE_MASK)
        own = measurement_of(truly, scene.level)
        rows = []
        for aim in scene.aims:
            rows += self._baselines(scene, aim, own)
        for name in (TRUE_MASK, FOUND_MASK):
            study = truly if name == TRUE_MASK else study_of(scene, FOUND_MASK)
            learned = [] if self.learned is None or name == TRUE_MASK else self.learned.on_warps
            try:
                case = warp_case(study, scene.level)
            except VertebralGradingError:
                titles = [(aim, t) for aim in scene.aims for t in _titles(aim, name)]
                titles += [
                    (aim, f"{t}, {_titles(aim, name)[0].removeprefix('warp, ')}") for aim in scene.aims for t in learned
                ]
                rows += [nothing(scene, aim, title) for aim, title in titles]
                continue
            for aim in scene.aims:
                rows += self._warped(
                    scene, [aim], case, own, _titles(aim, name)[0], request_of(aim, alone=False), learned
                )
            for grade in dict.fromkeys(aim.grade for aim in scene.aims if aim.grade):
                aims = [aim for aim in scene.aims if aim.grade == grade]
                rows += self._warped(scene, aims, case, own, _titles(aims[0], name)[1], request_of(aims[0], alone=True))
            if name == TRUE_MASK:
                for aim in scene.aims:
                    title = "warp, true mask, true heights"
                    rows += self._warped(scene, [aim], case, own, title, aim.target.heights_mm)
        return rows + self._drawn(scene, own)

    def _warped(
        self,
        scene: Scene,
        aims: Sequence[Aim],
        case: WarpCase,
        own: Any,
        method: str,
        wish: Request | NDArray[np.float64],
        learned: Sequence[str] = (),
    ) -> list[WarpRow]:
        """One warp, judged by the aim it is most like, and what is learned on top of it."""
        beside = [_on_top(name, method) for name in learned]
        try:
            warp: Warp = case.warper.solve(wish) if isinstance(wish, Request) else case.warper.to_heights(wish)
            shown = case.shown(warp, scene.grid)
            heights = measure(carried(own.body, warp.field)).heights_mm
        except VertebralGradingError:
            return [nothing(scene, aims[0], title) for title in (method, *beside)]
        image, hidden = shown.image[..., 0], bool(shown.reasons)
        health = case.warper.health
        known = isinstance(wish, Request) and (aims[0].grade == 0 or wish.loss is not None)
        rows = [self.row(scene, aims, own, method, image, heights, known, warp.least_jacobian, hidden, health)]
        for name, title in zip(learned, beside, strict=True):
            assert self.learned is not None
            made = self.learned.on_warp(name, scene, case, warp, image, shown.mask[..., 0], own.body)
            rows.append(
                self.row(
                    scene, aims, own, title, made.image, heights if made.heights_mm is None else made.heights_mm, known,
                    float("nan"), hidden, health,
                )
            )  # fmt: skip
        return rows

    def _baselines(self, scene: Scene, aim: Aim, own: Any) -> list[WarpRow]:
        """No edit; of other people, the patch most alike around the vertebra, and the mean of the same region."""
        others = self.others
        alike = np.flatnonzero(others.grade == aim.grade)
        near = alike[np.abs(others.position[alike] - axis_position(scene.level)) <= _MEAN_LEVELS]
        near = near if len(near) else alike
        outside = ~around(scene.body)
        distance = [float(np.abs(np.clip(others.images[k] - scene.image, -500, 500))[outside].mean()) for k in near]
        nearest = near[int(np.argmin(distance))]
        made = {
            "no edit": (scene.image, own.heights_mm),
            "nearest patch": (others.images[nearest], others.heights_mm[nearest]),
            "mean patch": (others.images[near].mean(0), others.heights_mm[near].mean(0)),
            TRUE: (aim.again, aim.target.heights_mm),
        }
        return [self.row(scene, [aim], own, name, *drawn, known=False) for name, drawn in made.items()]

    def _drawn(self, scene: Scene, own: Any) -> list[WarpRow]:
        """What networks draw without a warp; heights are those that are read."""
        if self.learned is None:
            return []
        rows = []
        for grade in dict.fromkeys(aim.grade for aim in scene.aims):
            aims = [aim for aim in scene.aims if aim.grade == grade]
            for name, image in self.learned.without_warp(scene, float(grade)).items():
                rows.append(self.row(scene, aims, own, name, image, None, known=True))
        return rows

    def row(
        self,
        scene: Scene,
        aims: Sequence[Aim],
        own: Any,
        method: str,
        image: Image,
        heights_mm: NDArray[np.float64] | None,
        known: bool,
        least_jacobian: float = float("nan"),
        hidden: bool = False,
        health: Health | None = None,
    ) -> WarpRow:
        """One picture, judged by the aim it is most like.

        Args:
            scene: whose vertebra it shows.
            aims: that it may be like.
            own: measurement of the true body as it is.
            method: name of what made it.
            image: (128, 128) HU.
            heights_mm: (3,) of the mask that comes with it; None where none does.
            known: whether change beside the vertebra is judged.
            least_jacobian: of the warp.
            hidden: whether the warp's own checks keep it from being shown.
            health: of the vertebra as the product knows it, where the product also hides what is read too far away.
        """
        scores = [(likeness_of(image, aim.target.image, aim.target.mask), aim) for aim in aims]
        likeness, aim = max(scores, key=lambda score: score[0][0])
        read = flat_body(image) if self.learned is not None else None
        if self.learned is not None and health is not None:
            score = float("nan") if read is None else health.score_of(read.heights_mm)
            hidden = hidden or abs(score - aim.grade) > allowed(aim.grade)
        nan = np.full(3, np.nan)
        error = (nan if heights_mm is None else heights_mm) - aim.target.heights_mm
        healthy = aim.target.heights_mm if aim.grade == 0 else own.heights_mm
        return WarpRow(
            scene.subject, scene.level, aim.grade, aim.target.name, method, float(np.abs(error).mean()),
            float(error.mean()), *likeness, _excess(scene, image, aim) if known else float("nan"), least_jacobian,
            hidden,
            float("nan") if read is None else float(np.abs(read.heights_mm - aim.target.heights_mm).mean()),
            float("nan") if read is None else Health(healthy, healthy).score_of(read.heights_mm),
            float("nan") if self.learned is None else self.learned.grade(image),
        )  # fmt: skip


def _titles(aim: Aim, mask: str) -> list[str]:
    """Names of the rows of the warp: with all that is asked for known, and with the grade alone."""
    return [f"warp, {mask}"] if aim.grade == 0 else [f"warp, {mask}, type and loss", f"warp, {mask}, grade alone"]


def _on_top(name: str, method: str) -> str:
    """Name of the row of what is learned on top of a warp."""
    return f"{name}, {method.removeprefix('warp, ')}"


def request_of(aim: Aim, alone: bool) -> Request:
    """What a warp is asked for: grade, or type and loss of the true picture."""
    if aim.grade == 0 or alone:
        return Request(float(aim.grade))
    return Request(shape=aim.target.name, loss=aim.loss)


def study_of(scene: Scene, mask: str) -> Study:
    """A scene's CT, measured with its true mask or as it would be from scattered centroids.

    Raises:
        MethodError: the body network is not installed.
    """
    if mask == TRUE_MASK:
        return judged(prepare(scene.ct, build_spine(scene.points), interpret(scene.mask, "verse"), finder=CLASSICAL))
    return judged(prepare(scene.ct, build_spine(scene.clicks), finder=choose_finder("network")))


def measurement_of(study: Study, level: str) -> Any:
    """What was measured of a level."""
    return next(item for item in study.vertebrae if item.vertebra.level == level).measurement


def nothing(scene: Scene, aim: Aim, method: str) -> WarpRow:
    """A row of a method that drew nothing."""
    nan = float("nan")
    return WarpRow(scene.subject, scene.level, aim.grade, aim.target.name, method, nan, nan, nan, nan, nan, hidden=True)


def _excess(scene: Scene, image: Image, aim: Aim) -> float:
    """Change of the neighbours beyond that of the true picture, by the whole change."""
    region = around(scene.body | aim.target.mask)
    whole = float(np.square(image - scene.image)[region].sum())
    beside = change_beside(scene.image, image, scene.beside)
    return max(beside - _own_change(scene, aim), 0.0) / max(whole + beside, 1e-6)


@functools.lru_cache(maxsize=16)
def _own_change(scene: Scene, aim: Aim) -> float:
    """Change of the neighbours in the true picture: noise, and what a rigid movement does not explain."""
    return change_beside(scene.image, aim.target.image, scene.beside)


def likeness_of(image: Image, target: Image, mask: Mask) -> tuple[float, float, float]:
    """How like a true picture one is, at and around the vertebra in it.

    Args:
        image: (N, N) HU.
        target: (N, N) HU, true.
        mask: (N, N) the body in ``target``.

    Returns:
        SSIM, SSIM after a low-pass, and fine detail's energy as a share of the true picture's.
    """
    region = around(mask)
    moved = brought_over(image, target, region)
    low = ssim(gaussian_filter(moved, LOW_PASS_MM), gaussian_filter(target, LOW_PASS_MM), region)
    fine = [float(np.square(x - gaussian_filter(x, DETAIL_MM))[region].mean()) for x in (moved, target)]
    return ssim(moved, target, region), low, fine[0] / max(fine[1], 1e-6)
