"""Blocks and patches from real CTs: VerSe-style folders."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from VertebralGradingLib.errors import InputError, MaskError
from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.phantom.folders import VerseCase, read_folder
from VertebralGradingLib.segmentation import find_body, mask_label
from VertebralGradingLib.segmentation.labels import VertebraLabels, interpret
from VertebralGradingLib.spine.reformation import PATCH_SIZE, rigid_grid
from VertebralGradingLib.spine.spine import Spine, Vertebra, build_spine
from VertebralGradingLib.training.blocks import CLASSES, BlockPlan
from VertebralGradingLib.training.patches import PatchPlan
from VertebralGradingLib.training.shards import Filled, cut_shards

_VERSION = 1
"""Of how blocks are cut."""
_CLICK_SD_MM = 2.0
_REPEATS = 3
"""Blocks and patches of each vertebra, each from another place."""
_PARASAGITTAL_MM = 5.0
"""How far patches lie beside the middle (sheet 1, section 2)."""


def fill_from_folder(data: str | Path, folder: Path, plan: BlockPlan, progress: Filled | None = None) -> None:
    """Cut blocks out of every case that has CT, mask and centroids and belongs to no test split; a shard for each.

    Bodies come from body masks where there are any, else from whole-vertebra masks without their arches (those of
    neighbours stay). Discs are not marked, and nothing is learned about them. Shards that are there already stay.

    Raises:
        InputError: no case can be used, or the folder holds blocks of something else.
    """
    cases = [case for case in read_folder(data) if case.ct and case.mask and case.centroids and case.split != "test"]
    if not cases:
        raise InputError("The data folder has no case with CT, mask and centroids.", "Check the folder.")
    note = {"version": _VERSION, "source": digest(cases), "edge": plan.edge, "seed": plan.seed}
    cut_shards(folder, note, cases, functools.partial(_blocks, plan), progress)


def patches_from_folder(data: str | Path, folder: Path, plan: PatchPlan, progress: Filled | None = None) -> None:
    """Cut sagittal patches out of every case that has CT and centroids and belongs to no test split; a shard for each.

    They are unlabelled: grades that the folder may have are not read, and ``graded_loss`` is NaN. Shards that are there
    already stay.

    Raises:
        InputError: no case can be used, or the folder holds patches of something else.
    """
    cases = [case for case in read_folder(data) if case.ct and case.centroids and case.split != "test"]
    if not cases:
        raise InputError("The data folder has no case with CT and centroids.", "Check the folder.")
    note = {"kind": "patches", "version": _VERSION, "source": digest(cases), "seed": plan.seed}
    cut_shards(folder, note, cases, functools.partial(_patches, plan), progress)


def _patches(plan: PatchPlan, number: int, case: VerseCase) -> dict[str, Tensor]:
    """The patches of one case."""
    ct, spine = case.load_ct(), build_spine(case.load_points())
    images: list[NDArray[np.int16]] = []
    positions: list[float] = []
    for vertebra in spine.vertebrae:
        if not vertebra.gradable_level or not bool(ct.contains(vertebra.center)):
            continue
        rng = np.random.default_rng([plan.seed, number, len(positions)])
        axes = spine.axes(vertebra)
        for _ in range(_REPEATS):
            aside = axes[:, 0] * rng.uniform(-_PARASAGITTAL_MM, _PARASAGITTAL_MM)
            grid = rigid_grid(vertebra.center + aside, axes, (PATCH_SIZE, PATCH_SIZE, 1), 1.0)
            images.append(sample(ct, grid.points())[..., 0].round().clip(-1024, 3071).astype(np.int16))
            positions.append(vertebra.axis_position)
    if not images:
        return {}
    unknown = torch.full((len(images),), torch.nan)
    tensors = {"image": torch.from_numpy(np.stack(images)), "graded_loss": unknown}
    return {**tensors, "position": torch.tensor(positions, dtype=torch.float32)}


def digest(cases: Sequence[VerseCase]) -> str:
    """What tells one set of cases from another: a checksum of their names and sizes on disk."""
    parts = []
    for case in cases:
        sizes = [path.stat().st_size for path in (case.ct, case.mask, case.body_mask, case.centroids) if path]
        parts.append(f"{case.subject} {sizes}")
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()


def _blocks(plan: BlockPlan, number: int, case: VerseCase) -> dict[str, Tensor]:
    """The blocks of one case."""
    ct = case.load_ct()
    whole = interpret(case.load_mask(), "verse")
    labels = interpret(case.load_mask(body=True), "verse") if case.body_mask else whole
    spine = build_spine(case.load_points())
    parts: dict[str, list[NDArray[np.generic]]] = {"image": [], "share": [], "kind": []}
    for vertebra in spine.vertebrae:
        label = mask_label(whole, vertebra)
        if label is None or not vertebra.gradable_level:
            continue
        for repeat in range(_REPEATS):
            rng = np.random.default_rng([plan.seed, number, label, repeat])
            block = _block(ct, whole, labels, spine, vertebra, label, plan.edge, rng)
            if block is not None:
                for name, value in block.items():
                    parts[name].append(value)
    if not parts["image"]:
        return {}
    return {name: torch.from_numpy(np.stack(values)) for name, values in parts.items()}


def _block(
    ct: Volume,
    whole: VertebraLabels,
    labels: VertebraLabels,
    spine: Spine,
    vertebra: Vertebra,
    label: int,
    edge: int,
    rng: np.random.Generator,
) -> dict[str, NDArray[np.generic]] | None:
    """One block around a scattered centroid, as :mod:`blocks` stores them; None where the mask shows no body."""
    try:
        body, _ = find_body(None, spine, vertebra, labels)
    except MaskError:
        return None
    axes = spine.axes(vertebra)
    points = rigid_grid(vertebra.center + axes @ rng.normal(0, _CLICK_SD_MM, 3), axes, (edge,) * 3, 1.0).points()
    affine = body.grid.affine
    assert affine is not None  # body blocks are rigid
    share = sample(Volume(body.occupancy, affine), points, fill=0.0)
    numbers = sample(whole.volume, points, order=0, fill=0)
    kind = np.full(share.shape, CLASSES.index("soft"), dtype=np.uint8)
    others = numbers if labels is whole else sample(labels.volume, points, order=0, fill=0)
    kind[(others > 0) & (others != label)] = CLASSES.index("neighbour")
    kind[numbers == label] = CLASSES.index("vertebra")
    unseen = ~ct.contains(points)
    kind[unseen] = CLASSES.index("unseen")
    share[unseen] = 0.0
    return {
        "image": sample(ct, points).round().clip(-1024, 3071).astype(np.int16),
        "share": (255 * share).round().astype(np.uint8),
        "kind": kind,
    }
