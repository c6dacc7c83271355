"""Commands for those who train and evaluate: ``phantom``, ``train``, ``evaluate``. They need the extra ``train``."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import Progress

from VertebralGradingLib.cli.console import BAR, ERR, OUT
from VertebralGradingLib.cli.drawing import By
from VertebralGradingLib.errors import InputError, MethodError, OutputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from VertebralGradingLib.evaluation.warp_runs import Methods
    from VertebralGradingLib.healthivert.rhlv import View
    from VertebralGradingLib.training.runs import RunOptions

train = typer.Typer(help="Train learned methods.", no_args_is_help=True)
evaluate = typer.Typer(help="Print the tables by which methods are judged.", no_args_is_help=True)

_Run = Annotated[Path, typer.Option("--out", help="Folder of the run; an unfinished one is gone on with.")]
_Device = Annotated[str, typer.Option("--device", help="cpu, cuda.")]
_Renderers = Annotated[int, typer.Option("--workers", min=1, help="Processes that render phantoms.")]
_Minutes = Annotated[float | None, typer.Option("--minutes", help="Stop training after so long.")]


@contextlib.contextmanager
def _needing(message: str) -> Iterator[None]:
    """Turn a library that is not installed into a typed error, while it is imported."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MethodError(message, "Install the package with its extra: train.") from error


def phantom(
    out: Annotated[Path, typer.Option("--out", help="Folder for the data set.")],
    n: Annotated[int, typer.Option("--n", min=0, help="Number of subjects; 0 for all of a published preset.")] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Fixes the data set.")] = 0,
    preset: Annotated[
        str, typer.Option("--preset", help="uniform, hard, grading-loss-1283, or verse19-1460.")
    ] = "uniform",
    reader_noise: Annotated[
        bool | None,
        typer.Option("--reader-noise/--no-reader-noise", help="Grades as a reader with errors gives them."),
    ] = None,
    images: Annotated[bool, typer.Option("--images/--no-images", help="Render CTs and masks.")] = True,
    device: Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda.")] = "cpu",
) -> None:
    """Write synthetic spine CTs with known heights and grades as VerSe-style folders."""
    with _needing("Phantoms need torch."):
        from VertebralGradingLib.phantom.command import describe_counts, write_dataset
    with Progress(*BAR, console=ERR, transient=True) as bar:
        task = bar.add_task("drawing", total=None)

        def progress(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, description=name)

        rows = write_dataset(out, n, seed, preset, reader_noise, images, device, progress)
    OUT.print(f"{len({row[0] for row in rows})} subjects, {len(rows)} vertebrae written to {escape(str(out))}")
    for line in describe_counts(rows, preset):
        OUT.print(line)


@contextlib.contextmanager
def _training(
    out: Path, device: str, workers: int, minutes: float | None, samples: Path | None, data: Path | None
) -> Iterator[RunOptions]:
    """What a run is started with, a bar that follows it, and where its results are."""
    from VertebralGradingLib.training.runs import RunOptions

    with Progress(*BAR, console=ERR, transient=True) as bar:
        task = bar.add_task("preparing", total=None)

        def progress(what: str, done: int, total: int, row: dict[str, float]) -> None:
            loss = f" loss {row['loss']:.4f}" if row else ""
            bar.update(task, completed=done, total=total, description=what + loss)

        limit = None if minutes is None else 60.0 * minutes
        yield RunOptions(out, device, workers, limit, samples, data, progress)
    OUT.print(f"Weights, curve and pictures are in {escape(str(out))}")


