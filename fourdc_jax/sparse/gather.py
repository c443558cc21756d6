"""Reading rows of a level's features, for the models; see `kernels.gather_rows`."""

from fourdc_jax.kernels import gather_rows

__all__ = ["gather_rows"]
