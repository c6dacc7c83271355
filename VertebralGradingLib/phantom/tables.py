"""Published sizes of vertebrae and discs by level, from which spines are drawn. Every number has its source here.

Heights come from ``Resources/norms`` (:mod:`morphometry.norms`). What no source was found for is ASSUMED and
drawn with a wide spread. Levels above T1 and below S1 are context only and assumed throughout.

Sources:
    panjabi: Panjabi et al., Spine 1991;16:888 (thoracic) and 1992;17:299 (lumbar): means of upper end-plate width and
        depth, canal, pedicle, spinous process length in 12 cadaver spines. The values are the ones other authors quote;
        they were NOT read in the papers. Checked only where the next two give a number.
    cook: Cook & Baker, Int J Spine Surg 2021;15:1072 (CT, 196 adults, abstract and table 6), L5: upper depth
        35.7 +- 3.5, canal 28.2 +- 3.1 wide and 15.6 +- 2.1 deep (about the same from L1 on), pedicle 16.1 +- 2.3 wide
        and 12.9 +- 1.9 high, its height falling and its width growing from L1 on. The L5 pedicle height quoted from
        panjabi (19.6) does not go with that and is replaced; width and canal depth of L5 lie between the two.
    kaur: Kaur et al., J Clin Orthop Trauma 2016;7:101 (CT, 50 adults, abstract): pedicle width T1 9.3 +- 1.0,
        T4 4.5 +- 0.9, T12 8.3 +- 1.8 mm. T4 lies between this and panjabi.
    masharawi: Eur Spine J 2010;19:768, doi 10.1007/s00586-009-1256-6, table 1 (240 dry spines, T9-L5): height of the
        spinous process over that of the body.
    egwu: Egwu et al., J Anat Soc India 2019;68:110 (208 dry vertebrae T2-T9, abstract): laminae 6.6-7.3 mm thick, tip
        of the spinous process 5.1 +- 1.4 mm wide at T2.
    fletcher: Fletcher et al., Eur Spine J 2015, doi 10.1007/s00586-015-3925-y (CT, 128 adults, abstract): thoracic disc
        heights, T4-5 2.7 +- 0.7 mm, T10-11 5.4 +- 1.2 mm anterior in men; T2-3 not smaller than T4-5.
    jentzsch: Jentzsch et al., BMC Med Imaging 2024;24:213 (CT, 198 adults, abstract): disc heights T12/L1 8.0,
        L1/2 9.2, L2/3 10.6, L3/4 11.3, L4/5 11.4, L5/S1 10.5 mm.
    wang: Wang et al., Eur Spine J 2012;21:2316 (591 lumbar endplates): concavity 1.5 mm above a disc, 0.7 mm below it,
        central endplate about 70 % of the diameter, rim 3-7 mm wide.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.morphometry.norms import expected_log_heights
from VertebralGradingLib.spine.anatomy import axis_position

CONTEXT_ABOVE = ("C4", "C5", "C6", "C7")
CONTEXT_BELOW = ("S1", "S2", "S3")

_POSITION = np.arange(1.0, 18.0)  # T1 .. L5 on the axis of levels
WIDTH_MM = np.array(
    [24.5, 24.9, 24.6, 24.5, 24.9, 26.2, 27.8, 29.5, 30.6, 31.9, 34.9, 39.0, 41.2, 42.6, 44.1, 46.6, 47.3]
)
"""Upper end-plate width (panjabi)."""
DEPTH_MM = np.array(
    [18.5, 19.6, 22.7, 23.3, 24.3, 26.0, 27.4, 27.9, 29.3, 30.5, 31.9, 32.8, 34.1, 34.6, 35.2, 35.5, 34.7]
)
"""Upper end-plate depth (panjabi)."""
CANAL_WIDTH_MM = np.array(
    [21.8, 19.5, 18.4, 17.7, 17.3, 17.2, 17.2, 17.5, 17.6, 17.6, 19.4, 22.2, 23.7, 23.8, 24.3, 25.4, 27.1]
)
"""Spinal canal width (panjabi)."""
CANAL_DEPTH_MM = np.array(
    [16.4, 15.5, 15.7, 16.2, 16.1, 15.9, 16.0, 15.8, 15.9, 15.5, 15.9, 18.1, 19.0, 18.2, 17.5, 17.6, 17.6]
)
"""Spinal canal depth (panjabi; L4 and L5 between that and cook)."""
PEDICLE_HEIGHT_MM = np.array(
    [9.6, 11.4, 11.9, 12.1, 11.9, 12.2, 12.1, 12.5, 13.9, 14.9, 17.4, 16.7, 15.9, 15.0, 14.4, 14.0, 12.9]
)
"""Pedicle height (panjabi; L5 cook, L4 between)."""
PEDICLE_WIDTH_MM = np.array([8.9, 7.8, 6.3, 5.4, 5.7, 6.0, 6.0, 6.7, 7.7, 9.0, 9.8, 8.7, 8.6, 8.3, 10.2, 14.1, 17.5])
"""Pedicle width (panjabi; T1 to T5 between that and kaur, L5 between that and cook)."""
SPINOUS_MM = np.array(
    [50.4, 52.2, 51.5, 50.9, 52.4, 53.0, 53.8, 53.4, 51.2, 47.3, 46.9, 49.9, 67.7, 71.9, 70.5, 66.9, 63.2]
)
"""Tip of the spinous process behind the middle of the body's upper end-plate (panjabi)."""
SPINOUS_SHARE = np.array(
    [0.45, 0.45, 0.45, 0.45, 0.45, 0.45, 0.46, 0.47, 0.485, 0.53, 0.545, 0.695, 0.83, 0.87, 0.85, 0.735, 0.62]
)
"""Height of the spinous process by that of the body, both sexes (masharawi; above T9 assumed)."""
_DISC = {
    2.5: 3.4, 4.5: 2.7, 7.5: 3.6, 10.5: 5.4, 12.5: 8.0, 13.5: 9.2, 14.5: 10.6, 15.5: 11.3, 16.5: 11.4, 17.5: 10.5,
}  # fmt: skip
SIZE_SD = 0.08
"""Between people, of the logarithm of all lengths together: 2.0 mm of 25 mm body height (norms). Sex is half of it."""
PART_SD = 0.05
"""Of one length of one vertebra around its person's size: assumed."""
SEX_SHIFT = 0.04
"""Half the difference of log size between the sexes: female heights 7.9-9.0 % smaller at T1-T6 (Palm, sheet 5)."""
CONCAVITY_SUPERIOR_MM = 0.7
CONCAVITY_INFERIOR_MM = 1.5
"""Endplate concavity over the whole endplate in L1-L5 (wang: the endplate above a disc is the deeper). Heights say that
both together must be about 0.14 of the height (norms, Hm/max 0.86); the drawing scales this pair to that sum."""


