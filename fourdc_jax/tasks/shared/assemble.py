"""What every task does alike: fresh variables, its batches, and hints where they do not fit."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from fourdc_jax.data.grids.capacity import Rows
from fourdc_jax.data.loader import Batches, LoaderParams, Maker
from fourdc_jax.train.task import Batch, BatchIterator, Variables


def initialize(make_model: Callable[..., nn.Module], rng: jax.Array, batch: Batch) -> Variables:
    """Fresh parameters and running statistics; depends on the batch's shapes only."""
    # Each kernel is one draw, and XLA:CPU compiles this generator's in a third of the time.
    rng = jax.random.key(jax.random.bits(rng), impl="rbg")
    return make_model(axis_name=None).init(rng, batch, train=True)


def make_loader_params(
    *, batch: int, accumulate: int, num_workers: int, prefetch: int
) -> LoaderParams:
    """The loader of this process, see `LoaderParams`."""
    return LoaderParams(
        batch=batch,
        local_devices=jax.local_device_count(),
        accumulate=accumulate,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_workers=num_workers,
        prefetch=prefetch,
    )


def open_batches(maker: Maker, loader: LoaderParams, position: Any) -> BatchIterator:
    """The batches of this process, from the start or from where a run was left."""
    batches = Batches(maker, loader)
    if position is not None:
        batches.set_state(position)
    return batches


def explain_limits(rows: Rows, network: str = "") -> dict[str, str]:
    """What to set where a network's limit is exceeded, by the limit's name.

    Args:
      rows: of a micro-batch.
      network: "3d" or "4d" where a task has both, as limits and the config's key end.
    """
    suffix = f"_{network}" if network else ""
    coords = f"{network.upper()} coords".strip()
    hints = {
        f"duplicate_coordinates{suffix}": (
            f"The {coords} of a batch must be unique: voxelise before batching."
        )
    }
    for level in range(1, len(rows)):
        hints[f"rows_level_{level}{suffix}"] = (
            f"Raise config.data.capacity.margin, or give config.data.capacity.rows{suffix} with "
            f"more than {rows[level]} rows a micro-batch at level {level}."
        )
    return hints
