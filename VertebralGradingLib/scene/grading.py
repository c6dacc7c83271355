"""Grading what is in the scene: the nodes a user chose, read once; and the findings, shown when they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from VertebralGradingLib.backend.blocking import WorkerClient
from VertebralGradingLib.errors import CentroidError, InputError
from VertebralGradingLib.findings import Finding, Report
from VertebralGradingLib.image.volume import Volume, as_ct
from VertebralGradingLib.methods.bodies import body_labels
from VertebralGradingLib.pipeline import grade, unfinished_report
from VertebralGradingLib.scene.inputs import labels_from_node, points_from_node, voxels_from_node
from VertebralGradingLib.scene.results import StudyResults
from VertebralGradingLib.scene.studies import results_for
from VertebralGradingLib.segmentation.labels import VertebraLabels, centroids_from_labels
from VertebralGradingLib.spine.points import Point, positions
from VertebralGradingLib.spine.spine import build_spine
from VertebralGradingLib.study import Progress

CROP_MM = 90.0
"""What is sent to the worker reaches this far beyond the centroids."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What is graded, read from nodes.

    Attributes:
        image_node: the CT's node, or the segmentation's where there is no CT.
        centroids_node: the point list, or None.
        given_node: the user's segmentation, or None.
        ct: the image's voxels as they are stored, or None.
        points: centroids in world coordinates.
        labels: the user's vertebrae, or None.
        lowest: level of the most caudal point, for unnamed ones.
        methods: second opinions beside morphometry.
    """

    image_node: Any
    centroids_node: Any
    given_node: Any
    ct: Volume | None
    points: tuple[Point, ...]
    labels: VertebraLabels | None
    lowest: str | None = None
    methods: tuple[str, ...] = ()

    def cropped(self) -> Inputs:
        """The same with the CT cut to the surroundings of the centroids and in int16 HU; for any thread.

        Raises:
            InputError: the voxels are no CT values.
        """
        if self.ct is None:
            return self
        near = self.ct.around(positions(list(self.points)), CROP_MM)
        return replace(self, ct=as_ct(near.array, near.affine, keep=near.array))

    def unfinished(self, findings: Sequence[Finding]) -> Report:
        """A report of the findings that had come before a run was broken off."""
        return unfinished_report(self.ct, build_spine(self.points, self.lowest), self.labels, findings, self.methods)

    def show(self, report: Report, bodies: VertebraLabels | None) -> StudyResults:
        """Put findings into the scene.

        Raises:
            InputError: the image has left the scene.
        """
        results, steps = self.showing(report, bodies)
        for _ in steps:
            pass
        return results

    def showing(self, report: Report, bodies: VertebraLabels | None) -> tuple[StudyResults, Iterator[None]]:
        """The results, and the small steps in which they are put into the scene.

        Raises:
            InputError: the image has left the scene.
        """
        size = self.ct if self.ct is not None else self.labels.volume if self.labels is not None else None
        if size is not None:
            report.study["shape"] = list(size.shape)  # of the image, not of what was cut out for the worker
        results = results_for(self.image_node, self.centroids_node, self.given_node)
        spine = build_spine(self.points, self.lowest)
        return results, results.show(report, self.ct, spine, self.labels if self.labels is not None else bodies)


def read_inputs(
    volume_node: Any,
    markups_node: Any,
    segmentation_node: Any = None,
    lowest: str | None = None,
    methods: Sequence[str] = (),
    numbering: str = "auto",
) -> Inputs:
    """Read nodes: a CT with centroids, a CT with a segmentation, or a segmentation alone.

    Raises:
        InputError, CentroidError, MaskError: with a hint.
    """
    if volume_node is None and segmentation_node is None:
        raise InputError("No CT is chosen.", "Choose the CT volume, a segmentation of the vertebrae, or both.")
    ct = None if volume_node is None else voxels_from_node(volume_node)
    labels = None if segmentation_node is None else labels_from_node(segmentation_node, numbering)
    if ct is not None and labels is not None:
        labels = replace(labels, scan=ct.grid())  # where the CT ends, vertebrae may be cut off
    if markups_node is not None:
        points = points_from_node(markups_node)
    elif labels is not None:
        points = centroids_from_labels(labels)
    else:
        raise CentroidError(
            "No centroids are chosen.", "Choose a point list with one point per vertebra, or a segmentation."
        )
    build_spine(points, lowest)  # refused here, before anything is sent
    image = ct if ct is not None else labels.volume if labels is not None else None
    assert image is not None  # one of both was read
    if not image.contains(np.array([point.position for point in points])).any():
        raise CentroidError(
            "No centroid lies inside the image.", "Check that the point list belongs to it and the transforms of both."
        )
    image_node = volume_node if volume_node is not None else segmentation_node
    return Inputs(image_node, markups_node, segmentation_node, ct, tuple(points), labels, lowest, tuple(methods))


def grade_here(inputs: Inputs, progress: Progress | None = None) -> StudyResults:
    """Grade in this process and show the findings.

    Raises:
        VertebralGradingError: with a hint.
    """
    bodies: list[VertebraLabels | None] = []
    spine = build_spine(inputs.points, inputs.lowest)
    ct = None if inputs.ct is None else as_ct(inputs.ct.array, inputs.ct.affine, keep=inputs.ct.array)
    report = grade(
        ct,
        spine,
        inputs.labels,
        inputs.methods,
        progress,
        on_study=lambda study: bodies.append(body_labels(study) if inputs.labels is None else None),
        bodies_by="classical",  # torch is never loaded into Slicer's own process
    )
    return inputs.show(report, bodies[0])


def grade_with(client: WorkerClient, inputs: Inputs, progress: Progress | None = None) -> StudyResults:
    """Grade in a worker, wait, and show the findings.

    Raises:
        VertebralGradingError: with a hint.
    """
    part = inputs.cropped()

    def on_progress(done: int, total: int, level: str) -> None:
        if progress is not None and progress(done, total, level) is False:
            client.cancel()

    answer = client.grade(
        part.ct,
        part.points,
        part.labels,
        lowest=part.lowest,
        methods=part.methods,
        bodies=part.labels is None,
        on_progress=on_progress,
    )
    return inputs.show(Report.from_dict(answer["report"]), answer.get("bodies"))