def _at(values: NDArray[np.float64], level: str) -> float:
    position = axis_position(level) if level[0] != "S" else 17.0 + int(level[1:])
    return float(np.interp(np.clip(position, 1.0, 17.0), _POSITION, values))


def usual(level: str) -> dict[str, float]:
    """Mean sizes (mm) of a level; context levels continue the nearest table end (assumed)."""
    letter, number = level[0], int(level[1:])
    position = axis_position(level) if letter != "S" else 18.0
    log_heights = expected_log_heights(np.array([position]))[0]
    anterior, middle, posterior = (float(value) for value in np.exp(log_heights))
    out = {
        "width": _at(WIDTH_MM, level),
        "depth": _at(DEPTH_MM, level),
        "anterior": anterior,
        "middle": middle,
        "posterior": posterior,
        "canal_width": _at(CANAL_WIDTH_MM, level),
        "canal_depth": _at(CANAL_DEPTH_MM, level),
        "pedicle_height": _at(PEDICLE_HEIGHT_MM, level),
        "pedicle_width": _at(PEDICLE_WIDTH_MM, level),
        "spinous": _at(SPINOUS_MM, level),
        "spinous_height": _at(SPINOUS_SHARE, level),
        "disc": float(np.interp(position + 0.5, list(_DISC), list(_DISC.values()))),
    }
    if letter == "C":
        below = {"C7": 0.90, "C6": 0.82, "C5": 0.80, "C4": 0.80}[level]
        out |= {name: out[name] * below for name in ("anterior", "middle", "posterior")}
        out |= {"width": 23.0, "depth": 16.5, "spinous": 48.0 if level in ("C6", "C7") else 36.0, "disc": 5.0}
    if letter == "S":
        tall = {1: 30.0, 2: 25.0, 3: 21.0}[number]
        out |= {"anterior": tall, "middle": 0.96 * tall, "posterior": 0.86 * tall, "disc": 1.2, "spinous": 45.0}
        out |= {"depth": {1: 33.0, 2: 22.0, 3: 15.0}[number], "width": {1: 50.0, 2: 40.0, 3: 34.0}[number]}
    return out
