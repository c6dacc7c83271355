"""The warp as an explanation: pictures, heights, movements and checks of one vertebra at other grades."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.counterfactual.case import Shown, WarpCase, warp_case
from VertebralGradingLib.counterfactual.columns import SINK_SHARE, TILT_SHARE, Posture
from VertebralGradingLib.counterfactual.live import LiveWarp
from VertebralGradingLib.counterfactual.plates import AHEAD, LEFT
from VertebralGradingLib.counterfactual.reading import allowed, apart
from VertebralGradingLib.counterfactual.request import OWN, Health, Request
from VertebralGradingLib.counterfactual.warp import Warp, mask_on
from VertebralGradingLib.errors import InputError, MethodError
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.morphometry.height_rows import named
from VertebralGradingLib.spine.reformation import patch_grid
from VertebralGradingLib.study import Study

GRADES = (0.0, 1.0, 2.0, 3.0)
MOST_GRADES = 64
"""Pictures of one request."""
_OPTIONS = ("grades", "shape", "tone", "volumes", "knots", "reference_mm", "tilt_share", "sink_share", "read")


def explained(study: Study, level: str, options: dict[str, Any]) -> dict[str, Any]:
    """What a vertebra would look like at other grades, by the warp.

    Args:
        study: with a CT, judged by morphometry.
        level: which vertebra.
        options: ``grades`` (0..3, continuous; 0, 1, 2 and 3 where missing), ``shape`` (:data:`request.SHAPES`),
            ``tone`` (false: a core that is raised keeps its grey), ``volumes`` (true: the CT itself warped too),
            ``knots`` (true: the fields too, for :class:`live.LiveWarp`), ``reference_mm`` (expected anterior, middle
            and posterior height, where the study shows only a part of the spine that told them), ``tilt_share`` and
            ``sink_share`` (:class:`columns.Posture`), ``read`` (true: the body network, where it is installed, reads
            each picture, and one that is read too far from its grade does not convince).

    Returns:
        ``original`` (128, 128) and ``changed`` (N, 128, 128) HU at 1 mm with the body in them (``body``,
        ``changed_body``), and how far what is seen there was moved up (``rise_mm``); ``shape``, ``score``,
        ``heights_mm``, ``healthy_mm`` and ``loss`` as it is; ``wanted``, ``tilt_share``, ``sink_share``; for each
        grade ``target_mm``, ``reached_mm`` and ``reached_loss`` by position, ``reached`` (grade of these heights),
        ``moved_mm`` (by endplate and position, upwards), ``tilt_deg``, ``sink_mm``, ``least_jacobian``, ``checks`` and
        ``reasons`` (words; none where the picture is convincing). With ``volumes`` also ``volume_0``, ``volume_1``,
        ... (HU) and their ``affine``; with ``knots`` the arrays of :meth:`live.LiveWarp.to_arrays`.

    Raises:
        CentroidError: no such level, or it was not measured.
        MaskError: its endplates cannot be moved, or the warped body cannot be measured.
        MethodError: no CT, or an unknown option.
        InputError: a value that cannot be used, or a warp that would fold.
    """
    grades, shape, tone, volumes, knots, read, posture = _wishes(options)
    case = warp_case(study, level, posture, reference_of(options.get("reference_mm")))
    grid = patch_grid(study.spine, study.spine.by_level[level])
    own = case.warper.own.body
    warps = [case.warper.solve(Request(grade, shape)) for grade in grades]
    shown = [case.shown(warp, grid, tone) for warp in warps]
    health = case.warper.health
    if read:
        shown = [read_too(one, health, grade) for one, grade in zip(shown, grades, strict=True)]
    answer: dict[str, Any] = {
        "original": sample(case.ct, grid.points())[..., 0],
        "body": mask_on(own, grid)[..., 0],
        "changed": np.stack([one.image[..., 0] for one in shown]),
        "changed_body": np.stack([one.mask[..., 0] for one in shown]),
        "rise_mm": np.stack([one.rise_mm[..., 0] for one in shown]),
        "shape": shape,
        "score": health.score,
        "heights_mm": named(health.heights_mm),
        "healthy_mm": named(health.healthy_mm),
        "wanted": grades,
        "tilt_share": posture.tilt_share,
        "sink_share": posture.sink_share,
        "loss": named(health.loss),
        "reached_loss": [named(1.0 - warp.reached_mm / health.healthy_mm) for warp in warps],
        "target_mm": [named(warp.target_mm) for warp in warps],
        "reached_mm": [named(warp.reached_mm) for warp in warps],
        "reached": [health.score_of(warp.reached_mm) for warp in warps],
        "moved_mm": [_moved(case, warp) for warp in warps],
        "tilt_deg": [float(np.degrees(warp.field.rigid.tilt)) for warp in warps],
        "sink_mm": [float(warp.field.rigid.sink_mm) for warp in warps],
        "least_jacobian": [warp.least_jacobian for warp in warps],
        "checks": [checks_of(one) for one in shown],
        "reasons": [one.reasons for one in shown],
    }
    for n, warp in enumerate(warps if volumes else ()):
        part = case.volume(warp, tone)
        answer[f"volume_{n}"], answer["affine"] = part.array, part.affine
    return answer | (LiveWarp.of(grades, warps).to_arrays() if knots else {})


def read_too(shown: Shown, health: Health, grade: float) -> Shown:
    """A picture with what the body network reads in it among its checks; as it is where there is no network."""
    try:
        far = apart(shown.image[..., 0], health, grade)
    except MethodError:
        return shown
    return replace(shown, checked=replace(shown.checked, read_apart=far, read_allowed=allowed(grade)))


def checks_of(shown: Shown) -> dict[str, float | None]:
    """The numbers behind a picture's verdict, by name."""
    checked = shown.checked
    return {
        "missed_mm": checked.missed_mm,
        "gas_share": checked.gas_share,
        "seam_share": checked.seam_share,
        "outside_share": checked.outside_share,
        "read_apart": checked.read_apart if np.isfinite(checked.read_apart) else None,
    }


