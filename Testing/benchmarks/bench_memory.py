"""Peak memory of grading a large CT, as a share of what is allowed, and where the time of a real CT goes.

Allowed: 2.5 times the CT's bytes plus 300 MB. The grading runs in a process of its own, whose peak is read.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from _common import DATA

SHAPE = (512, 512, 400)
COUNT = 17


def main() -> None:
    """Print both."""
    with tempfile.TemporaryDirectory() as folder:
        _write_case(Path(folder))
        code = "import sys; from VertebralGradingLib.files import grade_files; grade_files(sys.argv[1], sys.argv[2])"
        arguments = [str(Path(folder) / "ct.nii.gz"), str(Path(folder) / "points.mrk.json")]
        subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    size = int(np.prod(SHAPE)) * 2
    allowed = 2.5 * size + 300e6
    print(
        f"CT {size / 1e6:.0f} MB; peak {peak / 1e6:.0f} MB; allowed {allowed / 1e6:.0f} MB; ratio {peak / allowed:.2f}"
    )
    _break_down()


def _write_case(folder: Path) -> None:
    from VertebralGradingLib.image.io import write_volume
    from VertebralGradingLib.image.volume import Volume
    from VertebralGradingLib.spine.points import Point, write_markups

    rng = np.random.default_rng(0)
    slab = rng.normal(40.0, 20.0, (*SHAPE[:2], 8)).astype(np.int16)
    slab[::7, ::5] = -110
    array = np.tile(slab, (1, 1, SHAPE[2] // 8))
    affine = np.diag([0.8, 0.8, 1.2, 1.0])
    write_volume(Volume(array, affine), folder / "ct.nii.gz")
    center = (np.array(SHAPE[:2]) - 1) / 2 * 0.8
    heights = np.linspace(440.0, 40.0, COUNT)
    write_markups([Point((float(center[0]), float(center[1]), float(z))) for z in heights], folder / "points.mrk.json")


def _break_down() -> None:
    case = DATA / "lidc-0314"
    if not case.is_dir():
        print("no data folder: set VERTEBRAL_GRADING_DATA for the times of a real CT")
        return
    from VertebralGradingLib.files import grade_files

    with tempfile.TemporaryDirectory() as folder:
        report = grade_files(
            case / "LIDC-IDRI-0314_spine_crop_ct.nii.gz", case / "LIDC-IDRI-0314_bodies.mrk.json", out_dir=folder
        )
    times = report.provenance["times_s"]
    total = sum(times.values())
    parts = ", ".join(f"{name[:-2]} {value:.2f} s ({100 * value / total:.0f} %)" for name, value in times.items())
    print(f"lidc-0314, {len(report.findings)} vertebrae from points: {parts}")


if __name__ == "__main__":
    main()
