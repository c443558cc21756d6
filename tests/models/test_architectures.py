"""Every architecture has the number of parameters of the public implementation."""

import jax
import jax.numpy as jnp
import pytest

from fourdc_jax.models.architectures import ARCHITECTURES
from fourdc_jax.models.unet import SparseUNet


def count_parameters(unet: SparseUNet, in_channels: int) -> int:
    def initialize(key):
        coords = jnp.zeros((4, 1 + unet.dimension), jnp.int32)
        pyramid = unet.build_pyramid(coords, jnp.int32(1), (4,) * 5)
        return unet.init(key, jnp.zeros((4, in_channels)), pyramid, train=False)["params"]

    shapes = jax.eval_shape(initialize, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize(
    ("in_channels", "out_channels", "stem", "expected"),
    [
        (3, 20, 3, 37_846_644),  # PointContrast and CSC, semantic segmentation
        (3, 20, 5, 37_856_052),  # SpatioTemporalSegmentation's model zoo
        (1, 32, 3, 37_846_080),
        (3, 32, 3, 37_847_808),  # PointContrast's pre-training
        (1, None, 3, 37_842_976),
    ],
)
def test_res16unet34c_in_3d(in_channels, out_channels, stem, expected):
    unet = SparseUNet.named(
        "Res16UNet34C", dimension=3, out_channels=out_channels, stem_kernel_size=stem
    )
    assert count_parameters(unet, in_channels) == expected


@pytest.mark.parametrize(
    ("name", "stem", "millions"),
    [
        ("Res16UNet14", 3, "22.13"),
        ("MinkUNet14", 3, "11.57"),
        ("Res16UNet14A", 3, "8.02"),
        ("MinkUNet14B", 3, "8.95"),
        ("Res16UNet14D", 3, "43.31"),
        ("MinkUNet18", 3, "21.69"),
        ("Res16UNet18B", 3, "17.20"),
        ("Res16UNet34", 3, "57.15"),
        ("Res16UNet34A", 3, "36.60"),
        ("MinkUNet34B", 3, "36.22"),
        ("MinkUNet50", 5, "31.76"),
        ("Res16UNet50", 5, "48.13"),
    ],
)
def test_variants_in_3d(name, stem, millions):
    unet = SparseUNet.named(name, dimension=3, out_channels=20, stem_kernel_size=stem)
    assert f"{count_parameters(unet, 3) / 1e6:.2f}" == millions


@pytest.mark.parametrize(("name", "millions"), [("MinkUNet14", "33.19"), ("Res16UNet14C", "34.14")])
def test_4d_hypercube_with_strided_time(name, millions):
    """MinkUNet14 is the one stock network that rounds to the paper's 33M."""
    unet = SparseUNet.named(name, dimension=4, out_channels=32, stem_kernel_size=5)
    assert f"{count_parameters(unet, 1) / 1e6:.2f}" == millions


def test_4d_network_of_the_paper_exactly():
    """MinkUNet14 layer by layer: k c_in c_out of every convolution, 2 c of every norm."""
    convs = [(5**4, 1, 32), *[(16, 32, 32), (81, 32, 32), (81, 32, 32)]]
    convs += [(16, 32, 32), (81, 32, 64), (81, 64, 64), (1, 32, 64)]
    convs += [(16, 64, 64), (81, 64, 128), (81, 128, 128), (1, 64, 128)]
    convs += [(16, 128, 128), (81, 128, 256), (81, 256, 256), (1, 128, 256)]
    convs += [(16, 256, 256), (81, 384, 256), (81, 256, 256), (1, 384, 256)]
    convs += [(16, 256, 128), (81, 192, 128), (81, 128, 128), (1, 192, 128)]
    convs += [(16, 128, 96), (81, 128, 96), (81, 96, 96), (1, 128, 96)]
    convs += [(16, 96, 96), (81, 128, 96), (81, 96, 96), (1, 128, 96)]
    expected = sum(k * c_in * c_out + 2 * c_out for k, c_in, c_out in convs) + 96 * 32 + 32
    unet = SparseUNet.named("MinkUNet14", dimension=4, out_channels=32, stem_kernel_size=5)
    assert count_parameters(unet, 1) == expected


@pytest.mark.parametrize(
    ("name", "kernel_type", "millions"),
    [
        ("MinkUNet14", "hybrid", "12.33"),
        ("MinkUNet18", "hybrid", "23.20"),
        ("Res16UNet34C", "hybrid", "40.55"),
        ("Res16UNet18A", "hypercube", "44.68"),  # STResTesseract16UNet18A
    ],
)
def test_4d_without_temporal_stride(name, kernel_type, millions):
    """SpatioTemporalSegmentation's ST networks: only residual blocks see time."""
    unet = SparseUNet.named(
        name,
        dimension=4,
        out_channels=32,
        stem_kernel_size=(5, 5, 5, 1),
        stride=(2, 2, 2, 1),
        kernel_type=kernel_type,
    )
    assert f"{count_parameters(unet, 1) / 1e6:.2f}" == millions


def test_every_name_has_eight_stages():
    for name, architecture in ARCHITECTURES.items():
        assert len(architecture.planes) == len(architecture.layers) == 8, name


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'Res16UNet35'.*Res16UNet34C"):
        SparseUNet.named("Res16UNet35", dimension=3, out_channels=20)
