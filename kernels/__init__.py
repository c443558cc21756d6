"""Hashed-coordinate sparse convolution: arrays in, arrays out."""

from kernels.gather_rows import gather_rows
from kernels.hash_table import HashTable, build_hash_table, lookup
from kernels.implementation import Implementation
from kernels.kernel_map import (
    Downsample,
    KernelMap,
    KernelType,
    build_kernel_map,
    downsample,
    kernel_offsets,
    kernel_volume,
)
from kernels.padding import PAD_COORDINATE, valid_rows, zero_padding
from kernels.sparse_conv import sparse_conv, strided_conv, transposed_conv
from kernels.sparse_conv.moments import BlockMoments

__all__ = [
    "PAD_COORDINATE",
    "BlockMoments",
    "Downsample",
    "HashTable",
    "Implementation",
    "KernelMap",
    "KernelType",
    "build_hash_table",
    "build_kernel_map",
    "downsample",
    "gather_rows",
    "kernel_offsets",
    "kernel_volume",
    "lookup",
    "sparse_conv",
    "strided_conv",
    "transposed_conv",
    "valid_rows",
    "zero_padding",
]
