"""``vertebral-grading models``: what is installed of learned methods."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from VertebralGradingLib.cli.console import OUT

app = typer.Typer(help="Models of learned methods: list, import, delete.", no_args_is_help=True)


@app.command("list")
def list_models(
    verify: Annotated[bool, typer.Option("--verify", help="Compare the checksum of every file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, with the models' cards.")] = False,
) -> None:
    """List the models that came with the program and those that were imported."""
    from VertebralGradingLib.models import registry

    models = [model.verified() if verify else model for model in registry.list_models()]
    if as_json:
        sys.stdout.write(json.dumps([model.to_dict() for model in models], indent=2) + "\n")
        return
    table = Table(title="Models")
    for column in ("name", "version", "method", "size (MB)", "checksum", "place", "state"):
        table.add_column(column)
    for model in models:
        state = model.problem or ("verified" if verify else "complete")
        size = f"{model.bytes / 1e6:.1f}"
        row = (model.name, model.version, model.method, size, model.checksum, model.place, state)
        table.add_row(*map(escape, row))
    OUT.print(table if models else "No models are installed; grading by morphometry needs none.")


@app.command("import")
def import_model(file: Annotated[Path, typer.Argument(help="Zip file or folder with a card.json.")]) -> None:
    """Check a model and install it, whole or not at all."""
    from VertebralGradingLib.models import registry

    model = registry.import_model(file)
    OUT.print(f"Imported {model.name} {model.version} ({model.bytes / 1e6:.1f} MB, checksum {model.checksum}).")


@app.command("delete")
def delete_model(name: Annotated[str, typer.Argument(help="Name of an imported model.")]) -> None:
    """Delete an imported model."""
    from VertebralGradingLib.models import registry

    registry.delete_model(name)
    OUT.print(f"Deleted {escape(name)}.")
