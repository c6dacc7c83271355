"""The warp without learning against the truth: heights of the true body carried along, likeness, change beside it.

Beside it: no edit, and patches of other people at the wanted grade. The warp is given the true mask or finds the body
on the CT, from scattered centroids; the type and the loss of the true picture, or its grade alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from VertebralGradingLib.counterfactual.case import WarpCase, warp_case
from VertebralGradingLib.counterfactual.request import Request
from VertebralGradingLib.counterfactual.warp import Warp, carried
from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.evaluation.counterfactuals import LOSS_OF_GRADE, Target
from VertebralGradingLib.evaluation.flat import Image, around, brought_over, change_beside, ssim
from VertebralGradingLib.evaluation.scenes import Aim, Scene
from VertebralGradingLib.evaluation.statistics import by_subject, written
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


@dataclass(frozen=True)
class WarpRow:
    """What one method made of one aim.

    Attributes:
        subject, level, wanted, shape, method: which.
        mae_mm, bias_mm: of the three heights; NaN where nothing was drawn.
        ssim, ssim_low, detail: inside the vertebra: likeness, the same after a low-pass, energy of fine detail as a
            share of the true picture's.
        excess: change of the neighbours beyond the true picture's own, by the whole change; NaN where nothing changes.
        least_jacobian: of the warp, NaN for others.
        hidden: whether its own checks keep it from being shown.
    """

    subject: str
    level: str
    wanted: int
    shape: str
    method: str
    mae_mm: float
    bias_mm: float
    ssim: float
    ssim_low: float
    detail: float
    excess: float = float("nan")
    least_jacobian: float = float("nan")
    hidden: bool = False


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


def judge_scene(scene: Scene, others: Neighbourhood, progress: Callable[[str], None] | None = None) -> list[WarpRow]:
    """All methods on one vertebra.

    Raises:
        MethodError: the body network is not installed.
    """
    truly = _study(scene, TRUE_MASK)
    own = _measurement(truly, scene.level)
    rows = []
    for aim in scene.aims:
        rows += _baselines(scene, aim, others, own)
    for name in (TRUE_MASK, FOUND_MASK):
        study = truly if name == TRUE_MASK else _study(scene, FOUND_MASK)
        try:
            case = warp_case(study, scene.level)
        except VertebralGradingError:
            rows += [_nothing(scene, aim, title) for aim in scene.aims for title in _titles(aim, name)]
            continue
        for aim in scene.aims:
            rows.append(_warped(scene, [aim], case, own, _titles(aim, name)[0], _request(aim, alone=False)))
        for grade in dict.fromkeys(aim.grade for aim in scene.aims if aim.grade):
            aims = [aim for aim in scene.aims if aim.grade == grade]
            rows.append(_warped(scene, aims, case, own, _titles(aims[0], name)[1], _request(aims[0], alone=True)))
        if name == TRUE_MASK:
            for aim in scene.aims:
                rows.append(_warped(scene, [aim], case, own, "warp, true mask, true heights", aim.target.heights_mm))
    return rows


def _titles(aim: Aim, mask: str) -> list[str]:
    """Names of the rows of the warp: with all that is asked for known, and with the grade alone."""
    return [f"warp, {mask}"] if aim.grade == 0 else [f"warp, {mask}, type and loss", f"warp, {mask}, grade alone"]


def _request(aim: Aim, alone: bool) -> Request:
    if aim.grade == 0 or alone:
        return Request(float(aim.grade))
    return Request(shape=aim.target.name, loss=aim.loss)


def _study(scene: Scene, mask: str) -> Study:
    if mask == TRUE_MASK:
        return judged(prepare(scene.ct, build_spine(scene.points), interpret(scene.mask, "verse"), finder=CLASSICAL))
    return judged(prepare(scene.ct, build_spine(scene.clicks), finder=choose_finder("network")))


def _measurement(study: Study, level: str) -> Any:
    item = next(item for item in study.vertebrae if item.vertebra.level == level)
    return item.measurement


def _warped(
    scene: Scene, aims: Sequence[Aim], case: WarpCase, own: Any, method: str, wish: Request | NDArray[np.float64]
) -> WarpRow:
    """One warp, judged by the aim it is most like."""
    try:
        warp: Warp = case.warper.solve(wish) if isinstance(wish, Request) else case.warper.to_heights(wish)
        shown = case.shown(warp, scene.grid)
        heights = measure(carried(own.body, warp.field)).heights_mm
    except VertebralGradingError:
        return _nothing(scene, aims[0], method)
    image = shown.image[..., 0]
    scores = [(_likeness(image, aim.target), aim) for aim in aims]
    likeness, aim = max(scores, key=lambda score: score[0][0])
    error = heights - aim.target.heights_mm
    known = isinstance(wish, Request) and (aim.grade == 0 or wish.loss is not None)
    return WarpRow(
        scene.subject, scene.level, aim.grade, aim.target.name, method, float(np.abs(error).mean()),
        float(error.mean()), *likeness, _excess(scene, image, aim) if known else float("nan"), warp.least_jacobian,
        bool(shown.reasons),
    )  # fmt: skip


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


def _likeness(image: Image, target: Target) -> tuple[float, float, float]:
    """SSIM, SSIM after a low-pass, and share of fine detail's energy, inside the vertebra."""
    region = around(target.mask)
    moved = brought_over(image, target.image, region)
    low = ssim(gaussian_filter(moved, LOW_PASS_MM), gaussian_filter(target.image, LOW_PASS_MM), region)
    fine = [float(np.square(x - gaussian_filter(x, DETAIL_MM))[region].mean()) for x in (moved, target.image)]
    return ssim(moved, target.image, region), low, fine[0] / max(fine[1], 1e-6)


