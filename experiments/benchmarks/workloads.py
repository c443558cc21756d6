"""What the benchmarks run of this engine: single layers, maps and whole networks, with their costs.

A network's call builds its maps anew, as each training step does; a layer's map is built before.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from benchmarks.costs import (
    Cost,
    Layer,
    MapSizes,
    conv_map_of,
    forward_cost,
    measure_maps,
    network_layers,
    step_cost,
)
from benchmarks.timing import Program, compile_calls, compile_step, number_of_sets
from jax.typing import DTypeLike
from jaxtyping import Array, Int32

from fourdc_jax import kernels
from fourdc_jax.models.unet import SparseUNet
from fourdc_jax.sparse.pyramid import Pyramid

LEARNING_RATE, MOMENTUM = 1e-3, 0.9
IN_CHANNELS, OUT_CHANNELS = 3, 20


class Workload(NamedTuple):
    """A call to be timed: how to compile it, and what it costs at least."""

    compile: Callable[[], Program]
    cost: Cost


class Network(NamedTuple):
    """A U-Net on the coordinates of one batch, with its maps and the sizes of these."""

    module: SparseUNet
    coords: Int32[Array, "n columns"]
    capacities: tuple[int, ...]
    pyramid: Pyramid
    sizes: MapSizes

    @property
    def num_rows(self) -> int:
        return self.coords.shape[0]

    def build_pyramid(self, coords: Int32[Array, "n columns"]) -> Pyramid:
        return self.module.build_pyramid(coords, jnp.int32(self.num_rows), self.capacities)


def make_network(
    name: str, coords: Int32[Array, "n columns"], capacities: Sequence[int], **options: Any
) -> Network:
    """The U-Net that the field knows by `name`; `options` of `SparseUNet`."""
    dimension = coords.shape[1] - 1
    module = SparseUNet.named(name, dimension=dimension, out_channels=OUT_CHANNELS, **options)
    rows = jnp.int32(coords.shape[0])
    pyramid = jax.jit(lambda coords: module.build_pyramid(coords, rows, capacities))(coords)
    return Network(module, coords, tuple(capacities), pyramid, measure_maps(pyramid))


def map_workload(network: Network) -> Workload:
    """All maps of the network."""
    return Workload(lambda: compile_calls(network.build_pyramid, [(network.coords,)]), Cost())


def layer_workloads(
    layer: Layer, kernel_map: Any, dtype: DTypeLike, implementation: kernels.Implementation
) -> dict[str, Workload]:
    """One layer on a map: forward, and forward with both gradients.

    The gradients of a layer of few input channels, a stem, leave out that of its input.
    """
    itemsize = jnp.dtype(dtype).itemsize
    stem = layer.c_in == IN_CHANNELS

    def forward(x, w, kernel_map):
        conv_map = conv_map_of(layer, kernel_map)
        return kernels.convolve(x, w, conv_map, implementation=implementation)

    def with_gradients(x, w, grad, kernel_map):
        if stem:
            y, pullback = jax.vjp(lambda w: forward(x, w, kernel_map), w)
        else:
            y, pullback = jax.vjp(lambda x, w: forward(x, w, kernel_map), x, w)
        return y, pullback(grad)

    def argument_sets(with_grad: bool):
        rows = conv_map_of(layer, kernel_map).shape
        x_shape = jax.ShapeDtypeStruct((rows.inputs, layer.c_in), dtype)
        w_shape = jax.ShapeDtypeStruct((layer.volume, layer.c_in, layer.c_out), dtype)
        y_shape = jax.ShapeDtypeStruct((rows.outputs, layer.c_out), dtype)
        num_bytes = itemsize * (x_shape.size + with_grad * y_shape.size)
        for seed in range(number_of_sets(num_bytes)):
            keys = jax.random.split(jax.random.key(seed), 3)
            x = random_rows(keys[0], layer.inputs, x_shape)
            w = random_rows(keys[1], None, w_shape)
            grad = [random_rows(keys[2], layer.outputs, y_shape)] if with_grad else []
            yield (x, w, *grad, kernel_map)

    step = layer.step(itemsize)
    if stem:
        step = layer.forward(itemsize) + layer.weight_gradient(itemsize)
    return {
        "forward": Workload(
            lambda: compile_calls(forward, list(argument_sets(False))), layer.forward(itemsize)
        ),
        "fwd + bwd": Workload(
            lambda: compile_calls(with_gradients, list(argument_sets(True))), step
        ),
    }


def network_workloads(network: Network) -> dict[str, Workload]:
    """Maps and forward pass with batch statistics; maps and a step of SGD with momentum.

    Parameters are float32, features and products have the network's dtype.
    """
    module, itemsize = network.module, jnp.dtype(network.module.execution.dtype).itemsize
    x = jax.random.normal(jax.random.key(1), (network.num_rows, IN_CHANNELS), jnp.float32)

    def initialize(pyramid):
        return module.init(jax.random.key(0), x, pyramid, train=False)

    variables = jax.jit(initialize)(network.pyramid)
    params, statistics = variables["params"], variables["batch_stats"]

    def forward(params, statistics, coords, x):
        variables = {"params": params, "batch_stats": statistics}
        pyramid = network.build_pyramid(coords)
        return module.apply(variables, x, pyramid, train=True, mutable=["batch_stats"])

    def step(state, coords, x):
        params, momentum, statistics = state

        def loss_of(params):
            y, updates = forward(params, statistics, coords, x)
            return jnp.mean(jnp.square(y.astype(jnp.float32))), updates["batch_stats"]

        (loss, statistics), gradient = jax.value_and_grad(loss_of, has_aux=True)(params)
        momentum = jax.tree.map(lambda m, g: MOMENTUM * m + g, momentum, gradient)
        params = jax.tree.map(lambda p, m: p - LEARNING_RATE * m, params, momentum)
        return (params, momentum, statistics), loss

    def compile_forward() -> Program:
        return compile_calls(forward, [(params, statistics, network.coords, x)])

    def compile_training() -> Program:
        state = (params, jax.tree.map(jnp.zeros_like, params), statistics)
        return compile_step(step, state, network.coords, x)

    layers = network_layers(params, network.sizes)
    return {
        "forward": Workload(compile_forward, forward_cost(layers, itemsize)),
        "step": Workload(compile_training, step_cost(layers, itemsize)),
    }


def submanifold_layer(network: Network, c_in: int, c_out: int) -> Layer:
    """A layer of the network's first residual stage's kernel at level 0."""
    rows, pairs = network.sizes.rows[0], network.sizes.pairs[0]
    volume = network.pyramid.levels[0].kernel_map.rows.shape[0]
    return Layer("layer", "submanifold", 0, volume, c_in, c_out, rows, rows, pairs)


def stem_layer(network: Network, c_out: int = 32) -> Layer:
    """The network's first convolution."""
    rows = network.sizes.rows[0]
    volume = network.pyramid.stem_map.rows.shape[0]
    pairs = network.sizes.stem_pairs
    return Layer("stem", "submanifold", 0, volume, IN_CHANNELS, c_out, rows, rows, pairs)


def strided_layers(network: Network, c_in: int, c_out: int) -> tuple[Layer, Layer]:
    """Level 0 to level 1, and back."""
    fine, coarse = network.sizes.rows[:2]
    volume = network.pyramid.downsamples[0].children.shape[0]
    return (
        Layer("strided", "strided", 1, volume, c_in, c_out, fine, coarse, fine),
        Layer("transposed", "transposed", 0, volume, c_in, c_out, coarse, fine, fine),
    )


def random_rows(key: Array, num_rows: int | None, shape: jax.ShapeDtypeStruct) -> Array:
    """Normal random numbers; 0 in the rows from `num_rows` on, if there are such."""
    values = jax.random.normal(key, shape.shape, shape.dtype)
    return values if num_rows is None else kernels.zero_padding(values, jnp.int32(num_rows))
