"""4DContrast's pre-training model: a 3D and a 4D network, read at tracks (figure 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int32

from fourdc_jax.models.backbone import STRIDE_3D, NetworkParams, make_unet, stride_4d
from fourdc_jax.models.heads import Encoder, Predictor
from fourdc_jax.models.inputs import SequenceBatch, View
from fourdc_jax.sparse.execution import Execution, Implementation
from fourdc_jax.sparse.gather import gather_rows


@dataclass(frozen=True)
class ContrastParams:
    """Both networks and their heads, which have the same shape in 3D and 4D.

    features: channels of the projections z and the predictions p.
    projection_batch_norm: normalise z without scale and bias, as SimSiam ends its projector.
    predictor_hidden: channels between the predictor's two layers.
    dtype: of features and matrix products.
    remat: recompute residual blocks in the backward pass, which saves memory and costs time.
    """

    network_3d: NetworkParams
    network_4d: NetworkParams
    features: int
    projection_batch_norm: bool
    predictor_hidden: int
    dtype: Literal["float32", "bfloat16"]
    remat: bool


class TrackFeatures(NamedTuple):
    """Predictions p and projections z of one network at the frames of tracks, where `present`."""

    p: Float[Array, "b m t c"]
    z: Float[Array, "b m t c"]
    present: Bool[Array, "b m t"]


class ContrastOutput(NamedTuple):
    """Features of the 3D and, where it is on, of the 4D network; needed and available rows."""

    features_3d: TrackFeatures
    features_4d: TrackFeatures | None
    limits: Mapping[str, tuple[Int32[Array, ""], int]]


class FourDContrast(nn.Module):
    """Encoders and predictors of section 3.2: p = P(Phi(F)), z = Phi(F), in 3D and in 4D.

    The 3D network sees every frame on its own (as a batch item), the 4D network the whole sequence.

    Attributes:
      encoder_3d, predictor_3d: Phi_3D and P_3D. All parameters of Phi_3D sit under "encoder_3d";
        its U-Net's, which downstream tasks load, under "encoder_3d/unet".
      encoder_4d, predictor_4d: Phi_4D and P_4D; None where no loss needs them.
      capacities_3d, capacities_4d: rows of the pyramids' levels.
    """

    encoder_3d: Encoder
    predictor_3d: Predictor
    encoder_4d: Encoder | None
    predictor_4d: Predictor | None
    capacities_3d: Sequence[int]
    capacities_4d: Sequence[int]

    def __call__(self, batch: SequenceBatch, *, train: bool) -> ContrastOutput:
        """Runs the networks on one pre-training batch.

        Args:
          batch: the 3D network sees its `frames`, the 4D network its `sequence`.
          train: use the batch's statistics and update the running ones.
        """
        features_3d, limits = run_network(
            self.encoder_3d, self.predictor_3d, self.capacities_3d, batch.frames, train
        )
        limits = {f"{name}_3d": limit for name, limit in limits.items()}
        if self.encoder_4d is None:
            return ContrastOutput(features_3d, None, limits)
        features_4d, limits_4d = run_network(
            self.encoder_4d, self.predictor_4d, self.capacities_4d, batch.sequence, train
        )
        limits |= {f"{name}_4d": limit for name, limit in limits_4d.items()}
        return ContrastOutput(features_3d, features_4d, limits)

    def encode_scan(
        self,
        coords: Int32[Array, "n 4"],
        features: Float[Array, "n c_in"],
        capacities: Sequence[int],
    ) -> Float[Array, "n c"]:
        """Projections z of a scan without padding, with the running statistics."""
        num_rows = jnp.asarray(coords.shape[0], jnp.int32)
        pyramid = self.encoder_3d.unet.build_pyramid(coords, num_rows, capacities)
        return self.encoder_3d(features, pyramid, train=False)


def run_network(
    encoder: Encoder,
    predictor: Predictor,
    capacities: Sequence[int],
    view: View,
    train: bool,
) -> tuple[TrackFeatures, Mapping[str, tuple[Int32[Array, ""], int]]]:
    """One network on what it sees: features at the tracks, and the pyramid's limits."""
    grid, tracks = view.grid, view.tracks
    pyramid = encoder.unet.build_pyramid(grid.coords, grid.num_rows, capacities)
    z = encoder(grid.features, pyramid, train=train)  # (n, c)
    p = predictor(z, grid.num_rows, tracks, train=train)  # (b, m, t, c)
    z = gather_rows(z, tracks, implementation=encoder.unet.execution.implementation)
    return TrackFeatures(p, z, tracks >= 0), pyramid.limits


def make_contrast(
    params: ContrastParams,
    capacities_3d: Sequence[int],
    capacities_4d: Sequence[int],
    *,
    with_4d: bool,
    stride_time: bool,
    axis_name: str | None,
    implementation: Implementation,
) -> FourDContrast:
    """The model that the parameters describe.

    Args:
      params: networks and heads.
      capacities_3d, capacities_4d: rows of a micro-batch at the five levels.
      with_4d: whether any loss needs the 4D network.
      stride_time: whether the 4D network's levels stride time as they stride space.
      axis_name: device axis over which batch statistics are taken.
      implementation: of the sparse operations, see kernels.

    Raises:
      ValueError: an architecture that is not known, or planes and layers that are not eight each.
    """
    execution = Execution(axis_name, params.dtype, params.remat, implementation)

    def make_network(network: NetworkParams, stride: tuple[int, ...]) -> tuple[Encoder, Predictor]:
        unet = make_unet(network, stride, execution)
        encoder = Encoder(unet, params.features, params.projection_batch_norm)
        momentum = network.batch_norm_momentum
        return encoder, Predictor(params.predictor_hidden, momentum, execution)

    networks_4d = (None, None)
    if with_4d:
        networks_4d = make_network(params.network_4d, stride_4d(stride_time))
    return FourDContrast(
        *make_network(params.network_3d, STRIDE_3D),
        *networks_4d,
        capacities_3d=tuple(capacities_3d),
        capacities_4d=tuple(capacities_4d),
    )
