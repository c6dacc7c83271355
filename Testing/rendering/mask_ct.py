"""A plausible CT rendered from a real vertebra mask, for cases whose own CT is not public.

Shapes are the mask's; grey values, blur and noise are assumed. Such a CT shows whether bodies of real shape are found
in an image; it is no evidence about real grey values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects, gaussian_filter, zoom

from VertebralGradingLib.image.volume import Volume

AIR, FAT, SOFT, DISC, TRABECULAR, CORTEX = -1000.0, -90.0, 40.0, 80.0, 140.0, 430.0
"""Assumed HU of what is drawn."""


def ct_from_mask(
    labels: Volume, seed: int = 0, noise_hu: float = 15.0, psf_mm: float = 0.6, cortex_mm: float = 1.0
) -> Volume:
    """Render a CT in which the labelled vertebrae are bone.

    Args:
        labels: one number per whole vertebra, cranio-caudal neighbours having neighbouring numbers.
        seed: of texture and noise.
        noise_hu: standard deviation of the noise.
        psf_mm: standard deviation of the blur.
        cortex_mm: thickness of the dense shell.

    Returns:
        int16 HU on the mask's grid, or on one of at most 1 mm over the same box when the mask is coarser.
    """
    labels = fine_labels(labels)
    rng = np.random.default_rng(seed)
    spacing, shape = labels.spacing, labels.shape
    centers = _body_centers(labels)
    image = _surroundings(labels, centers, rng)
    bone, depth = labels.array > 0, distance_transform_edt(labels.array > 0, sampling=spacing)
    disc = _discs(labels, centers)
    image[disc] = DISC
    texture = _texture(shape, 1.2 / spacing, rng) * 25.0 + _texture(shape, 5.0 / spacing, rng) * 12.0
    shell = 1.0 / (1.0 + np.exp((depth - 0.5 - cortex_mm) / 0.25))  # the distance of the outermost voxels is one voxel
    core = TRABECULAR + texture
    image[bone] = (core + shell * (CORTEX - core))[bone]
    image = gaussian_filter(image, psf_mm / spacing)
    image += noise_hu * _texture(shape, 0.5 / spacing, rng)
    return Volume(np.rint(np.clip(image, -1024, 3071)).astype(np.int16), labels.affine)


def fine_labels(labels: Volume, finest_mm: float = 1.0) -> Volume:
    """The same labels on voxels of at most about ``finest_mm``, by linear interpolation of signed distances."""
    factors = np.maximum(np.ceil(labels.spacing / finest_mm - 0.1), 1.0).astype(int)
    if factors.max() == 1:
        return labels
    out = np.zeros(np.array(labels.shape) * factors, dtype=labels.array.dtype)
    nearest = np.full(out.shape, 0.0, dtype=np.float32)
    for number, box in _boxes(labels, margin=3):
        part = labels.array[box] == number
        signed = distance_transform_edt(part, sampling=labels.spacing)
        signed -= distance_transform_edt(~part, sampling=labels.spacing)
        fine = zoom(signed, factors, order=1, mode="nearest", grid_mode=True)
        place = tuple(slice(s.start * f, s.stop * f) for s, f in zip(box, factors, strict=True))
        better = fine > nearest[place]
        out[place][better] = number
        nearest[place][better] = fine[better]
    affine = labels.affine.copy()
    affine[:3, :3] = labels.affine[:3, :3] / factors
    affine[:3, 3] = labels.to_ras((1.0 / factors - 1.0) / 2.0)
    return Volume(out, affine)


def _boxes(labels: Volume, margin: int) -> list[tuple[int, tuple[slice, ...]]]:
    """Each number present and its bounding box, widened by ``margin`` voxels."""
    return [
        (
            number,
            tuple(
                slice(max(s.start - margin, 0), min(s.stop + margin, n)) for s, n in zip(box, labels.shape, strict=True)
            ),
        )
        for number, box in enumerate(find_objects(labels.array), start=1)
        if box is not None
    ]


def _body_centers(labels: Volume) -> dict[int, NDArray[np.float64]]:
    """Rough body centre (RAS mm) of each vertebra: where its mask is most massive."""
    centers = {}
    for number, box in _boxes(labels, margin=2):
        mass = gaussian_filter((labels.array[box] == number).astype(np.float32), 6.0 / labels.spacing)
        peak = np.unravel_index(mass.argmax(), mass.shape)
        centers[number] = labels.to_ras(np.array([p + s.start for p, s in zip(peak, box, strict=True)]))
    return centers


def _discs(labels: Volume, centers: dict[int, NDArray[np.float64]]) -> NDArray[np.bool_]:
    """What lies between two neighbouring bodies: near both, and near the line that joins their centres."""
    out = np.zeros(labels.shape, dtype=bool)
    boxes = dict(_boxes(labels, margin=10))
    for upper, lower in zip(sorted(centers), sorted(centers)[1:], strict=False):
        box = tuple(
            slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(boxes[upper], boxes[lower], strict=True)
        )
        part = labels.array[box]
        if min(part.shape) == 0:
            continue
        reach = sum(distance_transform_edt(part != number, sampling=labels.spacing) for number in (upper, lower))
        index = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"), -1)
        along = centers[lower] - centers[upper]
        length = float(np.linalg.norm(along))
        rest = labels.to_ras(index) - (centers[lower] + centers[upper]) / 2
        aside = np.linalg.norm(rest - (rest @ along)[..., None] / length**2 * along, axis=-1)
        out[box] |= (part == 0) & (reach < 0.6 * length) & (aside < 0.62 * length)
    return out


def _surroundings(
    labels: Volume, centers: dict[int, NDArray[np.float64]], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Soft tissue with streaks of fat in a body-shaped ellipse around the spine, a fat layer below the skin, air."""
    index = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float32) for n in labels.shape], indexing="ij"), -1)
    world = index @ labels.affine[:3, :3].T.astype(np.float32) + labels.affine[:3, 3].astype(np.float32)
    spine = np.array(sorted(centers.values(), key=lambda center: center[2]))
    middle = [np.interp(world[..., 2], spine[:, 2], spine[:, axis]) for axis in range(2)]
    aside, ahead = world[..., 0] - middle[0], world[..., 1] - middle[1] - 45.0
    radius = np.hypot(aside / 165.0, ahead / 115.0)
    streaks = _texture(labels.shape, 6.0 / labels.spacing, rng)
    fat = (streaks > 1.0) | (radius > 0.88)
    image = np.where(fat, FAT, SOFT + 8.0 * _texture(labels.shape, 3.0 / labels.spacing, rng))
    return np.where(radius > 1.0, AIR, image).astype(np.float32)


def _texture(shape: tuple[int, int, int], sigma: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth random field of mean 0 and standard deviation 1."""
    field = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
    return (field - field.mean()) / field.std()
