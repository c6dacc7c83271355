"""Which endplate is depressed and by how much, as it stands in morphometry's evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from VertebralGradingLib.findings import Finding

ENDPLATES = ("superior", "inferior")


def compared_endplates(finding: Finding) -> dict[str, dict[str, Any]]:
    """Both endplates with ``depth_mm``, ``usual_mm``, ``excess_mm``, ``depressed``; empty where they are not known."""
    said = finding.evidence_of("morphometry")
    plates = {} if said is None else said.quantities.get("endplates") or {}
    return plates if all("depressed" in plates.get(name, ()) for name in ENDPLATES) else {}


def depressed(finding: Finding) -> tuple[str, ...]:
    """Names of the endplates that lie deeper below their rim than is usual."""
    plates = compared_endplates(finding)
    return tuple(name for name in plates if plates[name]["depressed"])


def endplates_flat(finding: Finding) -> bool:
    """Whether both endplates were measured and neither is deeper than usual."""
    return bool(compared_endplates(finding)) and not depressed(finding)


def depression_text(finding: Finding) -> str:
    """What is depressed: "superior endplate depressed by 6 mm (usual 1 mm)"; empty where nothing is.

    An undecided vertebra's focal defect is told by its reason, and is no depression of the whole endplate.
    """
    plates = compared_endplates(finding) if finding.gradable else {}
    return ", ".join(
        f"{name} endplate depressed by {plate['depth_mm']:.0f} mm (usual {plate['usual_mm']:.0f} mm)"
        for name, plate in plates.items()
        if plate["depressed"]
    )
