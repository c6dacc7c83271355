"""The whole comparison of counterfactuals, spread over processes; with any number of them the same vertebrae."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, fields
from multiprocessing import get_context
from pathlib import Path

from VertebralGradingLib.errors import MethodError, OutputError
from VertebralGradingLib.evaluation.learned import Learned
from VertebralGradingLib.evaluation.scenes import Scene, draw_scenes
from VertebralGradingLib.evaluation.warp_table import WarpRow
from VertebralGradingLib.evaluation.warps import Judge, draw_neighbourhood


@dataclass(frozen=True)
class Methods:
    """What is compared.

    Attributes:
        learned: whether networks draw too.
        refine, head, flow: folders of training runs.
        preset: of the autoencoder without a warp.
    """

    learned: bool = False
    refine: Path | None = None
    head: Path | None = None
    flow: Path | None = None
    preset: str = "fine"

    def judge(self) -> Judge:
        """Load them.

        Raises:
            MethodError: no autoencoder is installed.
            InputError: a folder holds no run that fits.
        """
        others = draw_neighbourhood()
        learned = None
        if self.learned:
            learned = Learned.of_runs(others.images, self.refine, self.head, self.flow, self.preset)
        return Judge(others, learned)


def compare(
    vertebrae: int,
    seed: int,
    methods: Methods,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    rows_file: Path | None = None,
) -> list[WarpRow]:
    """Rows of all methods on synthetic vertebrae.

    Args:
        vertebrae: how many.
        seed: of them.
        methods: what is compared.
        workers: processes that judge; this one draws the vertebrae.
        progress: called with (vertebrae done, all).
        rows_file: CSV that grows with every vertebra; those that it holds already are not judged again.

    Raises:
        MethodError, InputError: see :meth:`Methods.judge`; or a process was ended from outside.
        OutputError: the file cannot be written.
    """
    rows = [] if rows_file is None or not rows_file.exists() else read_rows(rows_file)
    done = {(row.subject, row.level) for row in rows}
    count = 0
    for made in _judged(vertebrae, seed, methods, workers, done):
        if made is not None:
            rows += made
            if rows_file is not None:
                write_rows(rows, rows_file)
        count += 1
        if progress is not None:
            progress(count, vertebrae)
    return rows


def _judged(
    vertebrae: int, seed: int, methods: Methods, workers: int, done: set[tuple[str, str]]
) -> Iterator[list[WarpRow] | None]:
    """Rows of one vertebra after the other, in any order; None for those that are done."""
    scenes = draw_scenes(vertebrae, seed)
    if workers <= 1:
        judge = methods.judge()
        for scene in scenes:
            yield None if (scene.subject, scene.level) in done else judge.judge(scene)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (methods,))
    try:
        waiting: set[Future[list[WarpRow]]] = set()
        for scene in scenes:
            if (scene.subject, scene.level) in done:
                yield None
                continue
            waiting.add(pool.submit(_judge, scene))
            while len(waiting) > workers:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (one.result() for one in finished)
        yield from (one.result() for one in waiting)
    except BrokenPipeError as error:
        raise MethodError("A process that judges was ended.", "Run the command again, with fewer workers.") from error
    finally:
        pool.shutdown(cancel_futures=True)


_JUDGE: list[Judge] = []


def _begin(methods: Methods) -> None:
    import torch

    torch.set_num_threads(1)
    _JUDGE[:] = [methods.judge()]


def _judge(scene: Scene) -> list[WarpRow]:
    return _JUDGE[0].judge(scene)


def write_rows(rows: list[WarpRow], path: Path) -> None:
    """Write rows as CSV.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with path.with_suffix(".new").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(WarpRow)])
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
        path.with_suffix(".new").replace(path)
    except OSError as error:
        raise OutputError("The rows cannot be written.", "Check free space and permissions.") from error


def read_rows(path: Path) -> list[WarpRow]:
    """Rows that :func:`write_rows` wrote.

    Raises:
        OutputError: it holds something else.
    """
    text, whole = {"subject", "level", "shape", "method"}, {"wanted"}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                WarpRow(
                    **{
                        name: value
                        if name in text
                        else int(value)
                        if name in whole
                        else value == "True"
                        if name == "hidden"
                        else float(value)
                        for name, value in row.items()
                    }  # type: ignore[arg-type]
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, TypeError) as error:
        raise OutputError("The file holds no rows of this comparison.", "Choose another file.") from error