@train.command("segmentation")
def train_segmentation(
    out: _Run,
    config: Annotated[str, typer.Option("--config", help="default (accelerator), small (two cores), tiny.")] = "small",
    phantom: Annotated[str, typer.Option("--phantom", help="Preset of the phantoms it is trained on.")] = "uniform",
    data: Annotated[Path | None, typer.Option("--data", help="VerSe-style folder to train on instead.")] = None,
    device: _Device = "cpu",
    workers: _Renderers = 1,
    minutes: _Minutes = None,
    blocks: Annotated[Path | None, typer.Option("--blocks", help="Folder of rendered blocks, to share.")] = None,
) -> None:
    """Train the body network; weights are left in OUT/average.safetensors, pictures in OUT/samples."""
    with _needing("Training needs torch."):
        from VertebralGradingLib.training import segmentation
    with _training(out, device, workers, minutes, blocks, data) as options:
        segmentation.train_segmentation(segmentation.configured(config, phantom), options)


@train.command("dae")
def train_dae(
    out: _Run,
    config: Annotated[
        str, typer.Option("--config", help="paper128, default (accelerator), small (two cores), tiny, or a JSON file.")
    ] = "small",
    phantom: Annotated[str, typer.Option("--phantom", help="Preset of the phantoms: uniform, hard.")] = "uniform",
    data: Annotated[Path | None, typer.Option("--data", help="VerSe-style folder of CTs to train on instead.")] = None,
    device: _Device = "cpu",
    workers: _Renderers = 1,
    minutes: _Minutes = None,
    start: Annotated[Path | None, typer.Option("--start", help="Folder of a run to begin with the weights of.")] = None,
    patches: Annotated[Path | None, typer.Option("--patches", help="Folder of rendered patches, to share.")] = None,
) -> None:
    """Train the diffusion autoencoder; weights are left in OUT/average.safetensors."""
    with _needing("Training needs torch."):
        from VertebralGradingLib.training import autoencoder
    with _training(out, device, workers, minutes, patches, data) as options:
        autoencoder.train_autoencoder(autoencoder.configured(config, preset=phantom), options, start)