def _baselines(scene: Scene, aim: Aim, others: Neighbourhood, own: Any) -> list[WarpRow]:
    """No edit; of other people, the patch that is most alike around the vertebra, and the mean of the same region."""
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
        "true picture, scanned again": (aim.again, aim.target.heights_mm),
    }
    rows = []
    for name, (image, heights) in made.items():
        error = heights - aim.target.heights_mm
        rows.append(
            WarpRow(
                scene.subject, scene.level, aim.grade, aim.target.name, name, float(np.abs(error).mean()),
                float(error.mean()), *_likeness(image, aim.target),
            )
        )  # fmt: skip
    return rows


def _nothing(scene: Scene, aim: Aim, method: str) -> WarpRow:
    nan = float("nan")
    return WarpRow(scene.subject, scene.level, aim.grade, aim.target.name, method, nan, nan, nan, nan, nan, hidden=True)


def describe(rows: Sequence[WarpRow]) -> list[str]:
    """The table, by direction and method."""
    lines = [
        f"{len({(r.subject, r.level) for r in rows})} vertebrae of {len({r.subject for r in rows})} spines; heights of "
        "the true body carried along; likeness inside the vertebra; mean [90 % interval over spines]",
        f"{'':44s} {'height MAE mm':20s} bias  {'SSIM':22s} SSIM 2 mm  detail  excess  hidden  not drawn",
    ]
    for grade in (0, *LOSS_OF_GRADE):
        part = [row for row in rows if row.wanted == grade]
        for method in dict.fromkeys(row.method for row in part):
            lines.append(_line(f"to grade {grade}, {method}", [row for row in part if row.method == method]))
    least = [row.least_jacobian for row in rows if np.isfinite(row.least_jacobian)]
    if least:
        lines.append(f"least Jacobian of all warps: {min(least):.3f}")
    return lines


def _line(title: str, rows: Sequence[WarpRow]) -> str:
    drawn = [row for row in rows if np.isfinite(row.mae_mm)]
    if not drawn:
        return f"{title:44s} nothing drawn"
    low, detail, excess = (np.array([getattr(r, n) for r in drawn]) for n in ("ssim_low", "detail", "excess"))
    excess = excess[np.isfinite(excess)]
    return (
        f"{title:44s} {_mean(drawn, 'mae_mm', 2):20s} {np.mean([r.bias_mm for r in drawn]):+.2f} "
        f"{_mean(drawn, 'ssim', 3):22s} {low.mean():.3f}      {detail.mean():.2f}    "
        f"{f'{excess.mean():.3f}' if len(excess) else '-':6s}  {sum(r.hidden for r in rows)} of {len(rows)}  "
        f"{len(rows) - len(drawn)}"
    )


def _mean(rows: Sequence[WarpRow], name: str, digits: int) -> str:
    values = np.array([getattr(row, name) for row in rows], dtype=float)
    return written(*by_subject(lambda k: float(values[k].mean()), [row.subject for row in rows], 300), digits)
