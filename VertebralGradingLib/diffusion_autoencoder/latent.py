"""Grades from latents: a hyperplane between healthy and fractured, and what distance from it means. numpy alone.

Distances are signed, divided by the length of the normal, in standardised latents, everywhere (sheet 1, section 6).
A calibration is kept as a rising broken line, whatever it was fitted as, so that it can be inverted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CALIBRATIONS = ("means", "poly1", "poly2", "poly3", "isotonic")
TOP = 3.0
"""The highest grade."""
_LEAST_HALF = 0.25


@dataclass(frozen=True, eq=False)
class Calibration:
    """From distance to grade and back.

    Attributes:
        kind: one of :data:`CALIBRATIONS`.
        distance: (K,) rising.
        grade: (K,) rising, not cut to 0..3; the line goes on beyond both ends.
        fallback: why another kind stands here than was asked for, such as "poly3 turns over"; empty when none does.
    """

    kind: str
    distance: Array
    grade: Array
    fallback: str = ""

    def __post_init__(self) -> None:
        """Check that the line rises.

        Raises:
            ValueError: it does not.
        """
        if len(self.distance) < 2 or len(self.distance) != len(self.grade):
            raise ValueError("a calibration needs two points at least")
        if not (np.diff(self.distance) > 0).all() or not (np.diff(self.grade) > 0).all():
            raise ValueError("a calibration must rise")

    def grades(self, distance: Any) -> Array:
        """Grades 0..3, continuous, of distances of any shape."""
        return np.clip(_along(np.asarray(distance, dtype=float), self.distance, self.grade), 0.0, TOP)

    def distances(self, grade: Any) -> Array:
        """Distances at which grades lie."""
        return _along(np.asarray(grade, dtype=float), self.grade, self.distance)


@dataclass(frozen=True, eq=False)
class LatentGrader:
    """What was fitted to latents.

    Attributes:
        mean, scale: (L,) of the training latents.
        normal: (L,) unit vector towards fractured, in standardised latents.
        offset: signed distance of the mean from the hyperplane.
        calibration: the one that grades.
        others: further calibrations by kind, for tables.
        classes: (C,) grades of the direct classifier, with ``weights`` (C, L) and ``biases`` (C,): largest score wins.
        weights, biases: see there.
        boot_normals: (B, L) and ``boot_offsets`` (B,): the hyperplane of subjects drawn with replacement, each with
            ``boot_distance`` (B, K) and ``boot_grade`` (B, K), its calibration.
        boot_offsets, boot_distance, boot_grade: see there.
        conformal: (3,) half widths of 90 % intervals for scores below 0.5, to 1.5, and above.
        nuisance: (N, L) orthonormal directions, in standardised latents, in which latents follow the level.
        way: (L,) unit vector, in standardised latents, along which latents are moved: the normal, or the first axis
            where the encoder was trained to put the score there.
    """

    mean: Array
    scale: Array
    normal: Array
    offset: float
    calibration: Calibration
    others: dict[str, Calibration]
    classes: NDArray[np.int64]
    weights: Array
    biases: Array
    boot_normals: Array
    boot_offsets: Array
    boot_distance: Array
    boot_grade: Array
    conformal: Array
    nuisance: Array
    way: Array

    def standardised(self, z: Any) -> Array:
        """(..., L) latents -> standardised."""
        return (np.asarray(z, dtype=float) - self.mean) / self.scale

    def distance(self, z: Any) -> Array:
        """(..., L) latents -> (...) signed distance, positive for fractured."""
        out: Array = self.standardised(z) @ self.normal + self.offset
        return out

    def score(self, z: Any) -> Array:
        """(..., L) latents -> (...) grade 0..3, continuous."""
        return self.calibration.grades(self.distance(z))

    def direct(self, z: Any) -> NDArray[np.int64]:
        """(..., L) latents -> (...) grade by the direct classifier."""
        return self.classes[np.argmax(self.standardised(z) @ self.weights.T + self.biases, axis=-1)]

    def spread(self, z: Any) -> Array:
        """(N, L) latents -> (N, 2) 5th and 95th percentile of the score over subjects drawn with replacement."""
        flat = np.atleast_2d(self.standardised(z))
        distance = flat @ self.boot_normals.T + self.boot_offsets
        grades = np.empty_like(distance)
        for b in range(distance.shape[1]):
            grades[:, b] = np.clip(_along(distance[:, b], self.boot_distance[b], self.boot_grade[b]), 0.0, TOP)
        return np.quantile(grades, [0.05, 0.95], axis=1).T

    def interval(self, z: Any) -> Array:
        """(N, L) latents -> (N, 2) 90 % interval of the score: conformal, and no narrower than :meth:`spread`.

        Nor narrower than a quarter of a grade on either side: where nearly all are whole, conformal widths are 0.
        """
        score = np.atleast_1d(self.score(np.atleast_2d(z)))
        half = np.maximum(self.conformal[np.digitize(score, [0.5, 1.5])], _LEAST_HALF)
        spread = self.spread(z)
        low, high = np.minimum(score - half, spread[:, 0]), np.maximum(score + half, spread[:, 1])
        return np.clip(np.column_stack([low, high]), 0.0, TOP)

    def moved(self, z: Any, grade: float, project: bool = True) -> Array:
        """(L,) latent moved along :attr:`way` until its score is ``grade``.

        Args:
            z: the latent.
            grade: wanted, 0..3, continuous.
            project: whether the move leaves out the directions in which latents follow the level
                (:attr:`nuisance`); it is then longer.
        """
        z = np.asarray(z, dtype=float)
        way = self.direction(project)
        step = (float(self.calibration.distances(grade)) - float(self.distance(z))) / float(way @ self.normal)
        return z + self.scale * step * way

    def other_side(self, z: Any) -> float:
        """Score as far on the other side of the hyperplane as a latent (L,) lies on its own."""
        return float(self.calibration.grades(-self.distance(z)))

    def direction(self, project: bool = True) -> Array:
        """(L,) unit vector, in standardised latents, along which latents are moved."""
        way = self.way
        if project and len(self.nuisance):
            way = way - self.nuisance.T @ (self.nuisance @ way)
        return way / np.linalg.norm(way)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """For safetensors."""
        names = ("mean", "scale", "normal", "classes", "weights", "biases", "boot_normals", "boot_offsets",
                 "boot_distance", "boot_grade", "conformal", "nuisance", "way")  # fmt: skip
        out = {name: np.asarray(getattr(self, name)) for name in names}
        out["offset"] = np.array([self.offset])
        for one in (self.calibration, *self.others.values()):
            note = f"|{one.fallback}" if one.fallback else ""
            out[f"calibration.{one.kind}{note}"] = np.stack([one.distance, one.grade])
        return out

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], kind: str) -> LatentGrader:
        """From safetensors.

        Args:
            arrays: as :meth:`to_arrays` gives them.
            kind: of the calibration that grades.

        Raises:
            ValueError: they do not belong together.
        """
        try:
            prefix = "calibration."
            known = {}
            for name, value in arrays.items():
                if name.startswith(prefix):
                    form, _, why = name.removeprefix(prefix).partition("|")
                    distance, grade = np.asarray(value, dtype=float)
                    known[form] = Calibration(form, distance, grade, why)
            values = {
                name: np.asarray(value, dtype=float)
                for name, value in arrays.items()
                if name not in ("classes", "offset") and not name.startswith(prefix)
            }
            offset, classes = float(arrays["offset"][0]), np.asarray(arrays["classes"], dtype=np.int64)
            grader = cls(
                offset=offset,
                classes=classes,
                calibration=known.pop(kind),
                others=known,
                **values,
            )
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError("the arrays of the latent grader do not belong together") from error
        length = len(grader.mean)
        draws, points = grader.boot_distance.shape if grader.boot_distance.ndim == 2 else (-1, -1)
        shapes = {
            "scale": (length,),
            "normal": (length,),
            "weights": (len(classes), length),
            "biases": (len(classes),),
            "conformal": (3,),
            "boot_normals": (draws, length),
            "boot_offsets": (draws,),
            "boot_grade": (draws, points),
            "nuisance": (len(grader.nuisance), length),
            "way": (length,),
        }
        if any(getattr(grader, name).shape != shape for name, shape in shapes.items()):
            raise ValueError("the arrays of the latent grader do not belong together")
        return grader


def rounded(score: Any, allowed: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Classes of continuous grades: round half up, or the nearest of ``allowed`` grades (ties upwards)."""
    values = np.clip(np.asarray(score, dtype=float), 0.0, TOP)
    if allowed is None:
        return np.floor(values + 0.5).astype(np.int64)
    allowed = np.sort(np.asarray(allowed, dtype=np.int64))
    cuts = (allowed[1:] + allowed[:-1]) / 2.0
    return allowed[np.searchsorted(cuts, values, side="right")]


def _along(x: Array, from_: Array, to: Array) -> Array:
    """A broken line that goes on with the slope from its first to its last point: its ends may be all but flat."""
    y = np.interp(x, from_, to)
    slope = (to[-1] - to[0]) / (from_[-1] - from_[0])
    y = np.where(x < from_[0], to[0] + (x - from_[0]) * slope, y)
    return np.where(x > from_[-1], to[-1] + (x - from_[-1]) * slope, y)
