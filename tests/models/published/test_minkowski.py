"""Converted weights against the same network written densely from MinkowskiEngine's own offsets."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.minkowski import HYBRID, HYPERCUBE, random_state_dict, run_dense

from fourdc_jax import kernels
from fourdc_jax.models.published.minkowski import convert, describe, hybrid_offsets
from fourdc_jax.models.unet import SparseUNet

PLANES, LAYERS = (4, 5, 6, 7, 6, 5, 4, 4), (1, 2, 1, 1, 1, 1, 1, 2)
GRID = 32
OFFSETS = {"hybrid": HYBRID, "hypercube": HYPERCUBE}


@pytest.fixture(scope="module")
def arrays():
    return random_state_dict(np.random.default_rng(0), planes=PLANES, layers=LAYERS)


@pytest.fixture(scope="module")
def coords():
    rng = np.random.default_rng(1)
    return np.unique(rng.integers(0, GRID, (1500, 3)) // [1, 1, 4], axis=0).astype(np.int32)


@partial(jax.jit, static_argnames="unet")
def apply(unet, variables, coords, features):
    pyramid = unet.build_pyramid(coords, jnp.int32(len(coords)), (len(coords),) * 5)
    return unet.apply(variables, features, pyramid, train=False)


def run_sparse(conversion, coords, features):
    """The converted U-Net, and its final layer, in evaluation mode."""
    unet = conversion.network.clone(out_channels=None)
    trees = jax.tree.map(jnp.asarray, conversion.variables)
    variables = {name: tree["encoder_3d"]["unet"] for name, tree in trees.items()}
    y = apply(unet, variables, np.pad(coords, [(0, 0), (1, 0)]), features.astype(np.float32))
    final = conversion.variables["params"]["encoder_3d"]["projection"]
    return np.asarray(y) @ final["kernel"] + final["bias"]


def error(actual, exact):
    return np.abs(actual - exact).max() / np.abs(exact).max()


def test_the_converted_network_equals_the_dense_one(arrays, coords):
    features = np.random.default_rng(2).normal(size=(len(coords), 3))
    results = {
        order: run_sparse(convert(arrays, block_kernels=order), coords, features)
        for order in OFFSETS
    }
    for order, offsets in OFFSETS.items():
        exact = run_dense(arrays, coords, features, GRID, offsets)
        assert error(results[order], exact) < 1e-5
        other = results["hybrid" if order == "hypercube" else "hypercube"]
        assert error(other, exact) > 0.1  # the order of the offsets matters


def test_merged_input_channels_compute_the_same_of_a_constant(arrays, coords):
    conversion = convert(arrays, block_kernels="hybrid", constant_input=True)
    assert conversion.in_channels == 1
    ones = np.ones((len(coords), 3))
    exact = run_dense(arrays, coords, ones, GRID, HYBRID)
    assert error(run_sparse(conversion, coords, ones[:, :1]), exact) < 1e-5


def test_every_kernel_tap_lands_at_its_offset(arrays):
    """A kernel that holds its own offsets, in the documented order, comes out in ours."""
    np.testing.assert_array_equal(hybrid_offsets(), HYBRID)
    kernel = np.zeros_like(arrays["block1.0.conv2.kernel"])  # [27, c, c]
    kernel[:, 0, :3] = HYBRID
    changed = arrays | {"block1.0.conv2.kernel": kernel}
    unet = convert(changed, block_kernels="hybrid").variables["params"]["encoder_3d"]["unet"]
    ours = unet["stage1_block1"]["conv2"]["kernel"][:, 0, :3]
    np.testing.assert_array_equal(ours, kernels.kernel_offsets(3, 3))
    np.testing.assert_array_equal(unet["stem_conv"]["kernel"], arrays["conv0p1s1.kernel"])


@pytest.mark.parametrize("bottleneck", [False, True])
def test_all_arrays_are_used_and_the_architecture_is_found(bottleneck):
    planes, layers = (32, 64, 128, 256, 256, 128, 96, 96), (2, 3, 4, 6, 2, 2, 2, 2)
    arrays = random_state_dict(
        np.random.default_rng(0),
        planes=[width // 16 for width in planes],
        layers=layers,
        bottleneck=bottleneck,
    )
    conversion = convert(arrays, block_kernels="hybrid")
    assert (conversion.left_over, conversion.missing) == ([], [])
    counters = sum(name.endswith("num_batches_tracked") for name in arrays)
    assert len(conversion.loaded) == len(arrays) - counters
    assert conversion.network.layers == layers
    assert conversion.network.block == ("bottleneck" if bottleneck else "basic")
    name = "MinkUNet50" if bottleneck else "Res16UNet34C"
    unet = SparseUNet.named(name, dimension=3, out_channels=2)
    text = describe(conversion._replace(network=unet))
    assert name in text
    assert "stem kernel 3, input channels 3, final channels 2" in text


def test_wrappers_names_are_found_out_and_heads_are_left_over(arrays):
    head = {"head.weight": np.zeros(3, np.float32)}
    wrapped = {f"module.backbone_net.net.{name}": array for name, array in arrays.items()} | head
    conversion = convert(wrapped, block_kernels="hybrid")
    assert conversion.left_over == ["head.weight"]
    assert conversion.loaded == convert(arrays, block_kernels="hybrid").loaded


def test_what_the_checkpoint_lacks_is_missing(arrays):
    fewer = {name: a for name, a in arrays.items() if not name.startswith(("final", "bn2.bn.ru"))}
    conversion = convert(fewer, block_kernels="hybrid")
    assert conversion.missing == [
        "batch_stats/encoder_3d/unet/down2_norm/mean",
        "batch_stats/encoder_3d/unet/down2_norm/var",
    ]
    assert conversion.network.out_channels is None
    assert "projection" not in conversion.variables["params"]["encoder_3d"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv0p1s1.kernel": None}, "one conv0p1s1.kernel is expected; it has bn0"),
        ({"x.conv0p1s1.kernel": np.zeros((27, 3, 4))}, "there are"),
        ({"conv0p1s1.kernel": np.zeros((81, 3, 4))}, r"shape \(81, 3, 4\): \[size\^3"),
        ({"block3.0.conv2.kernel": None}, "there is no block3.0.conv2.kernel"),
        ({"block3.0.conv2.kernel": np.zeros((81, 6, 6))}, "only networks in three dimensions"),
        ({"final.bias": np.zeros((1, 9))}, r"final.bias has shape \[9\].* must be \[2\]"),
        ({"bn1.bn.weight": np.zeros((9,))}, r"bn1.bn.weight has shape \[9\].* must be \[4\]"),
    ],
)
def test_other_weights_are_refused(arrays, change, message):
    changed = {name: a for name, a in (arrays | change).items() if a is not None}
    with pytest.raises(ValueError, match=message):
        convert(changed, block_kernels="hybrid")
