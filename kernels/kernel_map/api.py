"""Kernel maps: from coordinates to the neighbour tables that convolutions read."""

import numpy as np
from fourdc_jax.kernels.hash_table import HashTable, SlotTable, build_hash_table, check_table
from fourdc_jax.kernels.implementation import Implementation, resolve
from fourdc_jax.kernels.kernel_map import xla
from fourdc_jax.kernels.kernel_map.maps import Downsample, KernelMap
from fourdc_jax.kernels.kernel_map.offsets import KernelType, kernel_offsets
from fourdc_jax.kernels.padding import check_coords
from jaxtyping import Array, Int32


def build_kernel_map(
    coords: Int32[Array, "n columns"],
    num_rows: Int32[Array, ""],
    *,
    kernel_size: int | tuple[int, ...] = 3,
    kernel_type: KernelType = "hypercube",
    tensor_stride: int | tuple[int, ...] = 1,
    table: HashTable | SlotTable | None = None,
    implementation: Implementation = "auto",
) -> KernelMap:
    """Map of a submanifold convolution: odd kernel, stride 1, output coordinates = input's.

    Args:
      coords: int32 [n, 1 + d], batch index first, in voxel units at tensor stride 1. Coordinates
        must be unique: `table.num_duplicates` tells. Sorted coordinates make convolutions faster.
      num_rows: int32 scalar; the rows that hold data.
      kernel_size: odd size, or one odd size for each axis.
      kernel_type: "hypercube", "hypercross" or "hybrid" (spatial cube and temporal cross).
      tensor_stride: spacing of the coordinates, or one spacing for each axis.
      table: `build_hash_table(coords, num_rows)` when it exists already; "cpu" needs none.

    Returns:
      The map, O(k n) integers, built with one batch of lookups for half of the offsets.

    Raises:
      ValueError: wrong shapes or dtypes, an even kernel, or an implementation not available.
    """
    dimension = check_coords(coords, num_rows)
    resolved = resolve(implementation)
    offsets = kernel_offsets(kernel_size, dimension, kernel_type)
    if len(offsets) % 2 == 0 or offsets[len(offsets) // 2].any():
        raise ValueError(
            f"a submanifold kernel needs odd sizes, got {kernel_size}; a kernel as large as its "
            "stride is what downsample and strided_conv are for."
        )
    stride = _per_axis(tensor_stride, dimension, "tensor_stride")
    offsets = offsets * np.array(stride, np.int32)
    if table is not None:
        check_table(table, coords, resolved)
    if resolved == "cpu":
        from fourdc_jax.kernels.kernel_map import cpu

        return cpu.build_kernel_map(coords, num_rows, offsets)
    if table is None:
        table = build_hash_table(coords, num_rows, implementation=implementation)
    if resolved == "xla":
        return xla.build_kernel_map(coords, num_rows, offsets, table)
    from fourdc_jax.kernels.kernel_map import triton

    return triton.build_kernel_map(coords, num_rows, offsets, table, resolved)


def downsample(
    coords: Int32[Array, "n columns"],
    num_rows: Int32[Array, ""],
    *,
    stride: int | tuple[int, ...] = 2,
    tensor_stride: int | tuple[int, ...] = 1,
    capacity: int,
    implementation: Implementation = "auto",
) -> Downsample:
    """The next coarser level and the map between both, for kernel = stride.

    A coarse coordinate is floor(coord / s) * s per axis, s = stride * tensor stride of that axis,
    so that coordinates stay in units of tensor stride 1. Child position k enumerates the offsets
    0 .. stride - 1 of each axis with x fastest.

    Args:
      coords: int32 [n, 1 + d], unique, batch index first.
      num_rows: int32 scalar.
      stride: factor, or one factor for each axis (1 keeps an axis, as for time).
      tensor_stride: spacing of `coords`, or one for each axis.
      capacity: static number of coarse rows. If more are needed, the coarse voxels whose first
        child comes last are left out and `rows_needed` says how many rows there are.

    Raises:
      ValueError: wrong shapes or dtypes, or a stride or capacity that is not positive.
    """
    dimension = check_coords(coords, num_rows)
    resolved = resolve(implementation)
    if capacity < 1:
        raise ValueError(f"capacity must be at least 1, got {capacity}.")
    stride = _per_axis(stride, dimension, "stride")
    tensor_stride = _per_axis(tensor_stride, dimension, "tensor_stride")
    if resolved == "xla":
        return xla.downsample(coords, num_rows, stride, tensor_stride, capacity)
    if resolved == "cpu":
        from fourdc_jax.kernels.kernel_map import cpu_downsample

        return cpu_downsample.downsample(coords, num_rows, stride, tensor_stride, capacity)
    from fourdc_jax.kernels.kernel_map import triton_downsample

    return triton_downsample.downsample(coords, num_rows, stride, tensor_stride, capacity, resolved)


def _per_axis(value: int | tuple[int, ...], dimension: int, name: str) -> tuple[int, ...]:
    values = (value,) * dimension if isinstance(value, int) else tuple(value)
    if len(values) != dimension or min(values) < 1:
        raise ValueError(
            f"{name}={value} does not fit {dimension} dimensions: give one positive integer, or "
            "one for each dimension."
        )
    return values
