"""What every task does alike: its network's levels, fresh variables, and its batches."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from fourdc_jax.data.loader import Batches, LoaderParams, Maker
from fourdc_jax.train.task import Batch, BatchIterator, Variables

LEVEL_STRIDES = (2, 4, 8, 16)  # of the U-Net's levels after the first


def check_strides(strides: tuple[int, ...]) -> None:
    """Raises ValueError where the data counts its coarse rows for other levels than the U-Net's."""
    if strides != LEVEL_STRIDES:
        raise ValueError(
            f"config.data.voxels.strides is {strides}, the U-Net's levels have {LEVEL_STRIDES}."
        )


def initialize(make_model: Callable[..., nn.Module], rng: jax.Array, batch: Batch) -> Variables:
    """Fresh parameters and running statistics; depends on the batch's shapes only."""
    # Each kernel is one draw, and XLA:CPU compiles this generator's in a third of the time.
    rng = jax.random.key(jax.random.bits(rng), impl="rbg")
    return make_model(axis_name=None).init(rng, batch, train=True)


def make_loader_params(
    *, batch: int, accumulate: int, in_channels: int, num_workers: int, prefetch: int
) -> LoaderParams:
    """The loader of this process, see `LoaderParams`."""
    return LoaderParams(
        batch=batch,
        local_devices=jax.local_device_count(),
        accumulate=accumulate,
        in_channels=in_channels,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_workers=num_workers,
        prefetch=prefetch,
    )


def open_batches(maker: Maker, capacity: Any, loader: LoaderParams, position: Any) -> BatchIterator:
    """The batches of this process, from the start or from where a run was left."""
    batches = Batches(maker, capacity, loader)
    if position is not None:
        batches.set_state(position)
    return batches
