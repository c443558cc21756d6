"""The pyramid of tensor strides that all layers of a sparse U-Net share."""

from collections.abc import Sequence

import numpy as np
from flax import struct
from jaxtyping import Array, Int32

from fourdc_jax import kernels
from fourdc_jax.kernels import Implementation, KernelType


@struct.dataclass
class Level:
    """One tensor stride: its coordinates and the map of its residual blocks' kernel."""

    coords: Int32[Array, "n columns"]
    num_rows: Int32[Array, ""]
    kernel_map: kernels.KernelMap


@struct.dataclass
class Pyramid:
    """Every coordinate map of one batch, built once and used by all layers and their gradients.

    Attributes:
      levels: from fine (tensor stride 1) to coarse.
      downsamples: entry i joins levels[i] and levels[i + 1], in both directions.
      stem_map: the first convolution's map on level 0; levels[0].kernel_map if that is the same.
      num_duplicates: rows of level 0 whose coordinate a lower row has.
    """

    levels: tuple[Level, ...]
    downsamples: tuple[kernels.Downsample, ...]
    stem_map: kernels.KernelMap
    num_duplicates: Int32[Array, ""]

    @property
    def limits(self) -> dict[str, tuple[Int32[Array, ""], int]]:
        """Name -> (needed, available); results are right only where no need exceeds what there is.

        Rows of each coarser level against its capacity, and duplicate coordinates against 0.
        """
        rows = {
            f"rows_level_{level}": (down.rows_needed, down.coords.shape[0])
            for level, down in enumerate(self.downsamples, 1)
        }
        return {"duplicate_coordinates": (self.num_duplicates, 0), **rows}


def build_pyramid(
    coords: Int32[Array, "n columns"],
    num_rows: Int32[Array, ""],
    *,
    capacities: Sequence[int],
    stride: Sequence[int],
    kernel_type: KernelType,
    stem_kernel_size: int | tuple[int, ...],
    implementation: Implementation = "auto",
) -> Pyramid:
    """Downsamples the coordinates level by level and builds all kernel maps, inside jit.

    Args:
      coords: unique coordinates (batch, x, y, z[, t]) at tensor stride 1.
      num_rows: rows in use.
      capacities: static number of rows of every level, level 0 (the length of coords) included.
      stride: from each level to the next, for every axis; 1 leaves an axis (time) as it is.
      kernel_type: of the residual blocks' kernel, which has size 3.
      stem_kernel_size: of the first convolution, a hypercube.

    Raises:
      ValueError: capacities[0] is not the length of coords, or stride does not fit its dimension.
    """
    dimension = coords.shape[1] - 1
    if capacities[0] != coords.shape[0]:
        raise ValueError(
            f"level 0 of the pyramid has {coords.shape[0]} rows, but its capacity is given as "
            f"{capacities[0]}: make the two equal."
        )
    if len(stride) != dimension:
        raise ValueError(f"stride {tuple(stride)} needs one entry for each of {dimension} axes.")

    tensor_stride = (1,) * dimension
    table = kernels.build_hash_table(coords, num_rows, implementation=implementation)
    num_duplicates = table.num_duplicates
    stem_map = None  # where the stem has the residual blocks' kernel, it reads the map of level 0
    stem_offsets = kernels.kernel_offsets(stem_kernel_size, dimension)
    if not np.array_equal(stem_offsets, kernels.kernel_offsets(3, dimension, kernel_type)):
        stem_map = kernels.build_kernel_map(
            coords,
            num_rows,
            kernel_size=stem_kernel_size,
            table=table,
            implementation=implementation,
        )
    levels, downsamples = [], []
    for index, capacity in enumerate(capacities):
        if index > 0:
            down = kernels.downsample(
                coords,
                num_rows,
                stride=tuple(stride),
                tensor_stride=tensor_stride,
                capacity=capacity,
                implementation=implementation,
            )
            coords, num_rows, table = down.coords, down.num_rows, None
            tensor_stride = tuple(s * t for s, t in zip(stride, tensor_stride))
            downsamples.append(down)
        kernel_map = kernels.build_kernel_map(
            coords,
            num_rows,
            kernel_size=3,
            kernel_type=kernel_type,
            tensor_stride=tensor_stride,
            table=table,
            implementation=implementation,
        )
        levels.append(Level(coords, num_rows, kernel_map))
    stem_map = levels[0].kernel_map if stem_map is None else stem_map
    return Pyramid(tuple(levels), tuple(downsamples), stem_map, num_duplicates)
