"""What may be noticed on a vertebra or an image, by name."""

from __future__ import annotations

from collections.abc import Collection

from VertebralGradingLib.findings.states import NOT_ASSESSED, TREATED

FLAG_TEXT: dict[str, str] = {
    "level_unknown": "level not named; graded relative to its neighbours",
    "off_curve": "centroid more than 10 mm off the spine's curve",
    "far_off_curve": "centroid more than 25 mm off the spine's curve",
    "doubled_point": "several points on one vertebra were merged",
    "chain_break": "gap of more than 60 mm to the next centroid",
    "neighbour_missing": "a neighbouring level has no centroid",
    "spacing_unexpected": "distance to the next centroid does not fit",
    "cut_by_volume_edge": "cut by the edge of the volume",
    "outside_volume": "centroid outside the volume",
    "thick_slices": "slices so thick that grade 1 is uncertain",
    "disc_below_resolution": "discs thinner than two slices: not graded by an earlier version",
    "implant_or_cement": "metal or cement in or near the body",
    "focal_endplate_defect": "focal endplate defect, such as a Schmorl node",
    "low_confidence_mask": "the body's edges are uncertain: others are not compared with it",
    "mask_found": "body found on CT without a given mask",
    "network_unavailable": "body found by the classical search, because the body network is not available",
    "reference_weak": "few unfractured neighbours to compare with",
    "methods_disagree": "methods differ by a grade or more",
    "nan_voxels": "the volume had voxels without a value",
    "not_measurable": "the body could not be measured",
    "implausible_heights": "heights do not fit any vertebra of this spine",
    "reader_points": "points moved by a reader",
    "short_endplates_flat": "short, endplates flat",
    "hu_clipped": "voxel values outside the CT range were clipped",
}
"""Every flag and what it means for a reader."""

CUT = "cut_by_volume_edge"
FOCAL = "focal_endplate_defect"
_BLOCKING: dict[str, str] = {
    "far_off_curve": "centroid far off the spine's curve",
    CUT: "cut by the edge of the volume",
    "implausible_heights": "heights do not fit any vertebra of this spine",
}
"""Flags that keep a vertebra from being assessed, and why."""

EARLIER: dict[str, str] = {
    "disc_below_resolution": "slices too thick to find this body's edges; give a mask",
    "low_confidence_mask": "the body's edges were not found with confidence",
}
"""The same of earlier versions, whose intervals did not tell how uncertain edges were, so that flags had to."""


def obstacle(flags: Collection[str], earlier: bool = False) -> tuple[str, str] | None:
    """State and reason of a vertebra whose flags keep it from a grade; None where they do not.

    Args:
        flags: of the vertebra.
        earlier: whether a version raised them for which :data:`EARLIER` counted too.
    """
    blocking = {**_BLOCKING, **EARLIER} if earlier else _BLOCKING
    reason = next((why for flag, why in blocking.items() if flag in flags), "")
    if reason:
        return NOT_ASSESSED, reason
    return (TREATED, FLAG_TEXT["implant_or_cement"]) if "implant_or_cement" in flags else None
