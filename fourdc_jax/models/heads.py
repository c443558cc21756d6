"""Encoder and predictor of 4DContrast (section 3.4): a U-Net with a projection, and a small MLP."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int32

from fourdc_jax.models.unet import SparseUNet
from fourdc_jax.sparse.batch_norm import MaskedBatchNorm
from fourdc_jax.sparse.execution import Execution
from fourdc_jax.sparse.gather import gather_rows
from fourdc_jax.sparse.layers import Pointwise
from fourdc_jax.sparse.pyramid import Pyramid


class Encoder(nn.Module):
    """U-Net followed by a 1x1x1 projection: rows of a pyramid's level 0 to their projections z.

    Attributes:
      unet: without its final layer.
      features: channels of z.
      batch_norm: normalise z (without scale and bias), as SimSiam ends its projector.
    """

    unet: SparseUNet
    features: int
    batch_norm: bool

    @nn.compact
    def __call__(
        self, features: Float[Array, "n c_in"], pyramid: Pyramid, *, train: bool
    ) -> Float[Array, "n c"]:
        rows = pyramid.levels[0].num_rows
        x = self.unet(features, pyramid, train=train)
        z = Pointwise(self.features, use_bias=not self.batch_norm, name="projection")(x, rows)
        if not self.batch_norm:
            return z
        norm = MaskedBatchNorm(
            self.unet.batch_norm_momentum,
            affine=False,
            execution=self.unet.execution,
            name="projection_norm",
        )
        return norm(z, rows, train=train)


class Predictor(nn.Module):
    """Two 1x1x1 layers, as SimSiam's predictor: linear, batch norm, ReLU, linear with bias.

    The batch statistics cover every row; the second layer runs on the wanted rows only, which
    changes nothing, since it sees one row at a time.
    """

    hidden: int
    batch_norm_momentum: float
    execution: Execution = Execution()

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "n c"],
        num_rows: Int32[Array, ""],
        wanted: Int32[Array, "*tracks"],
        *,
        train: bool,
    ) -> Float[Array, "*tracks c"]:
        norm = MaskedBatchNorm(self.batch_norm_momentum, execution=self.execution, name="norm")
        x = Pointwise(self.hidden, name="hidden")(z, num_rows)
        x = nn.relu(norm(x, num_rows, train=train))
        x = gather_rows(x, wanted, implementation=self.execution.implementation)
        x = x.reshape(-1, self.hidden)  # (tracks, hidden)
        every = jnp.asarray(x.shape[0], jnp.int32)
        p = Pointwise(z.shape[-1], use_bias=True, name="output")(x, every)
        return p.reshape(*wanted.shape, -1)
