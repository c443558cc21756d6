"""A static 3D scan: the unit that readers produce and sequences are made from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, UInt8


@dataclass(frozen=True)
class Scan:
    """Points of one static scene, z up, in metres.

    `labels` and `instances` are None where the dataset has none. What a label means is the
    `label_set`: "nyu40" (1..40, 0 is unannotated; ScanNet), "scannet20" (0..19 in the benchmark's
    order, 255 is unannotated; procedural rooms), "s3dis" (0..12) or "file" (what the file says).
    Instances count from 1; 0 belongs to no instance. `boxes` rows are (cx, cy, cz, dx, dy, dz,
    class), axis-aligned, full sizes in metres.
    """

    name: str
    points: Float32[np.ndarray, "n 3"]
    colors: UInt8[np.ndarray, "n 3"] | None = None
    labels: Int32[np.ndarray, "n"] | None = None
    instances: Int32[np.ndarray, "n"] | None = None
    boxes: Float32[np.ndarray, "b 7"] | None = None
    label_set: str = "nyu40"


def check_points(scan: Scan) -> None:
    """Raises ValueError where a scan has no points, or coordinates that are no numbers."""
    if len(scan.points) == 0:
        raise ValueError(f"scan {scan.name!r} has no points")
    if not np.isfinite(scan.points).all():
        count = np.count_nonzero(~np.isfinite(scan.points).all(axis=1))
        raise ValueError(
            f"scan {scan.name!r}: {count} of {len(scan.points)} points have coordinates that are "
            "not finite: remove them"
        )


def instance_boxes(
    points: Float32[np.ndarray, "n 3"],
    labels: Int32[np.ndarray, "n"],
    instances: Int32[np.ndarray, "n"],
) -> Float32[np.ndarray, "b 7"]:
    """Axis-aligned box of every instance from all of its points, in order of instance id.

    The class of a box is the label of its instance's first point: in the datasets all points of an
    instance share one label. VoteNet's boxes are these, less the classes it does not detect.
    """
    order = np.argsort(instances, kind="stable")
    order = order[np.searchsorted(instances[order], 1) :]  # instances 1, 2, ... without 0
    if not len(order):
        return np.zeros((0, 7), np.float32)
    first = np.flatnonzero(np.diff(instances[order], prepend=0))  # [b] where each instance starts
    low = np.minimum.reduceat(points[order], first)  # [b, 3]
    high = np.maximum.reduceat(points[order], first)  # [b, 3]
    classes = labels[order[first]].astype(np.float32)  # [b]
    return np.concatenate([(low + high) / 2, high - low, classes[:, None]], axis=1)
