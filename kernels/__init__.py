"""Hashed-coordinate sparse convolution: arrays in, arrays out."""

from fourdc_jax.kernels.gather_rows import gather_rows
from fourdc_jax.kernels.hash_table import HashTable, build_hash_table, lookup
from fourdc_jax.kernels.implementation import Implementation
from fourdc_jax.kernels.kernel_map import (
    ConvMap,
    Downsample,
    KernelMap,
    KernelType,
    build_kernel_map,
    downsample,
    kernel_offsets,
    kernel_volume,
)
from fourdc_jax.kernels.padding import PAD_COORDINATE, valid_rows, zero_padding
from fourdc_jax.kernels.sparse_conv import convolve, sparse_conv, strided_conv, transposed_conv
from fourdc_jax.kernels.sparse_conv.moments import BlockMoments

__all__ = [
    "PAD_COORDINATE",
    "BlockMoments",
    "ConvMap",
    "Downsample",
    "HashTable",
    "Implementation",
    "KernelMap",
    "KernelType",
    "build_hash_table",
    "build_kernel_map",
    "convolve",
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
