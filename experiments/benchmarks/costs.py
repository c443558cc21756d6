"""What the convolutions of a network must do: operations and bytes, counted from their shapes.

Operations are the multiplications and additions of existing (input voxel, output voxel) pairs, two
for each product, and never what an implementation computes beside them. Bytes of one matrix product
are its compulsory traffic: each input read once, each output written once, the weights once and the
map once (4 bytes an entry: the table [k, outputs] for a forward pass or an input gradient, both
indices of every existing pair for a weight gradient, whose result is float32). Batch normalisation,
activations and the optimiser are not counted.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from fourdc_jax import kernels
from fourdc_jax.sparse.pyramid import Pyramid

Kind = Literal["submanifold", "strided", "transposed", "pointwise"]
Map = kernels.KernelMap | kernels.Downsample
INDEX_BYTES = 4


class Cost(NamedTuple):
    """Work of a call: `products` are the costs of its matrix products, one after another."""

    products: tuple[tuple[float, float], ...] = ()  # (operations, bytes) each

    def __add__(self, other: "Cost") -> "Cost":  # type: ignore[override]
        return Cost(self.products + other.products)

    @property
    def operations(self) -> float:
        return sum(operations for operations, _ in self.products)

    def roofline(self, rate: float, bandwidth: float) -> float:
        """Least seconds at `rate` operations and `bandwidth` bytes a second, product by product."""
        return sum(max(work / rate, moved / bandwidth) for work, moved in self.products)


class Layer(NamedTuple):
    """One convolution of a network.

    Attributes:
      name: path of its parameters.
      kind: which convolution.
      level: of its output, 0 the finest.
      volume: kernel offsets.
      c_in, c_out: channels.
      inputs, outputs: rows in use.
      pairs: existing (input row, output row) pairs of all offsets.
    """

    name: str
    kind: Kind
    level: int
    volume: int
    c_in: int
    c_out: int
    inputs: int
    outputs: int
    pairs: int

    @property
    def operations(self) -> int:
        """Of each of the three products."""
        return 2 * self.pairs * self.c_in * self.c_out

    def forward(self, itemsize: int) -> Cost:
        values = self.inputs * self.c_in + self.outputs * self.c_out + self._weights
        return Cost(((self.operations, itemsize * values + self._table(self.outputs)),))

    def input_gradient(self, itemsize: int) -> Cost:
        values = self.inputs * self.c_in + self.outputs * self.c_out + self._weights
        return Cost(((self.operations, itemsize * values + self._table(self.inputs)),))

    def weight_gradient(self, itemsize: int) -> Cost:
        values = self.inputs * self.c_in + self.outputs * self.c_out
        lists = 0 if self.kind == "pointwise" else 2 * INDEX_BYTES * self.pairs
        return Cost(((self.operations, itemsize * values + 4 * self._weights + lists),))

    def step(self, itemsize: int) -> Cost:
        """Forward pass and both gradients."""
        gradients = self.input_gradient(itemsize) + self.weight_gradient(itemsize)
        return self.forward(itemsize) + gradients

    @property
    def _weights(self) -> int:
        return self.volume * self.c_in * self.c_out

    def _table(self, rows: int) -> int:
        return 0 if self.kind == "pointwise" else INDEX_BYTES * self.volume * rows


class MapSizes(NamedTuple):
    """Rows and existing pairs of every level's map, and the pairs of the stem's."""

    rows: tuple[int, ...]
    pairs: tuple[int, ...]
    stem_pairs: int


def measure_maps(pyramid: Pyramid) -> MapSizes:
    """Counts of a pyramid's maps, by looking at them."""
    count = jax.jit(lambda table: jnp.sum(table >= 0))
    return MapSizes(
        tuple(int(level.num_rows) for level in pyramid.levels),
        tuple(int(count(level.kernel_map.rows)) for level in pyramid.levels),
        int(count(pyramid.stem_map.rows)),
    )


def network_layers(params: Any, sizes: MapSizes) -> list[Layer]:
    """The convolutions of a `SparseUNet`, read off the names and shapes of its parameters."""
    layers = []
    for path, kernel in jax.tree_util.tree_leaves_with_path(params):
        if path[-1].key != "kernel":
            continue
        name = "/".join(entry.key for entry in path[:-1])
        level = _level_of(path[0].key)
        rows, pairs = sizes.rows[level], sizes.pairs[level]
        volume, c_in, c_out = kernel.shape if kernel.ndim == 3 else (1, *kernel.shape)
        if kernel.ndim == 2:
            kind, inputs, pairs = "pointwise", rows, rows
        elif name.startswith("down"):
            kind, inputs = "strided", sizes.rows[level - 1]
            pairs = inputs
        elif name.startswith("up"):
            kind, inputs, pairs = "transposed", sizes.rows[level + 1], rows
        else:
            kind, inputs = "submanifold", rows
            pairs = sizes.stem_pairs if name == "stem_conv" else pairs
        layers.append(Layer(name, kind, level, volume, c_in, c_out, inputs, rows, pairs))
    return layers


def map_of(layer: Layer, pyramid: Pyramid) -> Map:
    """The map of a pyramid that a layer of `network_layers` reads."""
    if layer.kind == "strided":
        return pyramid.downsamples[layer.level - 1]
    if layer.kind == "transposed":
        return pyramid.downsamples[layer.level]
    return pyramid.stem_map if layer.name == "stem_conv" else pyramid.levels[layer.level].kernel_map


def conv_map_of(layer: Layer, kernel_map: Map) -> kernels.ConvMap:
    """What the layer's convolution reads of its map."""
    match layer.kind:
        case "strided":
            return kernel_map.strided
        case "transposed":
            return kernel_map.transposed
        case _:
            return kernel_map.submanifold


def forward_cost(layers: Sequence[Layer], itemsize: int) -> Cost:
    """A network's forward pass."""
    return sum((layer.forward(itemsize) for layer in layers), Cost())


def step_cost(layers: Sequence[Layer], itemsize: int) -> Cost:
    """A network's forward and backward pass; its input needs no gradient."""
    total = Cost()
    for layer in layers:
        stem = layer.name == "stem_conv"
        both = layer.forward(itemsize) + layer.weight_gradient(itemsize)
        total += both if stem else both + layer.input_gradient(itemsize)
    return total


def _level_of(name: str) -> int:
    """Level of the output of a layer of a `SparseUNet`, by the name of its module."""
    if name.startswith("down"):
        return int(name[4])
    if name.startswith("up"):
        return 8 - int(name[2])
    if name.startswith("stage"):
        stage = int(name[5])
        return stage if stage <= 4 else 8 - stage
    return 0  # the stem and the final layer
