"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_CT = typer.Argument(help="CT: NIfTI, NRRD, MetaImage, or a folder with one DICOM series.")
Ct = Annotated[Path, _CT]
MaybeCt = Annotated[Path | None, _CT]
Centroids = Annotated[Path | None, typer.Option("--centroids", help="Centroids: .mrk.json, .fcsv or VerSe *_ctd.json.")]
Mask = Annotated[Path | None, typer.Option("--mask", help="Vertebra or body mask on the CT's patient space.")]
Level = Annotated[str, typer.Option("--level", help="Which vertebra, such as L1.")]
Lowest = Annotated[
    str | None, typer.Option("--lowest", help="Level of the lowest centroid, such as L5: names all unnamed ones.")
]
Numbering = Annotated[
    str, typer.Option("--numbering", help="Numbers of the mask: auto, verse, totalsegmentator, totalsegmentator-v1.")
]
Bodies = Annotated[
    str | None,
    typer.Option("--bodies", help="How bodies without a mask are found: auto, network (PyTorch), classical."),
]