def _moved(case: WarpCase, warp: Warp) -> dict[str, dict[str, float]]:
    """How far the endplates go up at the six points (mm)."""
    own = case.warper.own
    place = warp.field.in_frame(own.points_ras[::2])
    rows = np.clip(np.rint(place[:, 0] - AHEAD[0]).astype(int), 0, len(AHEAD) - 1)
    columns = np.clip(np.rint(place[:, 1] - LEFT[0]).astype(int), 0, len(LEFT) - 1)
    return {"superior": named(warp.top_mm[rows, columns]), "inferior": named(warp.bottom_mm[rows, columns])}


def reference_of(values: Any) -> NDArray[np.float64] | None:
    """Three expected heights, or None where none are given.

    Raises:
        InputError: anything else.
    """
    if values is None:
        return None
    numbers = isinstance(values, (list, tuple)) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) for v in values
    )
    if not numbers or len(values) != 3 or not 0.0 < min(values) <= max(values) < 100.0:
        raise InputError(
            "The expected heights cannot be used.", "Give three heights in mm: anterior, middle, posterior."
        )
    return np.array(values, dtype=np.float64)


def _wishes(options: dict[str, Any]) -> tuple[list[float], str, bool, bool, bool, bool, Posture]:
    """Grades, shape, tone, volumes, knots, read, posture: out of options that may come from anywhere.

    Raises:
        MethodError: an unknown name.
        InputError: a value of another kind.
    """
    unknown = set(options) - set(_OPTIONS)
    if unknown:
        raise MethodError(f"Unknown options: {', '.join(sorted(unknown))}.", f"Use {', '.join(_OPTIONS)}.")
    grades = options.get("grades", list(GRADES))
    shape, tone = options.get("shape", OWN), options.get("tone", True)
    volumes, knots, read = (options.get(name, False) for name in ("volumes", "knots", "read"))
    shares = [options.get("tilt_share", TILT_SHARE), options.get("sink_share", SINK_SHARE)]
    if not isinstance(grades, (list, tuple)) or not 1 <= len(grades) <= MOST_GRADES:
        raise InputError("The grades wanted are no list of numbers.", f"Give 1 to {MOST_GRADES} numbers, 0 to 3.")
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (*grades, *shares)):
        raise InputError("An option of the warp is no number.", "Grades and shares are numbers.")
    if not all(0.0 <= float(share) <= 1.0 for share in shares):
        raise InputError("A share lies outside of 0 to 1.", "Give 0 for no tilt or sinking, 1 for all of it.")
    if not isinstance(shape, str) or not all(isinstance(one, bool) for one in (tone, volumes, knots, read)):
        raise InputError("An option of the warp cannot be used.", "shape is a word, the others are true or false.")
    if knots and (len(grades) < 2 or sorted(set(grades)) != list(grades)):
        raise InputError("Knots need two or more rising grades.", "Give them in order, each once.")
    return [float(v) for v in grades], shape, tone, volumes, knots, read, Posture(float(shares[0]), float(shares[1]))
