"""What every loss and metric is made of: a sum and what it is divided by."""

from typing import NamedTuple

from jaxtyping import Array, Float32


class Term(NamedTuple):
    """A mean before division: terms add up over rows and devices, and are divided once."""

    sum: Float32[Array, ""]
    count: Float32[Array, ""]
