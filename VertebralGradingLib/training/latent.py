"""Fits the latent grader: standardiser, hyperplane, calibrations, direct classifier, intervals. Uses scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.diffusion_autoencoder.latent import CALIBRATIONS, TOP, Array, Calibration, LatentGrader
from VertebralGradingLib.errors import InputError

Classifier = Literal["svm", "linear"]
_POINTS = 129
_STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_FOLDS = 5
_LEAST_GRADE_STEP = 1e-4
_COVER = 0.90
_FEW = 8
"""Fewer scores than this in a group share the width of all."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Latents with what is known of them.

    Attributes:
        z: (N, L).
        grade: (N,) 0..3.
        subject: (N,) names.
        position: (N,) on the axis of levels.
    """

    z: Array
    grade: NDArray[np.int64]
    subject: Sequence[str]
    position: Array

    def part(self, chosen: NDArray[Any]) -> Labelled:
        """Some of them, by index or by mask."""
        index = np.arange(len(self.z))[chosen]
        names = [self.subject[k] for k in index]
        return Labelled(self.z[index], self.grade[index], names, self.position[index])


def fit_grader(
    data: Labelled,
    classifier: Classifier = "svm",
    calibration: str = "poly3",
    draws: int = 100,
    seed: int = 0,
    strength: float | None = None,
    first: bool = False,
) -> LatentGrader:
    """Fit everything on training subjects.

    Args:
        data: of the training subjects; grade 1 is left out of the hyperplane, as published.
        classifier: "svm" (linear) or "linear" (logistic regression).
        calibration: the one that grades.
        draws: bootstrap samples of subjects.
        seed: fixes folds and samples.
        strength: C of the classifier; chosen by grouped cross-validation where None.
        first: whether the first number of a latent alone says how fractured a vertebra is, and latents are moved along
            it, as encoders trained with labels put it there.

    Raises:
        InputError: one class is missing.
    """
    mean, scale = data.z.mean(0), data.z.std(0).clip(1e-6)
    whole = Labelled((data.z - mean) / scale, data.grade, data.subject, data.position)
    flat = replace(whole, z=whole.z * np.eye(len(mean))[0]) if first else whole
    strength = chosen_strength(flat, classifier, seed) if strength is None else strength
    normal, offset = hyperplane(flat, classifier, strength)
    distance = flat.z @ normal + offset
    fitted = {kind: fit_calibration(distance, data.grade, kind) for kind in CALIBRATIONS}
    main = fitted.pop(calibration)
    classes, weights, biases = direct_classifier(flat, classifier, strength)
    boots = _bootstrap(flat, classifier, strength, calibration, draws, seed)
    held = held_out_scores(flat, classifier, strength, calibration, seed)
    return LatentGrader(
        mean,
        scale,
        normal,
        offset,
        Calibration(calibration, main.distance, main.grade, main.fallback),
        {kind: Calibration(kind, one.distance, one.grade, one.fallback) for kind, one in fitted.items()},
        classes,
        weights,
        biases,
        *boots,
        conformal_widths(held, data.grade),
        level_directions(whole),
        np.eye(len(normal))[0] if first else normal,
    )


def hyperplane(flat: Labelled, classifier: Classifier, strength: float) -> tuple[Array, float]:
    """Unit normal towards fractured and signed distance of the origin, between grade 0 and grades 2 and 3.

    Raises:
        InputError: one class is missing.
    """
    used = flat.grade != 1
    fractured = flat.grade[used] >= 2
    if fractured.all() or not fractured.any():
        raise InputError("There are no healthy or no fractured vertebrae to learn from.", "Add labelled subjects.")
    model = _model(classifier, strength)
    model.fit(flat.z[used], fractured)
    length = float(np.linalg.norm(model.coef_[0]))
    return model.coef_[0] / length, float(model.intercept_[0]) / length


def chosen_strength(flat: Labelled, classifier: Classifier, seed: int = 0) -> float:
    """C with the largest area under the curve over subjects held out."""
    from sklearn.metrics import roc_auc_score

    used = flat.part(flat.grade != 1)
    truth = used.grade >= 2
    best, found = -1.0, _STRENGTHS[0]
    for strength in _STRENGTHS:
        score = np.zeros(len(truth))
        for inside, outside in _folds(used, seed):
            normal, offset = hyperplane(used.part(inside), classifier, strength)
            score[outside] = used.z[outside] @ normal + offset
        area = float(roc_auc_score(truth, score))
        if area > best + 1e-4:
            best, found = area, strength
    return found


def fit_calibration(distance: Array, grade: NDArray[np.int64], kind: str) -> Calibration:
    """Grade as a function of distance, each grade weighing the same.

    ``means`` is the line through the mean distances of grades 0 and 3 (of the highest grade, where there is no 3). A
    polynomial that turns over between the least and the largest distance gives way to ``isotonic``.

    Args:
        distance: (N,).
        grade: (N,); grade 1 is left out, as published.
        kind: one of :data:`latent.CALIBRATIONS`.

    Raises:
        InputError: fewer than two grades, or the highest one does not lie beyond grade 0.
        ValueError: another kind.
    """
    if kind not in CALIBRATIONS:
        raise ValueError(f"kind must be one of {', '.join(CALIBRATIONS)}")
    used = grade != 1
    distance, grade = distance[used], grade[used]
    present = np.unique(grade)
    if len(present) < 2:
        raise InputError("A calibration needs two grades at least.", "Add labelled subjects.")
    first, last = (float(distance[grade == g].mean()) for g in (present[0], present[-1]))
    if last <= first:
        raise InputError("Fractured vertebrae do not lie beyond healthy ones.", "Train the encoder for longer.")
    if kind == "means":
        return Calibration(kind, np.array([first, last]), present[[0, -1]].astype(float))
    weight = np.zeros(len(grade))
    for g in present:
        weight[grade == g] = 1.0 / float((grade == g).sum())
    if kind == "isotonic":
        return _isotonic(distance, grade, weight)
    degree = min(int(kind[-1]), len(np.unique(distance)) - 1)
    fit = np.polynomial.Polynomial.fit(distance, grade.astype(float), degree, w=np.sqrt(weight))
    at = np.linspace(distance.min(), distance.max(), _POINTS)
    values = fit(at)
    if (np.diff(values) <= 0).any():
        other = _isotonic(distance, grade, weight)
        return Calibration("isotonic", other.distance, other.grade, f"{kind} turns over")
    return Calibration(kind, at, values)


def _isotonic(distance: Array, grade: NDArray[np.int64], weight: Array) -> Calibration:
    """Isotonic regression through the middles of its steps, made to rise everywhere."""
    from sklearn.isotonic import IsotonicRegression

    value = IsotonicRegression().fit(distance, grade.astype(float), sample_weight=weight).predict(distance)
    order = np.argsort(distance)
    distance, value = distance[order], value[order]
    value = np.round(value, 6)
    steps = np.unique(value)
    middles = np.array([distance[value == step].mean() for step in steps])
    if len(steps) < 2:
        raise InputError("Fractured vertebrae do not lie beyond healthy ones.", "Train the encoder for longer.")
    rising = steps + _LEAST_GRADE_STEP * np.arange(len(steps))
    return Calibration("isotonic", middles, rising)


def direct_classifier(
    flat: Labelled, classifier: Classifier, strength: float
) -> tuple[NDArray[np.int64], Array, Array]:
    """A hyperplane for each grade that is there, against all others: grades (C,), weights (C, L), biases (C,)."""
    classes = np.unique(flat.grade)
    weights, biases = [], []
    for grade in classes:
        model = _model(classifier, strength)
        model.fit(flat.z, flat.grade == grade)
        weights.append(model.coef_[0])
        biases.append(float(model.intercept_[0]))
    return classes, np.array(weights), np.array(biases)


def held_out_scores(flat: Labelled, classifier: Classifier, strength: float, calibration: str, seed: int = 0) -> Array:
    """Scores (N,) of every vertebra by a hyperplane and a calibration that never saw its subject.

    Standardisation and the classifier's strength come from all of them.
    """
    score = np.zeros(len(flat.grade))
    for inside, outside in _folds(flat, seed):
        part = flat.part(inside)
        normal, offset = hyperplane(part, classifier, strength)
        line = fit_calibration(part.z @ normal + offset, part.grade, calibration)
        score[outside] = line.grades(flat.z[outside] @ normal + offset)
    return score


def conformal_widths(score: Array, grade: NDArray[np.int64]) -> Array:
    """(3,) half widths that hold 90 % of grades, for scores below 0.5, to 1.5, and above."""
    error = np.abs(score - grade)

    def width(values: Array) -> float:
        rank = min(int(np.ceil(_COVER * (len(values) + 1))), len(values))
        return float(np.sort(values)[rank - 1])

    group = np.digitize(score, [0.5, 1.5])
    return np.array([width(error[group == g] if (group == g).sum() >= _FEW else error) for g in range(3)])


def level_directions(flat: Labelled) -> Array:
    """(N, L) orthonormal directions in which latents of whole vertebrae follow the level and its square.

    Least squares of the latents on the level: the rows of the answer are where the mean latent goes.
    """
    healthy = flat.grade == 0
    position = flat.position[healthy]
    spread = float(position.std())
    if healthy.sum() < _FEW or spread < 1e-6:
        return np.zeros((0, flat.z.shape[1]))
    at = (position - position.mean()) / spread
    design = np.column_stack([np.ones_like(at), at, at**2])
    answer, *_ = np.linalg.lstsq(design, flat.z[healthy], rcond=None)
    basis, _ = np.linalg.qr(answer[1:].T)
    return np.ascontiguousarray(basis.T)


def _bootstrap(
    flat: Labelled, classifier: Classifier, strength: float, calibration: str, draws: int, seed: int
) -> tuple[Array, Array, Array, Array]:
    """Hyperplanes and calibrations of subjects drawn with replacement; samples with one class alone are drawn again."""
    rng = np.random.default_rng([seed, 5])
    names, place = np.unique(np.asarray(flat.subject), return_inverse=True)
    members = [np.flatnonzero(place == k) for k in range(len(names))]
    normals: list[Array] = []
    offsets: list[float] = []
    lines: list[Calibration] = []
    for _ in range(20 * draws):
        if len(lines) == draws:
            break
        chosen = np.concatenate([members[k] for k in rng.integers(len(names), size=len(names))])
        part = flat.part(chosen)
        try:
            normal, offset = hyperplane(part, classifier, strength)
            line = fit_calibration(part.z @ normal + offset, part.grade, calibration)
        except InputError:
            continue
        normals.append(normal)
        offsets.append(offset)
        lines.append(line)
    if len(lines) < draws:
        raise InputError("There are too few labelled subjects for intervals.", "Add labelled subjects.")
    grid = np.linspace(0.0, 1.0, _POINTS)
    at = np.array([line.distance[0] + grid * (line.distance[-1] - line.distance[0]) for line in lines])
    value = np.array([np.interp(d, line.distance, line.grade) for d, line in zip(at, lines, strict=True)])
    return np.array(normals), np.array(offsets), at, np.maximum(value, -TOP)


def _model(classifier: Classifier, strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    if classifier == "svm":
        return LinearSVC(C=strength, class_weight="balanced", max_iter=20000, random_state=0)
    return LogisticRegression(C=strength, class_weight="balanced", max_iter=5000)


def _folds(flat: Labelled, seed: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Indices of training and held-out vertebrae, by subject, with both classes in every part where possible."""
    from sklearn.model_selection import StratifiedGroupKFold

    groups = np.unique(np.asarray(flat.subject), return_inverse=True)[1]
    count = min(_FOLDS, int(groups.max()) + 1)
    if count < 2:
        raise InputError("There is one labelled subject only.", "Add labelled subjects.")
    splits = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    return [(inside, outside) for inside, outside in splits.split(flat.z, flat.grade >= 2, groups)]
