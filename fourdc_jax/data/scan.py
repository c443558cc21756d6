"""A static 3D scan: the unit that readers produce and sequences are made from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, UInt8


@dataclass(frozen=True)
class Scan:
    """Points of one static scene, z up, in metres.

    `labels` and `instances` are None where the dataset has none; `boxes` rows are
    (cx, cy, cz, dx, dy, dz, class), axis-aligned.
    """

    name: str
    points: Float32[np.ndarray, "n 3"]
    colors: UInt8[np.ndarray, "n 3"] | None = None
    labels: Int32[np.ndarray, "n"] | None = None
    instances: Int32[np.ndarray, "n"] | None = None
    boxes: Float32[np.ndarray, "b 7"] | None = None
