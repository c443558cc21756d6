"""A synthetic object: the thing that moves through a scan."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True)
class Shape:
    """Points sampled uniformly on an object's surface, z up, front towards +x.

    The points are in the unit of their file: ModelNet has no metric unit, so the metric size is
    chosen by category when a sequence is made. Their order is random, so that any prefix is again
    a uniform sample. Where a dataset does not tell its front, the file's own x axis stays.
    """

    name: str
    category: str
    points: Float32[np.ndarray, "p 3"]
