from fourdc_jax.kernels.gather_rows.api import gather_rows

__all__ = ["gather_rows"]