@train.command("healthivert")
def train_healthivert(
    out: _Run,
    config: Annotated[
        str, typer.Option("--config", help="paper256, default (accelerator), small (two cores), tiny, or a JSON file.")
    ] = "small",
    view: Annotated[str, typer.Option("--view", help="sagittal, coronal.")] = "sagittal",
    device: _Device = "cpu",
    workers: _Renderers = 1,
    minutes: _Minutes = None,
    slices: Annotated[Path | None, typer.Option("--slices", help="Folder of rendered slices, to share.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="VerSe-style folder with grades to train on instead.")
    ] = None,
) -> None:
    """Train the generators of HealthiVert-GAN for one view; weights are left in OUT/generator.safetensors."""
    with _needing("Training needs torch."):
        from VertebralGradingLib.training import healthivert
    with _training(out, device, workers, minutes, slices, data) as options:
        healthivert.train_healthivert(healthivert.configured(config, view), options)


@train.command("counterfactual")
def train_counterfactual(
    out: _Run,
    stage: Annotated[str, typer.Option("--stage", help="head, refine, measured (after refine), flow.")] = "refine",
    device: _Device = "cpu",
    workers: _Renderers = 1,
    minutes: _Minutes = None,
    start: Annotated[Path | None, typer.Option("--start", help="Of measured: folder of the run of refine.")] = None,
    reader: Annotated[
        Path | None, typer.Option("--reader", help="Of measured: weights of the body network that measures.")
    ] = None,
    pairs: Annotated[Path | None, typer.Option("--pairs", help="Folder of rendered pairs, to share.")] = None,
) -> None:
    """Train what a warp leaves, beginning with the installed autoencoder, whose encoder stays as it is."""
    with _needing("Training needs torch."):
        from VertebralGradingLib.training import warped
    with _training(out, device, workers, minutes, pairs, None) as options:
        warped.train_warped(warped.configured(stage, warped.installed_network()), options, start, reader)


@contextlib.contextmanager
def _following(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar."""
    with Progress(*BAR, console=ERR, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        OUT.print(escape(line), soft_wrap=True)


@evaluate.command("dae")
def evaluate_dae(
    data: Annotated[Path, typer.Option("--data", help="VerSe-style folder with grades.")],
    run: Annotated[
        Path | None, typer.Option("--run", help="Folder of a training run; the installed model where missing.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for t-SNE and curves.")] = None,
    tune: Annotated[bool, typer.Option("--tune/--no-tune", help="Also fine-tune the encoder with labels.")] = True,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Fixes folds and bootstrap samples.")] = 0,
) -> None:
    """Fit the latent grader on the train split, grade the test split, and print the paper's table beside it."""
    with _needing("Evaluation needs torch and scikit-learn."):
        from VertebralGradingLib.diffusion_autoencoder.inference import PatchEncoder
        from VertebralGradingLib.diffusion_autoencoder.method import loaded
        from VertebralGradingLib.evaluation import latent, latent_pictures
        from VertebralGradingLib.training.finetune import fine_tune
    encoder = loaded()[0] if run is None else PatchEncoder.of_run(run)
    with _following("reading") as progress:
        splits = latent.collect(data, progress)
    if "train" not in splits or "test" not in splits:
        raise InputError("The data folder has no train and test split.", "Give splits.csv with subject,split.")
    train, test = (latent.encoded(splits[name], encoder.encode) for name in ("train", "test"))
    tuned = None
    if tune:
        ERR.print("fine-tuning the encoder")
        tuned = latent.Tuned(
            *fine_tune(encoder.encoder, splits["train"].images, train.data.grade)(splits["test"].images)
        )
    lines, grader = latent.describe(train, test, seed, tuned=tuned, labelled=encoder.labelled)
    _print(lines)
    if out is not None:
        latent_pictures.draw(train, test, grader, out, run)


@evaluate.command("healthivert")
def evaluate_healthivert(
    preset: Annotated[str, typer.Option("--preset", help="Synthetic data set to judge on.")] = "verse19-1460",
    n: Annotated[int, typer.Option("--n", min=0, help="Number of subjects; 0 for all of a published preset.")] = 0,
    every: Annotated[int, typer.Option("--every", min=1, help="Take one in so many subjects, for a quick look.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Fixes subjects, folds and bootstrap samples.")] = 0,
    sagittal: Annotated[Path | None, typer.Option("--sagittal", help="Training run; else the installed model.")] = None,
    coronal: Annotated[Path | None, typer.Option("--coronal", help="Training run of the coronal view.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for losses.csv.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that draw and judge.")] = 1,
) -> None:
    """Compare lost heights with the truth, grade by them as published and honestly, and compare what was drawn."""
    with _needing("Evaluation needs torch, MONAI and scikit-learn."):
        from VertebralGradingLib.evaluation import height_loss, height_tables
    runs: dict[View, Path] = {}
    runs |= {"sagittal": sagittal} if sagittal is not None else {}
    runs |= {"coronal": coronal} if coronal is not None else {}
    load = functools.partial(height_loss.of_runs, runs) if runs else height_loss.installed
    with _following("judging") as progress:
        rows = height_loss.evaluate_presets(load, preset, n, seed, every, workers, progress)
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            height_tables.write_rows(rows, out / "losses.csv")
        except OSError as error:
            raise OutputError("The losses cannot be written.", "Check free space and permissions.") from error
    _print(height_tables.describe(rows, seed))


@evaluate.command("counterfactuals")
def evaluate_counterfactuals(
    vertebrae: Annotated[int, typer.Option("--vertebrae", min=1, help="Synthetic vertebrae to change.")] = 40,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the vertebrae.")] = 9000,
    preset: Annotated[str, typer.Option("--preset", help="paper, fine or live.")] = "fine",
    project: Annotated[
        bool, typer.Option("--project/--no-project", help="Leave out directions that follow the level.")
    ] = True,
    by: Annotated[By, typer.Option("--by", help="What draws: dae (the autoencoder and others), warp.")] = By.dae,
    learned: Annotated[
        bool, typer.Option("--learned/--no-learned", help="Of warp: networks beside it, read by the body network.")
    ] = False,
    refine: Annotated[
        Path | None, typer.Option("--refine", help="Training run of a noise predictor that is shown the warp.")
    ] = None,
    head: Annotated[Path | None, typer.Option("--head", help="Training run of a warp head.")] = None,
    flow: Annotated[Path | None, typer.Option("--flow", help="Training run of a flow on latents.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Of warp: processes that judge.")] = 1,
    rows: Annotated[
        Path | None, typer.Option("--rows", help="Of warp: CSV of all rows; an unfinished one is gone on with.")
    ] = None,
) -> None:
    """Compare counterfactuals with true images of the same synthetic vertebra at the wanted grade."""
    if by is By.warp:
        with _needing("Evaluation needs torch and MONAI."):
            from VertebralGradingLib.evaluation.warp_runs import Methods
        networks = learned or any(run is not None for run in (refine, head, flow))
        _evaluate_warp(vertebrae, seed, Methods(networks, refine, head, flow, preset), workers, rows)
        return
    if learned or workers > 1 or any(one is not None for one in (refine, head, flow, rows)):
        raise typer.BadParameter("--learned, --refine, --head, --flow, --workers and --rows belong to --by warp")
    with _needing("Evaluation needs torch and MONAI."):
        from VertebralGradingLib.diffusion_autoencoder.method import loaded
        from VertebralGradingLib.evaluation import counterfactuals
        from VertebralGradingLib.evaluation.likeness import pseudo_healthy_patch
        from VertebralGradingLib.healthivert.method import loaded as healthivert
    system = loaded()[0]
    others: dict[str, Callable[[counterfactuals.Case], NDArray[np.floating]]] = {}
    try:
        generators = healthivert()[0].views["sagittal"]
    except MethodError as error:
        ERR.print(f"without HealthiVert-GAN: {escape(error.message)}")
    else:
        others["HealthiVert-GAN"] = lambda c: pseudo_healthy_patch(generators, c.image, c.mask, c.position)
    gallery, found = counterfactuals.draw_gallery(system), list[counterfactuals.Row]()
    with _following("drawing") as progress:
        for done, cases in enumerate(counterfactuals.draw_cases(vertebrae, seed)):
            found += counterfactuals.judge(system, cases, gallery, preset, project, others)
            progress(done + 1, vertebrae)
    _print(counterfactuals.describe(found))


def _evaluate_warp(vertebrae: int, seed: int, methods: Methods, workers: int, rows_file: Path | None) -> None:
    with _needing("Evaluation needs torch and MONAI."):
        from VertebralGradingLib.evaluation import warp_runs, warp_table
    with _following("warping") as progress:
        rows = warp_runs.compare(vertebrae, seed, methods, workers, progress, rows_file)
    _print(warp_table.describe(rows))


@evaluate.command("segmentation")
def evaluate_segmentation(
    spines: Annotated[int, typer.Option("--spines", min=1, help="Synthetic spines to grade.")] = 40,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the first spine.")] = 5000,
    search: Annotated[
        list[str] | None,
        typer.Option("--search", help="true mask, classical, network (when installed); may be repeated."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="VerSe-style folder with body masks, instead of phantoms.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that draw and grade phantoms.")] = 1,
    slice_mm: Annotated[
        list[float] | None,
        typer.Option("--slice-mm", min=0.3, max=10.0, help="Thickness of slices, several in turn; may be repeated."),
    ] = None,
) -> None:
    """Grade spines with bodies found on CT beside those of true masks: heights, grades, abstention, intervals."""
    with _needing("Evaluation needs torch."):
        import torch  # noqa: F401 - phantoms are drawn with it

        from VertebralGradingLib.evaluation import bodies, body_tables
    with _following("grading") as progress:
        chosen = bodies.usable(search)
        rows = (
            bodies.evaluate_bodies(
                spines, seed, chosen, progress=progress, workers=workers, slices_mm=slice_mm or bodies.SLICES_MM
            )
            if data is None
            else bodies.evaluate_folder(data, chosen, progress=progress)
        )
    _print(body_tables.describe(rows))
