"""Relative height loss on real data: every vertebra against neighbours and against HealthiVert-GAN, and maps of all.

The data folder is $VERTEBRAL_GRADING_DATA, or ../shared/data beside the checkout; a development set. verse004 and
healthivert-0007 have masks only: their CTs are rendered from them, and their own masks are used. verse004 has expert
grades. T11 of totalseg-aorta has a giant Schmorl node; in the other CTs nobody has seen a fracture.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from body_mask_table import DATA, REAL, RENDERED

from VertebralGradingLib import pipeline
from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.findings import Finding
from VertebralGradingLib.image.io import read_labels, read_volume
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.report.height_loss import height_loss_png, height_loss_sentence
from VertebralGradingLib.segmentation.labels import VertebraLabels, interpret
from VertebralGradingLib.spine.points import read_points
from VertebralGradingLib.spine.spine import Spine, build_spine
from VertebralGradingLib.study import Study

EXPERTS = {"verse004 rendered": {"T9": 2, "T10": 2, "T11": 0, "T12": 0, "L1": 3, "L2": 0, "L3": 0}}
MAPS = {
    "verse004 rendered": ("T9", "T10", "T11", "T12", "L1", "L2", "L3"),
    "healthivert-0007 rendered": ("T11", "T12", "L1", "L2", "L3", "L4", "L5"),
    "totalseg-aorta": ("T11",),
    "totalseg-example": ("L1", "L3"),
}
METHODS = ("morphometry", "neighbours", "healthivert")


def main() -> None:
    """Print losses by thirds and grades; write the maps where a folder is given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--maps", type=Path, help="folder for pictures")
    parser.add_argument("--found", action="store_true", help="find the rendered bodies instead of using masks")
    args = parser.parse_args()
    if not DATA.is_dir():
        print("no data folder: set VERTEBRAL_GRADING_DATA")
        return
    sound: dict[str, list[list[float]]] = {"neighbours": [], "healthivert": []}
    for name, ct, spine, mask in _cases(args.found):
        studies: list[Study] = []
        report = pipeline.grade(ct, spine, mask, METHODS, on_study=studies.append, bodies_by="network")
        print(f"{name}: grade by morphometry, neighbours, HealthiVert-GAN; loss ant/mid/post in % by the last two")
        for finding in report.findings:
            expert = EXPERTS.get(name, {}).get(finding.level)
            print(f"  {finding.level:4s}{'' if expert is None else f' expert {expert}':10s} {_told(finding)}")
            for method, losses in sound.items():
                said = finding.evidence_of(method)
                if said is not None and finding.grade == 0 and expert in (None, 0):
                    losses.append([*said.quantities["relative_height_loss"].values()])
        for level in MAPS.get(name, ()) if args.maps else ():
            _draw(args.maps, name, studies[0], level)
    for method, losses in sound.items():
        values = np.array(losses)
        mean = ", ".join(f"{v:+.3f}" for v in values.mean(0))
        print(f"{method}: {len(values)} vertebrae of grade 0 (morphometry), mean loss {mean}, "
              f"root mean square {np.sqrt(np.square(values).mean(0)).round(3).tolist()}")  # fmt: skip


def _told(finding: Finding) -> str:
    cells = []
    for method in METHODS:
        said = finding.evidence_of(method)
        cells.append("-" if said is None or said.grade is None else str(said.grade))
    for method in METHODS[1:]:
        said = finding.evidence_of(method)
        values = {} if said is None else said.quantities["relative_height_loss"]
        cells.append("/".join(f"{100 * value:.0f}" for value in values.values()) or "-")
    return " ".join(f"{cell:>12s}" if "/" in cell else f"{cell:>2s}" for cell in cells) + (
        f"   ({finding.reason})" if finding.reason else ""
    )


def _draw(folder: Path, name: str, study: Study, level: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for method in METHODS:  # morphometry's is the map by the warp
        try:
            answer: dict[str, Any] = pipeline.explain(
                study.ct, study.spine, level=level, kind="height_loss_map", method=method, study=study
            )
        except VertebralGradingError as error:
            print(f"  {level}, {method}: {error.message}")
            continue
        (folder / f"{name.replace(' ', '-')}-{level}-{method}.png").write_bytes(height_loss_png(answer, level))
        print(f"  {level}: {height_loss_sentence(answer)}")


def _cases(found: bool) -> list[tuple[str, Volume, Spine, VertebraLabels | None]]:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from rendering.mask_ct import ct_from_mask

    out: list[tuple[str, Volume, Spine, VertebraLabels | None]] = [
        (ct.split("/")[0], read_volume(DATA / ct), build_spine(read_points(DATA / points)), None) for ct, points in REAL
    ]
    for name, file, points in RENDERED:
        mask = interpret(read_labels(DATA / file))
        out.append((name, ct_from_mask(mask.volume), build_spine(read_points(DATA / points)), None if found else mask))
    return out


if __name__ == "__main__":
    main()
