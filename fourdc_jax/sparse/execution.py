"""How a network runs: what its modules hand on to each other, and no number of its parameters."""

from dataclasses import dataclass

from fourdc_jax.kernels import Implementation


@dataclass(frozen=True)
class Execution:
    """What every module of a network must agree on; none of it changes the parameters.

    axis_name: device axis over which batch statistics are taken; None for one device.
    dtype: of features and matrix products; parameters, statistics and sums are float32.
    remat: recompute residual blocks in the backward pass instead of keeping their features.
    implementation: of the sparse operations, see `kernels`.
    """

    axis_name: str | None = None
    dtype: str = "float32"
    remat: bool = False
    implementation: Implementation = "auto"
