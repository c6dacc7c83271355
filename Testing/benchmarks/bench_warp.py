"""Time of the warp on one core: solved at the knots of a slider, one step of it, a picture with checks, and in 3-D.

Beside it, in one run, a warped picture redrawn by the noise predictor (layout `small`), and a counterfactual of the
published layout (`paper128`, 350 steps, taken from measured ones); weights are random, time does not depend on them. On
an analytic spine of five vertebrae, 1 mm voxels; seconds are the processor's, the smallest of several.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from rendering.analytic import analytic_spine, box_spine_ct, grid_around, usual_heights

from VertebralGradingLib.counterfactual.case import warp_case
from VertebralGradingLib.counterfactual.live import KNOT_GRADES, LiveWarp
from VertebralGradingLib.counterfactual.request import Request
from VertebralGradingLib.counterfactual.warp import warped_volume
from VertebralGradingLib.methods.morphometric import judged
from VertebralGradingLib.segmentation.labels import interpret
from VertebralGradingLib.spine.reformation import patch_grid
from VertebralGradingLib.spine.spine import build_spine
from VertebralGradingLib.study import prepare

_LEVELS = ("T11", "T12", "L1", "L2", "L3")


def _seconds(what: Callable[[], object], repeats: int) -> float:
    found = []
    for _ in range(repeats):
        started = time.process_time()
        what()
        found.append(time.process_time() - started)
    return min(found)


def main() -> None:
    """Print the times."""
    heights = usual_heights(_LEVELS)
    heights[2] *= 1.0 - np.array([0.45, 0.25, 0.05])
    spine = analytic_spine(_LEVELS, heights)
    phantom = box_spine_ct(spine, *grid_around(spine, (1.0, 1.0, 1.0), margin_mm=40.0), noise_hu=8.0)
    labels = interpret(phantom.labels, "verse")
    study = judged(prepare(phantom.ct, build_spine(phantom.points), labels))
    grid = patch_grid(study.spine, study.spine.by_level["L1"])
    case = warp_case(study, "L1")
    warps = [case.warper.solve(Request(grade)) for grade in KNOT_GRADES]
    live = LiveWarp.of(KNOT_GRADES, warps)
    grades = iter(np.linspace(0.0, 3.0, 1000))
    rows = {
        "a vertebra made ready, seam included": _seconds(lambda: warp_case(study, "L1"), 3),
        "solved at one grade": _seconds(lambda: case.warper.solve(Request(1.0, "crush")), 3),
        f"solved at the {len(KNOT_GRADES)} knots of a slider": _seconds(
            lambda: [case.warper.solve(Request(grade)) for grade in KNOT_GRADES], 1
        ),
        "a step of the slider, 128 x 128": _seconds(lambda: live.frame(phantom.ct, float(next(grades)), grid), 30),
        "a picture with its checks and tone": _seconds(lambda: case.shown(warps[0], grid), 5),
        "the CT itself, 3-D": _seconds(lambda: warped_volume(phantom.ct, warps[0].field), 2),
    }
    rows |= _networks()
    for name, seconds in rows.items():
        print(f"{name:45s} {1000 * seconds:8.1f} ms")
    paper = rows[_PAPER]
    for name in ("a step of the slider, 128 x 128", _REDRAWN, "the CT itself, 3-D"):
        print(f"{_PAPER} / {name}: {paper / rows[name]:.0f}x")
    print(f"arrays of the slider: {sum(a.nbytes for a in live.to_arrays().values()) / 1e6:.1f} MB")


_REDRAWN, _PAPER = "a warped picture redrawn, 4 draws of one step", "a counterfactual of paper128, 350 steps"


def _networks() -> dict[str, float]:
    import torch

    from VertebralGradingLib.diffusion_autoencoder.network import DiffusionAutoencoder
    from VertebralGradingLib.diffusion_autoencoder.refine import RefineConfig, one_go, shown_of
    from VertebralGradingLib.diffusion_autoencoder.sampler import PRESETS
    from VertebralGradingLib.training.autoencoder import configured

    torch.set_num_threads(1)
    small, paper = (configured(name).network for name in ("small", "paper128"))
    small = replace(small, warped=1)
    found = {}
    with torch.inference_mode():
        model = DiffusionAutoencoder(small).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        warped, body = torch.zeros(1, 1, 128, 128), torch.zeros(1, 1, 128, 128)
        z = torch.zeros(1, small.latent)
        found[_REDRAWN] = _seconds(lambda: one_go(model.denoiser, shown_of(warped, body, small), z, RefineConfig()), 5)
        model = DiffusionAutoencoder(paper).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x, at, z = torch.zeros(1, 1, paper.size, paper.size), torch.zeros(1), torch.zeros(1, paper.latent)
        steps = PRESETS["paper"].encode_steps + PRESETS["paper"].decode_steps
        found[_PAPER] = _seconds(lambda: model.encoder(x), 2) + steps * _seconds(lambda: model.denoiser(x, at, z), 2)
    return found


if __name__ == "__main__":
    main()
