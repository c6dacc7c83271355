"""Slices of sound vertebrae from VerSe-style folders, straightened along the spine as published, or flat."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from VertebralGradingLib.errors import InputError, MaskError
from VertebralGradingLib.healthivert.gap import slices_of
from VertebralGradingLib.healthivert.preparation import without_arch
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.phantom.folders import VerseCase, read_folder
from VertebralGradingLib.spine.anatomy import VERSE
from VertebralGradingLib.spine.reformation import straightened_block
from VertebralGradingLib.spine.spine import Spine, Vertebra, build_spine
from VertebralGradingLib.training.folders import digest
from VertebralGradingLib.training.shards import Filled, cut_shards
from VertebralGradingLib.training.slices import BROKEN, CENTRAL, LEAST_PIXELS, SOUND, VERSION, SlicePlan

_DEPTH_MM = 64
"""Width of a block (sheet 2, section 2)."""
_PER_VERTEBRA = 8
_SOUND_GRADE = 1
_LEFT_OUT = ("test", "val")
"""The published protocol scores on val."""
_LABELS = {level: label for label, level in VERSE.items()}


def slices_from_folder(data: str | Path, folder: Path, plan: SlicePlan, progress: Filled | None = None) -> None:
    """Cut slices out of every graded case that has CT, mask and centroids and belongs to train.

    Vertebrae of grade 0 and 1 are learned from, as they are; masks lose their arches. A shard for each case; those that
    are there already stay.

    Args:
        data: the folder.
        folder: where shards go.
        plan: view, frame, edge and seed of the slices.
        progress: called with (done, cases).

    Raises:
        InputError: no case can be used, or the folder holds something else.
    """
    cases = [c for c in read_folder(data) if c.ct and c.mask and c.centroids and c.grades and c.split not in _LEFT_OUT]
    if not cases:
        raise InputError(
            "The data folder has no case with CT, mask, centroids and grades.", "Check the folder and its grades.csv."
        )
    note = {"kind": "slices", "version": VERSION, "source": digest(cases), "view": plan.view, "frame": plan.frame,
            "edge": plan.edge, "seed": plan.seed}  # fmt: skip
    cut_shards(folder, note, cases, functools.partial(_slices, plan), progress)


def _slices(plan: SlicePlan, number: int, case: VerseCase) -> dict[str, Tensor]:
    """The slices of one case."""
    ct, spine = case.load_ct(), build_spine(case.load_points())
    whole = case.body_mask is None
    labels = case.load_mask(body=not whole)
    parts: list[dict[str, NDArray[Any]]] = []
    for vertebra in spine.vertebrae:
        if case.grades.get(vertebra.level, 9) <= _SOUND_GRADE and bool(ct.contains(vertebra.center)):
            rng = np.random.default_rng([plan.seed, number, len(parts)])
            parts += _slices_of(ct, labels, spine, vertebra, case.grades, whole, plan, rng)
    return {name: torch.from_numpy(np.stack([part[name] for part in parts])) for name in (parts[0] if parts else ())}


def _slices_of(
    ct: Volume,
    labels: Volume,
    spine: Spine,
    vertebra: Vertebra,
    grades: dict[str, int],
    whole: bool,
    plan: SlicePlan,
    rng: np.random.Generator,
) -> list[dict[str, NDArray[Any]]]:
    """Some slices of one vertebra, those in the middle more often; none where its mask is missing."""
    shape = (plan.edge, plan.edge, _DEPTH_MM if plan.view == "sagittal" else plan.edge)
    block = straightened_block(ct, spine, vertebra, shape, mode="curved" if plan.frame == "straight" else "plane")
    numbers = sample(labels, block.grid.points(), order=0, fill=0)
    image: NDArray[Any] = block.image.round().clip(-1024, 3071).astype(np.int16)
    kind: NDArray[Any] = np.zeros(numbers.shape, dtype=np.uint8)
    own = np.zeros(numbers.shape, dtype=bool)
    for level, grade in grades.items():
        body = numbers == _LABELS[level]
        body = without_arch(body) if whole else body
        if level == vertebra.level:
            own = body
        else:
            kind[body] = SOUND if grade <= _SOUND_GRADE else BROKEN
    if plan.view == "coronal":  # columns run to the left, slices backwards
        image, kind, own = (values.transpose(0, 2, 1) for values in (image, kind, own))
    try:
        usable = slices_of(own, CENTRAL)
    except MaskError:
        return []
    middle, half = (usable.start + usable.stop - 1) / 2, max(len(usable) / CENTRAL / 2, 1.0)
    weights = np.array([1.0 - abs(n - middle) / (half + 1.0) for n in usable])
    chosen = rng.choice(np.array(usable), min(_PER_VERTEBRA, len(usable)), replace=False, p=weights / weights.sum())
    out: list[dict[str, NDArray[Any]]] = []
    for n in map(int, chosen):
        body = own[:, :, n]
        if body.sum() < LEAST_PIXELS:
            continue
        seen: dict[str, NDArray[Any]] = {"image": image[:, :, n], "body": body.astype(np.uint8)}
        seen |= {"neighbours": kind[:, :, n], "healed": seen["image"], "healed_body": seen["body"]}
        seen["place"] = np.asarray(min(abs(n - middle) / half, 1.0), dtype=np.float32)
        seen["position"] = np.asarray(vertebra.axis_position, dtype=np.float32)
        out.append(seen)
    return out
