"""A synthetic object: the thing that moves through a scan."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True)
class Shape:
    """Points sampled uniformly on an object's surface, z up, in the unit of its file.

    ModelNet has no metric unit: the metric size is chosen by category when a sequence is made.
    """

    name: str
    category: str
    points: Float32[np.ndarray, "p 3"]
