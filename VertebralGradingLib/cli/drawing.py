"""Commands that show one vertebra: at another grade, and where it lost height."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from VertebralGradingLib.cli.console import ERR, OUT
from VertebralGradingLib.cli.options import Bodies, Centroids, Ct, Level, Lowest, Mask, MaybeCt, Numbering


class By(str, Enum):
    """What shows a vertebra at another grade."""

    warp = "warp"
    dae = "dae"


class LossBy(str, Enum):
    """What a vertebra's height is compared with."""

    warp = "warp"
    healthivert = "healthivert"
    neighbours = "neighbours"
    both = "both"


def counterfactual(
    ct: Ct,
    level: Level,
    centroids: Centroids = None,
    by: Annotated[
        By, typer.Option("--by", help="warp (its own CT, no network), dae (the diffusion autoencoder draws it).")
    ] = By.warp,
    grade: Annotated[
        list[float] | None, typer.Option("--grade", min=0.0, max=3.0, help="Wanted grade; may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for pictures and numbers.")] = Path(
        "counterfactual-output"
    ),
    shape: Annotated[str, typer.Option("--shape", help="Of the warp: own, wedge, biconcave, crush.")] = "own",
    mask: Mask = None,
    preset: Annotated[
        str, typer.Option("--preset", help="Of the autoencoder: paper (slow), fine, live (quick).")
    ] = "fine",
    binary: Annotated[
        bool, typer.Option("--binary", help="As far on the other side between healthy and fractured, no grade.")
    ] = False,
    lowest: Lowest = None,
    numbering: Numbering = "auto",
    bodies: Bodies = None,
) -> None:
    """Show what a vertebra would look like at another grade: its own CT warped, or drawn by a network."""
    wanted = tuple(grade or (0.0, 1.0, 2.0, 3.0))
    if by is By.warp:
        if binary or preset != "fine":
            raise typer.BadParameter("--binary and --preset belong to --by dae")
        _warp(ct, centroids, level, wanted, out, shape, mask, lowest, numbering, bodies)
        return
    if mask is not None or shape != "own" or bodies is not None or numbering != "auto":
        raise typer.BadParameter("--mask, --shape, --bodies and --numbering belong to --by warp")
    if centroids is None:
        raise typer.BadParameter("--by dae needs --centroids")
    from VertebralGradingLib.files import counterfactual_files
    from VertebralGradingLib.report.drawn import likeness_words

    seen = counterfactual_files(ct, centroids, level, wanted, out, preset, lowest, binary)
    OUT.print(f"{level}: score {seen['score']:.2f}; redrawn unchanged it is {likeness_words(seen['psnr_db'])}")
    for asked, reached, warnings in zip(seen["wanted"], seen["reached"], seen["warnings"], strict=True):
        note = f"; {', '.join(warnings)}" if warnings else ""
        OUT.print(f"  grade {asked:.1f} wanted, {reached:.2f} by its image{note}")
    OUT.print(f"Images are in {escape(str(out))}")


def _warp(
    ct: Path,
    centroids: Path | None,
    level: str,
    wanted: tuple[float, ...],
    out: Path,
    shape: str,
    mask: Path | None,
    lowest: str | None,
    numbering: str,
    bodies: str | None,
) -> None:
    from VertebralGradingLib.files import warp_files

    def three(values: dict[str, float]) -> str:
        return " / ".join(f"{value:.1f}" for value in values.values())

    seen = warp_files(ct, centroids, level, wanted, out, shape, mask, lowest, numbering, bodies)
    OUT.print(f"{level}: {three(seen['heights_mm'])} mm (anterior / middle / posterior)")
    OUT.print(f"before any fracture, as far as can be told: {three(seen['healthy_mm'])} mm")
    for n, asked in enumerate(seen["wanted"]):
        why = "; ".join(seen["reasons"][n])
        note = f"; no convincing picture: {why}" if why else ""
        OUT.print(f"  grade {asked:g}: {three(seen['reached_mm'][n])} mm, least Jacobian "
                  f"{seen['least_jacobian'][n]:.2f}{note}")  # fmt: skip
    OUT.print(f"Strip, numbers and warped CTs are in {escape(str(out))}")


def height_loss(
    ct: MaybeCt = None,
    centroids: Centroids = None,
    level: Level = "L1",
    mask: Mask = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for map, numbers and volumes.")] = Path(
        "height-loss-output"
    ),
    by: Annotated[
        LossBy | None,
        typer.Option(
            "--by",
            help="warp (its own CT at grade 0), healthivert (a network draws it), neighbours (their shape), both (warp "
            "and healthivert; the default where the network's weights are there).",
        ),
    ] = None,
    lowest: Lowest = None,
    numbering: Numbering = "auto",
    bodies: Bodies = None,
) -> None:
    """Show where a vertebra lost height: against its own CT at grade 0, a drawn one, or its sound neighbours' shape."""
    from VertebralGradingLib.files import height_loss_files
    from VertebralGradingLib.report.height_loss import BY

    chosen = None if by is None else ("warp", "healthivert") if by is LossBy.both else (by.value,)
    seen = height_loss_files(ct, centroids, level, out, mask, chosen, lowest, numbering, bodies)
    table = Table(title=f"{level}: lost height (%)")
    for column in ("against", "anterior rim", "anterior", "middle", "posterior", "whole"):
        table.add_column(column)
    for name, told in seen["maps"].items():
        losses = (told["anterior_rim"], *told["thirds"].values(), told["whole"])
        table.add_row(BY[name], *("-" if value is None else f"{100 * value:.0f}" for value in losses))
        if told.get("reasons"):
            ERR.print(
                f"[bold yellow]Warning:[/bold yellow] no convincing picture: {escape('; '.join(told['reasons']))}"
            )
    for name, why in seen["not_run"].items():
        ERR.print(f"[bold yellow]Warning:[/bold yellow] {escape(f'{BY[name]} did not run: {why}')}")
    OUT.print(table)
    OUT.print(f"Maps, numbers and volumes are in {escape(str(out))}")
