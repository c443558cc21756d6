from fourdc_jax.kernels.kernel_map.api import build_kernel_map, downsample
from fourdc_jax.kernels.kernel_map.maps import ConvMap, Downsample, KernelMap, PairLists
from fourdc_jax.kernels.kernel_map.offsets import KernelType, kernel_offsets, kernel_volume

__all__ = [
    "ConvMap",
    "Downsample",
    "KernelMap",
    "KernelType",
    "PairLists",
    "build_kernel_map",
    "downsample",
    "kernel_offsets",
    "kernel_volume",
]
