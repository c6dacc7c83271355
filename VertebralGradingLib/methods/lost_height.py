"""Where a vertebra lost height against its own CT warped to grade 0: map, pseudo-healthy CT, and whether it convinces.

The same map as that of relative height loss (:mod:`healthivert.pseudo_healthy`), with another pseudo-healthy vertebra:
no network and no neighbours' shape, but the vertebra's own endplates where the patient's reference says they were.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from VertebralGradingLib.counterfactual.case import WarpCase, warp_case
from VertebralGradingLib.counterfactual.explained import checks_of, reference_of
from VertebralGradingLib.counterfactual.request import Request
from VertebralGradingLib.counterfactual.warp import Warp, mask_on
from VertebralGradingLib.errors import MethodError
from VertebralGradingLib.healthivert.pseudo_healthy import PseudoHealthy, column_heights, lost_height_map
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.morphometry.height_rows import named
from VertebralGradingLib.morphometry.sheets import edge_sheets
from VertebralGradingLib.spine.reformation import Grid, rigid_grid
from VertebralGradingLib.study import Study

KIND = "height_loss_map"
"""Kind of explanation, as of the methods of relative height loss."""
_SIZE, _MARGIN_MM = 84, 12.0
"""Rows and columns of the pictures (mm), and what they show to either side of the body."""


def lost_height(study: Study, level: str, options: dict[str, Any]) -> dict[str, Any]:
    """Where one vertebra lost height, by the warp to grade 0.

    Args:
        study: with a CT, judged by morphometry.
        level: which vertebra.
        options: ``reference_mm`` (expected anterior, middle and posterior height, where the study shows only a part of
            the spine that told them).

    Returns:
        what :func:`healthivert.pseudo_healthy.lost_height_map` tells; besides ``original`` and ``pseudo_healthy``
        (R, C, D) HU with ``body`` and ``pseudo_healthy_body`` (bool) and their ``affine`` (4, 4) index -> RAS mm;
        ``warped`` (I, J, K) HU on the CT's own voxels and ``warped_affine``; ``heights_mm``, ``healthy_mm``,
        ``reached_mm``, ``least_jacobian``, ``checks`` and ``reasons`` as of :func:`counterfactual.explained.explained`.

    Raises:
        CentroidError: no such level, or it was not measured.
        MaskError: its endplates cannot be moved.
        MethodError: no CT, or another option.
        InputError: the expected heights cannot be used.
    """
    if set(options) - {"reference_mm"}:
        raise MethodError("The map of lost height has one option.", "Give reference_mm, or none.")
    case = warp_case(study, level, reference_mm=reference_of(options.get("reference_mm")))
    warp = case.warper.solve(Request(0.0))
    item = next(one for one in study.vertebrae if one.vertebra.level == level)
    grid = _grid(case)
    shown = case.shown(warp, grid)
    affine = grid.affine
    assert affine is not None  # it is rigid
    native = case.volume(warp)
    health = case.warper.health
    return {
        **lost_height_map(_compared(level, case, warp), item),
        "reference": "warp",
        "affine": affine,
        "original": _whole(sample(case.ct, grid.points())),
        "pseudo_healthy": _whole(shown.image),
        "body": mask_on(case.warper.own.body, grid),
        "pseudo_healthy_body": shown.mask,
        "warped": native.array,
        "warped_affine": native.affine,
        "heights_mm": named(health.heights_mm),
        "healthy_mm": named(health.healthy_mm),
        "reached_mm": named(warp.reached_mm),
        "least_jacobian": warp.least_jacobian,
        "checks": checks_of(shown),
        "reasons": shown.reasons,
    }


def _compared(level: str, case: WarpCase, warp: Warp) -> PseudoHealthy:
    """Heights of the body and of the warped one, each measured on its own mask, in the same columns."""
    own = column_heights(case.warper.own.sheets)
    healed = edge_sheets(case.warper.body(warp.field))
    return PseudoHealthy(level, own, np.where(np.isfinite(own), healed.top - healed.bottom, np.nan))


def _grid(case: WarpCase) -> Grid:
    """Sagittal slices of 1 mm around the body: rows caudal, columns posterior, depth left."""
    sheets, body = case.warper.own.sheets, case.warper.own
    depth = 2 * int(np.ceil(body.width_mm / 2 + _MARGIN_MM)) + 1
    return rigid_grid(sheets.to_ras(0.0, body.middle_left_mm, 0.0), sheets.axes, (_SIZE, _SIZE, depth), (1.0, 1.0, 1.0))


def _whole(hu: Any) -> Any:
    return np.rint(np.clip(hu, -32768, 32767)).astype(np.int16)
