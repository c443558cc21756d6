"""The U-Net that all tasks share: made of its parameters, its levels, and how far it sees."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fourdc_jax.models.backbone import (
    STRIDE_3D,
    NetworkParams,
    level_strides,
    make_unet,
    receptive_radius,
    stride_4d,
)
from fourdc_jax.sparse.execution import Execution

NETWORK = NetworkParams(
    architecture="Res16UNet34C",
    planes=(),
    layers=(),
    block="basic",
    stem_channels=32,
    stem_kernel_size=(3, 3, 3),
    kernel_type="hypercube",
    batch_norm_momentum=0.1,
    block_batch_norm_momentum=0.2,
)


def test_a_unet_is_what_its_parameters_say():
    execution = Execution("device", "bfloat16", True, "xla")
    unet = make_unet(NETWORK, STRIDE_3D, execution)
    assert (unet.layers, unet.out_channels) == ((2, 3, 4, 6, 2, 2, 2, 2), None)
    assert (unet.batch_norm_momentum, unet.block_batch_norm_momentum) == (0.1, 0.2)
    assert (unet.execution, unet.stride, unet.dimension) == (execution, STRIDE_3D, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"planes": (4,) * 8}, "by the name 'Res16UNet34C' and by planes"),
        ({"architecture": "", "planes": (4,) * 7}, "7 planes and 0 layers"),
        ({"stem_kernel_size": (3, 3)}, r"\(3, 3\) of the 3D network needs one entry"),
    ],
)
def test_an_impossible_network_is_told(changes, message):
    with pytest.raises(ValueError, match=message):
        make_unet(replace(NETWORK, **changes), STRIDE_3D, Execution())


@pytest.mark.parametrize("stride", [STRIDE_3D, stride_4d(True), stride_4d(False)])
def test_level_strides_are_those_of_the_pyramid(stride):
    """So many cells of each level's stride do random coordinates fill as its pyramid has rows."""
    rng = np.random.default_rng(0)
    coords = np.unique(rng.integers(-20, 20, (300, len(stride))), axis=0).astype(np.int32)
    padded = np.insert(coords, 0, 0, axis=1)
    network = replace(NETWORK, stem_kernel_size=(3,) * len(stride))
    unet = make_unet(network, stride, Execution())
    build = jax.jit(lambda c, n: unet.build_pyramid(c, n, (len(coords),) * 5).levels)
    levels = build(padded, jnp.int32(len(coords)))
    filled = [len(np.unique(coords // step, axis=0)) for step in level_strides(stride)]
    assert [int(level.num_rows) for level in levels] == [len(coords), *filled]


def test_the_radius_of_the_papers_network():
    """1 + 15 down + 15 up + 2 convolutions in 2, 3, 4, 6, 2, 2, 2, 2 blocks at their strides."""
    convolutions = 2 * (2 * 2 + 3 * 4 + 4 * 8 + 6 * 16 + 2 * 8 + 2 * 4 + 2 * 2 + 2 * 1)
    assert receptive_radius(make_unet(NETWORK, STRIDE_3D, Execution())) == 31 + convolutions
