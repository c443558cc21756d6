"""Operations and bytes of layers, from their shapes and the sizes of maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks.costs import Cost, Layer, forward_cost, network_layers, step_cost
from benchmarks.rooms import level_capacities
from benchmarks.workloads import make_network, network_workloads

from fourdc_jax.sparse.execution import Execution

LAYER = Layer("layer", "submanifold", 0, 27, 32, 64, inputs=100, outputs=100, pairs=800)


def test_the_three_products_of_a_layer_have_the_same_operations():
    assert LAYER.operations == 2 * 800 * 32 * 64
    assert LAYER.step(2).operations == 3 * LAYER.operations


def test_bytes_are_each_array_once_and_the_map_once():
    values, weights = 100 * 32 + 100 * 64, 27 * 32 * 64
    table = 4 * 27 * 100
    expected = [2 * (values + weights) + table] * 2 + [2 * values + 4 * weights + 8 * 800]
    assert [moved for _, moved in LAYER.step(2).products] == expected


def test_the_roofline_takes_the_larger_time_of_every_product():
    cost = Cost(((10.0, 1.0), (1.0, 10.0)))
    assert cost.roofline(rate=1.0, bandwidth=1.0) == 20.0
    assert cost.roofline(rate=10.0, bandwidth=1.0) == 11.0


@pytest.fixture(scope="module")
def isolated():
    """A U-Net on 8 voxels so far apart that none has a neighbour on any level."""
    cells = np.indices((2, 2, 2)).reshape(3, -1).T * 64
    coords = jnp.asarray(np.insert(cells, 0, 0, axis=1).astype(np.int32))
    capacities = level_capacities(coords)
    execution = Execution(implementation="xla")
    return make_network("MinkUNet14", coords, capacities, stem_kernel_size=5, execution=execution)


def test_without_neighbours_every_parameter_of_a_kernel_meets_its_voxels_once(isolated):
    def initialize(x, pyramid):
        return isolated.module.init(jax.random.key(0), x, pyramid, train=False)["params"]

    params = jax.eval_shape(initialize, jnp.ones((8, 3)), isolated.pyramid)
    layers = network_layers(params, isolated.sizes)
    shapes = [leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    assert forward_cost(layers, 4).operations == sum(2 * 8 * a * b for *_, a, b in shapes)
    stem = 2 * 8 * 3 * 32
    assert step_cost(layers, 4).operations == 3 * forward_cost(layers, 4).operations - stem


@pytest.mark.slow
def test_a_training_step_runs_again_and_again(isolated):
    program = network_workloads(isolated)["step"].compile()
    program.run(3)
    assert program.calls == 1
    assert program.mebibytes > 0
