"""Pictures of a latent space: t-SNE by level and by grade, ROC, calibration, and the curve of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from VertebralGradingLib.diffusion_autoencoder.latent import LatentGrader
from VertebralGradingLib.errors import OutputError
from VertebralGradingLib.evaluation.latent import Graded

_GRADE_COLORS = ("#2c7bb6", "#fdae61", "#f46d43", "#a50026")
_MOST = 2500
"""Points of a t-SNE."""


def draw(train: Graded, test: Graded, grader: LatentGrader, out: str | Path, run: Path | None = None) -> list[Path]:
    """Write ``tsne.png`` and ``curves.png``.

    Args:
        train: what was fitted to.
        test: what was graded.
        grader: as fitted.
        out: folder, made when missing.
        run: of training; its curve is drawn too.

    Raises:
        OutputError: nothing can be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    paths = [Path(out) / "tsne.png", Path(out) / "curves.png"]
    figures = [_scatter(train, test, grader), _curves(test, grader, run)]
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
        for figure, path in zip(figures, paths, strict=True):
            figure.savefig(path, dpi=110)
    except OSError as error:
        raise OutputError("The pictures cannot be written.", "Check free space and permissions.") from error
    return paths


def _scatter(train: Graded, test: Graded, grader: LatentGrader) -> Any:
    from matplotlib.figure import Figure
    from sklearn.manifold import TSNE

    z = grader.standardised(np.concatenate([train.data.z, test.data.z]))
    chosen = np.random.default_rng(0).permutation(len(z))[:_MOST]
    z = z[chosen]
    grade = np.concatenate([train.data.grade, test.data.grade])[chosen]
    position = np.concatenate([train.data.position, test.data.position])[chosen]
    place = TSNE(2, random_state=42, perplexity=min(30.0, (len(z) - 1) / 3)).fit_transform(z)
    figure = Figure(figsize=(13, 6), layout="constrained")
    left, right = figure.subplots(1, 2)
    seen = left.scatter(*place.T, c=position, cmap="viridis", s=9)
    bar = figure.colorbar(seen, ax=left, ticks=[1, 6, 12, 13, 17])
    bar.ax.set_yticklabels(["T1", "T6", "T12", "L1", "L5"])
    left.set_title("t-SNE of the latents, by level")
    for value in np.unique(grade):
        here = grade == value
        right.scatter(*place[here].T, c=_GRADE_COLORS[value], s=7 if value == 0 else 16, label=f"grade {value}")
    right.legend()
    right.set_title("by grade")
    for axes in (left, right):
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def _curves(test: Graded, grader: LatentGrader, run: Path | None) -> Any:
    from matplotlib.figure import Figure
    from sklearn.metrics import roc_curve

    table = None
    if run is not None and (run / "curve.csv").is_file():
        table = np.genfromtxt(run / "curve.csv", delimiter=",", names=True)
    figure = Figure(figsize=(11 if table is None else 16, 5), layout="constrained")
    roc, line, *more = figure.subplots(1, 2 if table is None else 3)
    truth, distance = test.data.grade, grader.distance(test.data.z)
    used = truth != 1
    for name, score, known in (
        ("what grades", distance, used),
        ("morphometry, true mask", test.beside, used & np.isfinite(test.beside)),
    ):
        if known.any() and len(np.unique(truth[known] >= 2)) == 2:
            false, true, _ = roc_curve(truth[known] >= 2, score[known])
            roc.plot(false, true, label=name)
    roc.set(xlabel="false positive share", ylabel="true positive share", title="grade 0 against 2 and 3")
    roc.legend(loc="lower right")
    rng = np.random.default_rng(0)
    line.scatter(distance, truth + rng.uniform(-0.12, 0.12, len(truth)), s=6, c="#888888")
    at = np.linspace(distance.min(), distance.max(), 200)
    for one in (grader.calibration, *grader.others.values()):
        line.plot(at, one.grades(at), label=one.kind + (f" ({one.fallback})" if one.fallback else ""))
    line.set(xlabel="signed distance", ylabel="grade", title="calibrations")
    line.legend(loc="upper left")
    for loss in more:
        assert table is not None  # it has a picture only then
        for name in ("loss", "early", "late"):
            if name in (table.dtype.names or ()):
                loss.semilogy(table["step"], table[name], label=name)
        loss.legend()
        loss.set(xlabel="step", ylabel="squared error of the noise", title="training")
    return figure
