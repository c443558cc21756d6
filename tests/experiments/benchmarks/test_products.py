"""Single products with a tile of one's own, and what is counted of them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks.costs import map_of, measure_maps
from benchmarks.kernel_times import TileCounts, count_active
from benchmarks.products import products_of, run_product, shapes_of
from benchmarks.rooms import level_capacities, room_voxels
from benchmarks.tile_search import tune
from benchmarks.workloads import Network, random_rows, stem_layer, strided_layers, submanifold_layer
from fourdc_jax.kernels.kernel_map.sort_keys import submanifold_key
from fourdc_jax.kernels.sparse_conv.tile_table import choose_tile

from fourdc_jax import kernels
from fourdc_jax.models.unet import SparseUNet
from fourdc_jax.sparse.pyramid import Level, Pyramid

pytest.importorskip("triton")

ROWS = 200


@pytest.fixture(scope="module")
def networks():
    """The first two levels of a U-Net, with maps of both implementations."""
    return [two_levels(implementation) for implementation in ("xla", "interpret")]


def two_levels(implementation):
    module = SparseUNet.named("MinkUNet14", dimension=3, out_channels=None)
    coords, rows, how = room_voxels(ROWS, 0.05), jnp.int32(ROWS), {"implementation": implementation}
    capacities = level_capacities(coords)[:2]
    kmap = kernels.build_kernel_map(coords, rows, **how)
    down = kernels.downsample(coords, rows, capacity=capacities[1], **how)
    levels = (Level(coords, rows, kmap), Level(down.coords, down.num_rows, kmap))
    pyramid = Pyramid(levels, (down,), kmap, jnp.int32(0))
    return Network(module, coords, tuple(capacities), pyramid, measure_maps(pyramid))


def layers_of(network):
    return [
        submanifold_layer(network, 16, 32),
        stem_layer(network, 16)._replace(name="stem_conv"),
        *strided_layers(network, 16, 24),
    ]


@pytest.mark.parametrize("number", range(4))
def test_products_are_the_layer_and_its_gradients(networks, number):
    xla, triton = networks
    layer = layers_of(xla)[number]
    reference = {
        "submanifold": kernels.sparse_conv,
        "strided": kernels.strided_conv,
        "transposed": kernels.transposed_conv,
    }[layer.kind]
    products = products_of(layer, map_of(layer, triton.pyramid), "float32", 90)
    keys = jax.random.split(jax.random.key(number), 3)
    used = (layer.inputs, None, layer.outputs)
    x, w, grad = map(random_rows, keys, used, shapes_of(products[0]))
    kernel_map = map_of(layer, xla.pyramid)
    convolve = partial(reference, implementation="xla")
    y, pullback = jax.vjp(lambda x, w: convolve(x, w, kernel_map), x, w)
    expected = dict(zip(("input gradient", "weight gradient"), pullback(grad)))
    expected["forward"] = y
    directions = [product.direction for product in products]
    own = ["forward", "input gradient", "weight gradient"]
    assert directions == [name for name in own if number != 1 or name != "input gradient"]
    for product in products:
        tile, kernel_map = choose_tile(product.problem), map_of(layer, triton.pyramid)
        result = run_product(product, tile, x, w, grad, kernel_map, implementation="interpret")
        np.testing.assert_allclose(result, expected[product.direction], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [64, 128])
def test_active_offsets_are_counted_as_the_maps_have_them(networks, rows):
    xla, triton = networks
    kernel_map = triton.pyramid.levels[0].kernel_map
    key = submanifold_key(np.asarray(kernels.kernel_offsets(3, 3)), ROWS)
    counted = count_active(np.asarray(xla.pyramid.levels[0].kernel_map.rows) >= 0, key, rows)
    active = np.asarray(kernel_map.tiles.active)[:, 0].reshape(-1, rows // 64)
    assert counted == int(np.bitwise_count(np.bitwise_or.reduce(active, axis=1)).sum())


def test_tiles_of_strided_maps_are_counted_as_the_maps_have_them(networks):
    xla, triton = networks
    counts = TileCounts(xla)
    down = triton.pyramid.downsamples[0]
    for layer, tiles in zip(strided_layers(xla, 16, 32), (down.tiles, down.transposed_tiles)):
        forward = products_of(layer, down, "float32", 90)[0]
        tile = choose_tile(forward.problem)
        active = np.asarray(tiles.active)[:, 0].reshape(-1, tile.rows // 64)
        places = np.bitwise_count(np.bitwise_or.reduce(active, axis=1)).sum() * tile.rows
        assert counts.redundancy(forward, tile) == pytest.approx(places / layer.pairs)


def test_the_search_ends_with_a_tile_that_is_right(networks, capsys):
    pytest.importorskip("jax_triton")
    _, triton = networks
    layer = stem_layer(triton, 16)._replace(name="stem_conv")
    kernel_map = map_of(layer, triton.pyramid)
    product = products_of(layer, kernel_map, "float32", 90)[0]
    tile = tune(product, kernel_map, rounds=1, implementation="interpret")
    assert tile.rows in (32, 64, 128)
    assert "narrow_conv float32 27 offsets 3>16, 2^8 rows" in capsys.readouterr().out
    assert (product.num_inputs, product.num_outputs) == (ROWS, ROWS)
    x, w, grad = map(
        random_rows, jax.random.split(jax.random.key(0), 3), [None] * 3, shapes_of(product)
    )
    results = [
        run_product(product, choice, x, w, grad, kernel_map, implementation="interpret")
        for choice in (tile, choose_tile(product.problem))
    ]
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-4)
    assert jnp.abs(results[0]).max() > 0
