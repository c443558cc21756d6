from fourdc_jax.kernels.sparse_conv.api import convolve, sparse_conv, strided_conv, transposed_conv

__all__ = ["convolve", "sparse_conv", "strided_conv", "transposed_conv"]
