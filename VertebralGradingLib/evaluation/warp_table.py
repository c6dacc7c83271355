"""The table of counterfactuals beside the truth: rows of all methods, with intervals over spines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from VertebralGradingLib.evaluation.counterfactuals import LOSS_OF_GRADE
from VertebralGradingLib.evaluation.statistics import by_subject, written

TRUE, STEP = "true picture, scanned again", "warp, found mask"
"""Rows that others are compared with: what can be had at best, and the warp without learning."""
_NEAR = 0.5


@dataclass(frozen=True)
class WarpRow:
    """What one method made of one aim.

    Attributes:
        subject, level, wanted, shape, method: which.
        mae_mm, bias_mm: of the three heights; NaN where nothing was drawn, or no mask comes with the picture.
        ssim, ssim_low, detail: inside the vertebra: likeness, the same after a low-pass, energy of fine detail as a
            share of the true picture's.
        excess: change of the neighbours beyond the true picture's own, by the whole change; NaN where nothing changes.
        least_jacobian: of the warp, NaN for others.
        hidden: whether its own checks keep it from being shown.
        read_mm: of the three heights as the body network reads them; NaN where it finds no body.
        reached: grade by these heights, continuous, against the vertebra's true healthy heights.
        latent: grade by the latent of the picture; NaN without an autoencoder.
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
    read_mm: float = float("nan")
    reached: float = float("nan")
    latent: float = float("nan")


def describe(rows: Sequence[WarpRow]) -> list[str]:
    """The table, by direction and method; then how far each lies from the warp without learning, pair by pair."""
    lines = [
        f"{len({(r.subject, r.level) for r in rows})} vertebrae of {len({r.subject for r in rows})} spines; heights of "
        "the true body carried along, and as the body network reads them (beyond its error on the true picture); "
        "likeness inside the vertebra; mean [90 % interval over spines]; grade reached within 0.5 by these heights, "
        "and by the latent; what is hidden or not drawn reaches none",
        f"{'':52s} {'height MAE mm':20s} bias  {'read, beyond':20s} {'SSIM':22s} SSIM 2 mm  detail  excess  reached"
        "  latent  hidden  not drawn",
    ]
    for grade in (0, *LOSS_OF_GRADE):
        part = [row for row in rows if row.wanted == grade]
        true = {_key(row): row for row in part if row.method == TRUE}
        for method in dict.fromkeys(row.method for row in part):
            lines.append(_line(f"to grade {grade}, {method}", [row for row in part if row.method == method], true))
    lines += _against(rows)
    least = [row.least_jacobian for row in rows if np.isfinite(row.least_jacobian)]
    if least:
        lines.append(f"least Jacobian of all warps: {min(least):.3f}")
    return lines


def _key(row: WarpRow) -> tuple[str, str, int, str]:
    return row.subject, row.level, row.wanted, row.shape


def _line(title: str, rows: Sequence[WarpRow], true: dict[tuple[str, str, int, str], WarpRow]) -> str:
    drawn = [row for row in rows if np.isfinite(row.ssim)]
    if not drawn:
        return f"{title:52s} nothing drawn"
    low, detail, excess = (np.array([getattr(r, n) for r in drawn]) for n in ("ssim_low", "detail", "excess"))
    excess = excess[np.isfinite(excess)]
    beyond = [row.read_mm - true[_key(row)].read_mm if _key(row) in true else float("nan") for row in drawn]
    reached, latent = (_share_near(rows, name) for name in ("reached", "latent"))
    return (
        f"{title:52s} {_mean([r.mae_mm for r in drawn], drawn, 2):20s} {_known([r.bias_mm for r in drawn]):+.2f} "
        f"{_mean(beyond, drawn, 2):20s} {_mean([r.ssim for r in drawn], drawn, 3):22s} "
        f"{low.mean():.3f}      {detail.mean():.2f}    "
        f"{f'{excess.mean():.3f}' if len(excess) else '-':6s}  {reached:7s}  {latent:6s}  "
        f"{sum(r.hidden for r in rows)} of {len(rows)}  {len(rows) - len(drawn)}"
    )


def _share_near(rows: Sequence[WarpRow], name: str) -> str:
    """Share of all rows, drawn or not, whose grade is the wanted one within a half; hidden ones count as missed."""
    values = [getattr(row, name) for row in rows]
    if not np.isfinite(values).any():
        return "-"
    near = [not r.hidden and abs(v - r.wanted) <= _NEAR for v, r in zip(values, rows, strict=True)]
    return f"{np.mean(near):.2f}"


def _against(rows: Sequence[WarpRow]) -> list[str]:
    """Paired differences from the warp without learning, of what is learned on top of it."""
    lines = []
    for grade in (0, *LOSS_OF_GRADE):
        part = [row for row in rows if row.wanted == grade]
        for name in ("", ", type and loss"):
            step = {_key(row): row for row in part if row.method == STEP + name}
            for method in dict.fromkeys(r.method for r in part if r.method.endswith(f"found mask{name}")):
                pairs = [(r, step[_key(r)]) for r in part if r.method == method and _key(r) in step]
                pairs = [(a, b) for a, b in pairs if np.isfinite(a.ssim) and np.isfinite(b.ssim)]
                if method == STEP + name or not pairs:
                    continue
                own = [a for a, _ in pairs]
                differences = [
                    _mean([getattr(a, field) - getattr(b, field) for a, b in pairs], own, digits)
                    for field, digits in (("ssim", 4), ("mae_mm", 3), ("read_mm", 3))
                ]
                lines.append(
                    f"to grade {grade}, {method}, less the warp: SSIM {differences[0]}, heights {differences[1]} mm, "
                    f"read {differences[2]} mm"
                )
    return lines


def _known(values: Sequence[float]) -> float:
    """Mean of what is known; NaN where nothing is."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    return float(known.mean()) if len(known) else float("nan")


def _mean(values: Sequence[float], rows: Sequence[WarpRow], digits: int) -> str:
    numbers = np.asarray(values, dtype=float)
    if not np.isfinite(numbers).any():
        return "-"
    return written(*by_subject(lambda k: _known(numbers[k].tolist()), [row.subject for row in rows], 300), digits)
