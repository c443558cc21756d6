"""What the models read of a batch: voxel grids, and tracks through them.

Whoever makes batches has NamedTuples with these fields, so that a batch is a pytree.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float, Int32


@runtime_checkable
class Grid(Protocol):
    """Voxels: `coords` have the batch index first and are unique; rows >= `num_rows` are padding.

    Padding has features 0 and coordinates that no query matches.
    """

    coords: Int32[Array, "n 1+d"]
    num_rows: Int32[Array, ""]
    features: Float[Array, "n c"]


@runtime_checkable
class View(Protocol):
    """Sequences as one network sees them; `tracks` are rows of the grid, -1 where absent."""

    grid: Grid
    tracks: Int32[Array, "b m t"]


@runtime_checkable
class SequenceBatch(Protocol):
    """Sequences: (sequence * t + frame, x, y, z) in `frames`, (sequence, x, y, z, frame) in
    `sequence`.
    """

    frames: View
    sequence: View


@runtime_checkable
class SceneBatch(Protocol):
    """Scenes: (scene, x, y, z)."""

    grid: Grid
