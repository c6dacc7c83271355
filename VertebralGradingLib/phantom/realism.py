"""How far phantoms are from real CT, measured on sagittal patches: tissues, noise, edges, and a two-sample classifier.

Patches are (R, C) HU at 1 mm around a body's middle, rows caudal, columns posterior. Real ones are cut from CTs with
:func:`real_patches`. A classifier's AUC of 0.5 means that nothing tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralGradingLib.image.sampling import sample
from VertebralGradingLib.image.volume import Volume
from VertebralGradingLib.spine.reformation import rigid_grid
from VertebralGradingLib.spine.spine import Spine

Patch = NDArray[np.float32]
EDGE = 96
"""Edge of the patches that are compared (mm)."""
_OUTSIDE_HU = -1000.0
_BANDS = 8


def real_patches(ct: Volume, spine: Spine, each: int, seed: int) -> list[Patch]:
    """Patches around every vertebra of a CT, scattered like clicks, none of which leaves the volume by much.

    Args:
        ct: HU.
        spine: its centroids.
        each: patches per vertebra.
        seed: fixes the scatter.
    """
    rng = np.random.default_rng([seed, 81])
    out = []
    for vertebra in spine.vertebrae:
        axes = spine.axes(vertebra)
        for _ in range(each):
            center = vertebra.center + axes @ rng.normal(0, 2.2, 3)
            grid = rigid_grid(center, axes, (EDGE, EDGE, 1), 1.0)
            out.append(sample(ct, grid.points())[..., 0].astype(np.float32))
    return out


def tissues(patch: Patch) -> dict[str, float]:
    """HU of what can be found without a mask: bone core, rim, soft tissue, fat, and the noise in soft tissue."""
    middle = patch.shape[0] // 2
    core = patch[middle - 6 : middle + 7, middle - 6 : middle + 7]
    soft, fat = patch[(patch > 0) & (patch < 100)], patch[(patch > -160) & (patch < -50)]
    return {
        "core mean": float(core.mean()),
        "core sd": float(core.std()),
        "bone 99 %": float(np.percentile(patch[patch > _OUTSIDE_HU], 99)),
        "soft median": float(np.median(soft)) if len(soft) else np.nan,
        "fat median": float(np.median(fat)) if len(fat) else np.nan,
        "noise sd": noise_sd(patch),
        "edge width mm": edge_width(patch),
    }


def noise_sd(patch: Patch) -> float:
    """Standard deviation in the quietest tenth of 7 mm windows that hold soft tissue (HU)."""
    windows = np.lib.stride_tricks.sliding_window_view(patch, (7, 7))[::3, ::3]
    mean, sd = windows.mean((2, 3)), windows.std((2, 3))
    soft = sd[(mean > 0) & (mean < 110)]
    return float(np.percentile(soft, 10)) if soft.size else np.nan


def edge_width(patch: Patch) -> float:
    """Width (mm) of the front wall of the body: step over steepest slope, median over 9 rows around the middle."""
    middle = patch.shape[0] // 2
    widths = []
    for row in patch[middle - 4 : middle + 5]:
        front = row[middle - 26 : middle - 3]
        peak = int(np.argmax(front))
        outer = front[max(peak - 7, 0) : peak + 1]
        if len(outer) > 3 and front[peak] - outer.min() > 80:
            widths.append(float((outer.max() - outer.min()) / np.abs(np.diff(outer)).max()))
    return float(np.median(widths)) if widths else np.nan


def noise_power(patches: Sequence[Patch]) -> NDArray[np.float64]:
    """(8,) share of noise power by frequency (0 to 0.5 per mm) in quiet soft tissue, mean over patches."""
    total = []
    for patch in patches:
        windows = np.lib.stride_tricks.sliding_window_view(patch, (16, 16))[::6, ::6].reshape(-1, 16, 16)
        sd, mean = windows.std((1, 2)), windows.mean((1, 2))
        chosen = windows[(mean > 0) & (mean < 110)]
        if not len(chosen):
            continue
        quiet = chosen[np.argsort(sd[(mean > 0) & (mean < 110)])[:2]]
        quiet = quiet - quiet.mean((1, 2), keepdims=True)
        power = (np.abs(np.fft.fft2(quiet * np.hanning(16)[:, None] * np.hanning(16))) ** 2).mean(0)
        f = np.abs(np.fft.fftfreq(16))
        band = np.minimum((np.hypot(f[:, None], f) * 2 * _BANDS).astype(int), _BANDS - 1)
        curve = np.array([power[band == k].mean() for k in range(_BANDS)])
        total.append(curve / curve.sum())
    return np.asarray(np.mean(total, axis=0), dtype=np.float64)


def features(patch: Patch) -> dict[str, float]:
    """Numbers that a classifier may tell real and synthetic by; what lies outside the scan is left out."""
    inside = patch > _OUTSIDE_HU
    values = patch[inside]
    out = tissues(patch)
    edges = np.array([-1000, -700, -300, -130, -100, -70, -30, 0, 20, 40, 60, 80, 110, 150, 200, 300, 450, 700, 3100])
    shares = np.histogram(values, edges)[0] / max(values.size, 1)
    out |= {f"share {a}..{b}": float(s) for a, b, s in zip(edges, edges[1:], shares, strict=False)}
    both = inside[1:, 1:] & inside[:-1, 1:] & inside[1:, :-1]
    down, along = np.diff(patch, axis=0)[:, 1:][both], np.diff(patch, axis=1)[1:][both]
    steep = np.hypot(down, along)
    out |= {f"gradient {q} %": float(np.percentile(steep, q)) for q in (10, 25, 50, 75, 90, 97)}
    out["gradient down/along"] = float(np.abs(down).mean() / max(np.abs(along).mean(), 1e-6))
    curved = np.abs(patch[2:] - 2 * patch[1:-1] + patch[:-2])[inside[2:] & inside[:-2]]
    out |= {f"curvature {q} %": float(np.percentile(curved, q)) for q in (25, 50, 75, 95)}
    middle = patch.shape[0] // 2
    core = patch[middle - 7 : middle + 8, middle - 9 : middle + 10]
    rest = core - core.mean()
    power = max(float((rest**2).mean()), 1e-6)
    out["core lag 1 down"] = float((rest[1:] * rest[:-1]).mean() / power)
    out["core lag 1 along"] = float((rest[:, 1:] * rest[:, :-1]).mean() / power)
    out["core lag 3 down"] = float((rest[3:] * rest[:-3]).mean() / power)
    for name, part in (("front", slice(0, middle - 22)), ("back", slice(middle + 28, None))):
        seen = patch[:, part][inside[:, part]]
        out[f"{name} sd"] = float(seen.std()) if seen.size else np.nan
        out[f"{name} median"] = float(np.median(seen)) if seen.size else np.nan
    return {name: value if np.isfinite(value) else 0.0 for name, value in out.items()}


def coverage(
    real: Sequence[Patch], scans: Sequence[str], made: Sequence[Patch], tail: float = 5.0
) -> tuple[float, list[tuple[str, str, float]]]:
    """Whether phantoms reach as far as real scans do: medians of every feature of every scan among the phantoms.

    Args:
        real: real patches.
        scans: the scan of each.
        made: synthetic patches.
        tail: percentiles of the phantoms below ``tail`` and above 100 - ``tail`` count as not reached.

    Returns:
        Share of medians that are reached, and those that are not: feature, scan, percentile among the phantoms.
    """
    mine = [features(patch) for patch in made]
    theirs = [features(patch) for patch in real]
    missed, count = [], 0
    for name in mine[0]:
        values = np.array([row[name] for row in mine])
        for scan in sorted(set(scans)):
            median = np.median([row[name] for row, which in zip(theirs, scans, strict=True) if which == scan])
            place = 50.0 * float(np.mean(values < median) + np.mean(values <= median))
            count += 1
            if not tail <= place <= 100.0 - tail:
                missed.append((name, scan, place))
    return 1.0 - len(missed) / count, missed


def two_sample(
    real: Sequence[Patch], scans: Sequence[str], made: Sequence[Patch], seed: int = 0
) -> tuple[float, dict[str, float], list[tuple[str, float]]]:
    """Train a random forest to tell real from synthetic, leaving out one real scan at a time.

    Args:
        real: real patches.
        scans: the scan of each.
        made: synthetic patches, split in as many parts as there are scans.
        seed: of the forest.

    Returns:
        AUC over all left-out patches, AUC of each left-out scan and (as "seen scans") of patches left out at random,
        and the ten features used most.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    names = sorted(set(scans))
    rows = [features(patch) for patch in (*real, *made)]
    columns = list(rows[0])
    x = np.array([[row[name] for name in columns] for row in rows])
    y = np.array([1] * len(real) + [0] * len(made))
    part = np.array([names.index(scan) for scan in scans] + [k % len(names) for k in range(len(made))])
    score = np.zeros(len(y))
    weight = np.zeros(len(columns))
    each = {}
    for k, name in enumerate(names):
        forest: Any = RandomForestClassifier(
            300, min_samples_leaf=3, class_weight="balanced", random_state=seed, n_jobs=1
        )
        forest.fit(x[part != k], y[part != k])
        score[part == k] = forest.predict_proba(x[part == k])[:, 1]
        weight += forest.feature_importances_ / len(names)
        each[name] = float(roc_auc_score(y[part == k], score[part == k]))
    mixed = np.random.default_rng(seed).integers(5, size=len(y))
    seen = np.zeros(len(y))
    for k in range(5):
        forest = RandomForestClassifier(300, min_samples_leaf=3, class_weight="balanced", random_state=seed, n_jobs=1)
        forest.fit(x[mixed != k], y[mixed != k])
        seen[mixed == k] = forest.predict_proba(x[mixed == k])[:, 1]
    each["seen scans"] = float(roc_auc_score(y, seen))
    best = sorted(zip(columns, weight.tolist(), strict=True), key=lambda pair: -pair[1])[:10]
    return float(roc_auc_score(y, score)), each, best
