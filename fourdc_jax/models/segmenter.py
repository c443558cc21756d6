"""Semantic segmentation of scans: the pre-trained U-Net and one linear layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float32, Int32

from fourdc_jax.models.backbone import STRIDE_3D, Backbone, NetworkParams, make_unet
from fourdc_jax.models.inputs import SceneBatch
from fourdc_jax.sparse.execution import Execution, Implementation
from fourdc_jax.sparse.layers import Pointwise


@dataclass(frozen=True)
class SegmenterParams:
    """The backbone, and how it is trained.

    network_3d: as in pre-training, whose weights it takes.
    freeze_backbone: only the classifier learns, on features that stay as they are (linear probe).
    dtype: of features and matrix products; the classifier is float32.
    remat: recompute residual blocks in the backward pass, which saves memory and costs time.
    """

    network_3d: NetworkParams
    freeze_backbone: bool
    dtype: Literal["float32", "bfloat16"]
    remat: bool


class SegmenterOutput(NamedTuple):
    """Scores of the classes before softmax, 0 on padded rows; needed and available rows."""

    logits: Float32[Array, "n classes"]
    limits: Mapping[str, tuple[Int32[Array, ""], int]]


class Segmenter(nn.Module):
    """Voxels to the scores of their classes: U-Net, then a 1x1x1 layer with bias.

    Attributes:
      encoder_3d: its parameters sit under "encoder_3d/unet", as those of pre-training do.
      classifier: the 1x1x1 layer, in float32.
      capacities: rows of the pyramid's levels.
      freeze_backbone: the U-Net receives no gradient, uses its running statistics, and keeps them.
    """

    encoder_3d: Backbone
    classifier: Pointwise
    capacities: Sequence[int]
    freeze_backbone: bool

    def __call__(self, batch: SceneBatch, *, train: bool) -> SegmenterOutput:
        """Runs the network on a batch of scenes.

        Args:
          batch: its labels are not looked at.
          train: use the batch's statistics and update the running ones (not where frozen).
        """
        grid, unet = batch.grid, self.encoder_3d.unet
        pyramid = unet.build_pyramid(grid.coords, grid.num_rows, self.capacities)
        x = self.encoder_3d(grid.features, pyramid, train=train and not self.freeze_backbone)
        if self.freeze_backbone:
            x = lax.stop_gradient(x)
        logits = self.classifier(x.astype(jnp.float32), grid.num_rows)  # (n, classes)
        return SegmenterOutput(logits, pyramid.limits)


def make_segmenter(
    params: SegmenterParams,
    num_classes: int,
    capacities: Sequence[int],
    *,
    axis_name: str | None,
    implementation: Implementation,
) -> Segmenter:
    """The model that the parameters describe.

    Args:
      params: the backbone.
      num_classes: scores of a voxel.
      capacities: rows of a micro-batch at the five levels.
      axis_name: device axis over which batch statistics are taken.
      implementation: of the sparse operations, see kernels.

    Raises:
      ValueError: an architecture that is not known, or planes and layers that are not eight each.
    """
    execution = Execution(axis_name, params.dtype, params.remat, implementation)
    unet = make_unet(params.network_3d, STRIDE_3D, execution)
    return Segmenter(
        Backbone(unet),
        Pointwise(num_classes, use_bias=True),
        capacities=tuple(capacities),
        freeze_backbone=params.freeze_backbone,
    )
