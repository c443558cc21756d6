from fourdc_jax.kernels.sparse_conv.api import sparse_conv, strided_conv, transposed_conv

__all__ = ["sparse_conv", "strided_conv", "transposed_conv"]
