"""Kernel shapes: which neighbours a sparse convolution reads, in MinkowskiEngine's order."""

import itertools
from typing import Literal

import numpy as np
from jaxtyping import Int32

KernelType = Literal["hypercube", "hypercross", "hybrid"]
SPATIAL_AXES = 3


def kernel_offsets(
    kernel_size: int | tuple[int, ...], dimension: int, kernel_type: KernelType = "hypercube"
) -> Int32[np.ndarray, "k d"]:
    """Offsets of a kernel in units of the tensor stride; the first axis (x) varies fastest.

    Odd sizes are centred, even sizes use 0 .. K-1. A hypercross keeps the offsets with at most one
    non-zero axis. MinkowskiEngine's hybrid kernel is the spatial hypercube (x, y, z) at the centre
    of time plus the temporal cross. Offset i mirrors offset k-1-i for every odd kernel.

    Raises:
      ValueError: a size is not positive, the tuple has the wrong length, a cross has an even size.
    """
    sizes = (kernel_size,) * dimension if isinstance(kernel_size, int) else tuple(kernel_size)
    if len(sizes) != dimension or min(sizes) < 1:
        raise ValueError(
            f"kernel_size {kernel_size} does not fit {dimension} dimensions: give one positive "
            "size, or one for each dimension."
        )
    if kernel_type != "hypercube" and any(size % 2 == 0 for size in sizes):
        raise ValueError(f"a {kernel_type} kernel needs odd sizes, got {sizes}.")
    axes = [range(-(size // 2), size // 2 + 1) if size % 2 else range(size) for size in sizes]
    cube = [offset[::-1] for offset in itertools.product(*reversed(axes))]
    if kernel_type == "hypercube":
        kept = cube
    elif kernel_type == "hypercross":
        kept = [offset for offset in cube if np.count_nonzero(offset) <= 1]
    elif kernel_type == "hybrid":
        kept = [
            offset
            for offset in cube
            if not any(offset[SPATIAL_AXES:])
            or (not any(offset[:SPATIAL_AXES]) and np.count_nonzero(offset) == 1)
        ]
    else:
        raise ValueError(
            f"kernel_type {kernel_type!r} is unknown: use 'hypercube', 'hypercross' or 'hybrid'."
        )
    return np.array(kept, np.int32).reshape(len(kept), dimension)


def kernel_volume(
    kernel_size: int | tuple[int, ...], dimension: int, kernel_type: KernelType = "hypercube"
) -> int:
    """Number of offsets of a kernel: the leading size of its weights [k, c_in, c_out]."""
    return len(kernel_offsets(kernel_size, dimension, kernel_type))
