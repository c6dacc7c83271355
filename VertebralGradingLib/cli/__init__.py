"""The command line. Exit codes: 0 done, 2 wrong usage, 3 image, 4 centroids, 5 mask, 6 method, 7 output, 1 otherwise.

Heavy modules are imported inside the commands, so that ``info`` and ``--help`` answer at once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from VertebralGradingLib._version import __version__
from VertebralGradingLib.cli import drawing, models, studio
from VertebralGradingLib.cli.console import BAR, ERR, OUT
from VertebralGradingLib.cli.options import Bodies, Centroids, Lowest, Mask, MaybeCt, Numbering
from VertebralGradingLib.errors import InputError, OutputError, VertebralGradingError

if TYPE_CHECKING:
    from VertebralGradingLib.findings import Report

app = typer.Typer(
    help="Genant grading of vertebral bodies on CT, with intervals. Research software, not for clinical use.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(models.app, name="models")
app.command()(drawing.counterfactual)
app.command("height-loss")(drawing.height_loss)
app.command()(studio.phantom)
app.add_typer(studio.train, name="train")
app.add_typer(studio.evaluate, name="evaluate")

_OutDir = Annotated[
    Path, typer.Option("--out", help="Folder for findings.json, findings.csv, report.html, overview.png.")
]


@app.command()
def grade(
    ct: MaybeCt = None,
    centroids: Centroids = None,
    mask: Mask = None,
    mask_only: Annotated[
        Path | None, typer.Option("--mask-only", help="Grade the shapes of a mask, without a CT.")
    ] = None,
    out: _OutDir = Path("vertebral-grading-output"),
    method: Annotated[
        list[str] | None,
        typer.Option(help="Second opinion beside morphometry: neighbours, healthivert, dae; may be repeated."),
    ] = None,
    lowest: Lowest = None,
    numbering: Numbering = "auto",
    series: Annotated[
        str | None, typer.Option(help="SeriesInstanceUID, when a DICOM folder holds several series.")
    ] = None,
    bodies: Bodies = None,
) -> None:
    """Grade every vertebra of a CT (or of a mask) and write findings and report."""
    if mask_only is not None and (ct is not None or mask is not None):
        raise typer.BadParameter("--mask-only takes neither a CT nor --mask")
    _grade_and_write(ct, centroids, mask_only or mask, out, tuple(method or ()), lowest, numbering, series, bodies)


@app.command()
def demo(out: _OutDir = Path("demo-output")) -> None:
    """Grade a small synthetic CT with one wedge-shaped vertebra (L1)."""
    from VertebralGradingLib.demo import LEVELS, WEDGE_LOSS, WEDGED, write_demo_case
    from VertebralGradingLib.morphometry.heights import INSET

    with _writing():
        ct, centroids = write_demo_case(out)
    report = _grade_and_write(Path(ct), Path(centroids), None, out, (), None, "auto", None, "classical")
    worst = max(report.findings, key=lambda finding: finding.score or 0.0)
    loss = worst.height_loss.get("anterior", 0.0)
    OUT.print(
        f"Made {LEVELS[0]}-{LEVELS[-1]} with {WEDGED} {100 * WEDGE_LOSS:.0f} % lower at its front edge "
        f"({100 * WEDGE_LOSS * (1 - INSET):.0f} % where heights are measured); "
        f"measured {worst.level} {100 * loss:.0f} % lower."
    )


@app.command()
def centroids(
    from_mask: Annotated[Path, typer.Option("--from-mask", help="Vertebra or body mask.")],
    out: Annotated[Path, typer.Option("--out", help="Markups file to write.")] = Path("centroids.mrk.json"),
    numbering: Numbering = "auto",
) -> None:
    """Compute body centroids from a mask and write them as Slicer markups."""
    from VertebralGradingLib.image.io import read_labels
    from VertebralGradingLib.segmentation.labels import centroids_from_labels, interpret
    from VertebralGradingLib.spine.points import write_markups

    points = centroids_from_labels(interpret(read_labels(from_mask), numbering))
    with _writing():
        out.parent.mkdir(parents=True, exist_ok=True)
        write_markups(points, out)
    OUT.print(f"{len(points)} centroids written: {', '.join(point.level or 'unnamed' for point in points)}")


@app.command()
def info(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """Tell version, methods, formats and what is installed; loads nothing heavy."""
    content = _info()
    if as_json:
        sys.stdout.write(json.dumps(content, indent=2) + "\n")
        return
    for name, value in content.items():
        OUT.print(f"[bold]{name}[/bold]: {escape(json.dumps(value))}")


def main() -> None:
    """Entry point: typed errors become one line with a hint and their own exit code."""
    try:
        app()
    except VertebralGradingError as error:
        ERR.print(f"[bold red]Error:[/bold red] {escape(error.message)}")
        if error.hint:
            ERR.print(f"[bold]Hint:[/bold] {escape(error.hint)}")
        raise SystemExit(error.exit_code) from None
    except MemoryError:
        ERR.print("[bold red]Error:[/bold red] Not enough memory. Crop the CT around the spine and try again.")
        raise SystemExit(InputError.exit_code) from None


def _grade_and_write(
    ct: Path | None,
    points: Path | None,
    mask: Path | None,
    out: Path,
    methods: tuple[str, ...],
    lowest: str | None,
    numbering: str,
    series: str | None,
    bodies: str | None,
) -> Report:
    from VertebralGradingLib.files import grade_files

    with Progress(*BAR, console=ERR, transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def progress(done: int, total: int, level: str) -> None:
            bar.update(task, completed=done, total=total, description=level)

        report = grade_files(ct, points, mask, out, lowest, methods, numbering, series, progress, bodies)
    _print(report)
    OUT.print(f"Written to {escape(str(out))}: findings.json, findings.csv, report.html, overview.png")
    return report


def _print(report: Report) -> None:
    from VertebralGradingLib.findings import NEVER_ASSESSED, RESEARCH_USE
    from VertebralGradingLib.findings.trabecular import trabecular
    from VertebralGradingLib.report.sentences import remarks, summary_sentence
    from VertebralGradingLib.report.values import METHOD_NAMES, chance_text, fixed, graded_loss_text, percent

    OUT.print(escape(summary_sentence(report)), style="bold")
    for method, why in dict(report.provenance.get("not_run") or {}).items():
        ERR.print(
            f"[bold yellow]Warning:[/bold yellow] {escape(f'{METHOD_NAMES.get(method, method)} did not run: {why}')}"
        )
    table = Table(title="Vertebrae")
    head = (
        "level",
        "state",
        "graded loss (%)",
        "grade 1+",
        "deformity",
        "ant / mid / post (mm)",
        "loss (%)",
        "remarks",
    )
    for column in head:
        table.add_column(column)
    for finding in report.findings:
        table.add_row(
            finding.level,
            finding.state,
            graded_loss_text(finding),
            chance_text(finding),
            finding.deformity,
            " / ".join(fixed(value) for value in finding.heights_mm.values()),
            " / ".join(percent(value) for value in finding.height_loss.values()),
            escape("; ".join(remarks(finding, ("mask_found",)))),
        )
    OUT.print(table)
    bone = trabecular(report.findings, report.study)
    if bone is not None:
        OUT.print(escape(bone.text))
    OUT.print(NEVER_ASSESSED)
    OUT.print(RESEARCH_USE, style="dim")


def _info() -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    from VertebralGradingLib.methods.table import REQUIRES

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    return {
        "program": "VertebralGrading",
        "version": __version__,
        "commands": [
            "grade",
            "counterfactual",
            "height-loss",
            "demo",
            "centroids",
            "phantom",
            "train",
            "evaluate",
            "models",
            "info",
        ],
        "methods": {name: {"requires": list(needs)} for name, needs in REQUIRES.items()},
        "inputs": {
            "ct": [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", "DICOM folder"],
            "centroids": [".mrk.json", ".fcsv", "VerSe *_ctd.json"],
            "masks": ["verse", "totalsegmentator", "totalsegmentator-v1", "bodies of unknown level"],
        },
        "outputs": ["findings.json", "findings.csv", "report.html", "overview.png"],
        "exit_codes": {
            "0": "done",
            "2": "usage",
            "3": "image",
            "4": "centroids",
            "5": "mask",
            "6": "method",
            "7": "output",
        },
        "installed": {name: installed(name) for name in ("numpy", "scipy", "SimpleITK", "vtk", "torch")},
        "research_use": "Research software. Not a medical device; not for diagnosis or treatment.",
    }


class _writing:  # noqa: N801 - used as a with-block
    """Turn a failed write into a typed error."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, (OSError, RuntimeError)):
            raise OutputError("The results cannot be written.", "Check free space and permissions.") from error
