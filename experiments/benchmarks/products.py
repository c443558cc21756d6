"""The matrix products of a convolution, one kernel each: what a tile is chosen for.

A forward pass is an implicit GEMM, or a narrow convolution where a submanifold layer has few input
channels; the input gradient is an implicit GEMM over the map read backwards; the weight gradient
runs over the pairs, or over the table of a narrow convolution.
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
from benchmarks.costs import Cost, Layer, Map, conv_map_of
from fourdc_jax.kernels.compiled import CompiledKernel, launched_kernels
from fourdc_jax.kernels.implementation import lowering_for
from fourdc_jax.kernels.sparse_conv.tile_table import Problem, Tile, log2_of_rows
from fourdc_jax.kernels.sparse_conv.triton_gemm import implicit_gemm
from fourdc_jax.kernels.sparse_conv.triton_narrow import (
    NARROW_CHANNELS,
    narrow_conv,
    narrow_weight_gradient,
)
from fourdc_jax.kernels.sparse_conv.triton_weight_gradient import weight_gradient
from jaxtyping import Array, Float

Direction = Literal["forward", "input gradient", "weight gradient"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "input gradient", "weight gradient")


class Product(NamedTuple):
    """One product of a layer.

    Attributes:
      layer: with the rows in use.
      direction: which of the three products.
      num_inputs, num_outputs: rows of the layer's arrays, padding included.
      problem: what its tile is looked up by.
    """

    layer: Layer
    direction: Direction
    num_inputs: int
    num_outputs: int
    problem: Problem

    def cost(self, itemsize: int) -> Cost:
        layer = self.layer
        if self.direction == "forward":
            return layer.forward(itemsize)
        if self.direction == "input gradient":
            return layer.input_gradient(itemsize)
        return layer.weight_gradient(itemsize)


def products_of(layer: Layer, kernel_map: Map, dtype: str, architecture: int) -> list[Product]:
    """The products of a training step; a stem's input needs no gradient."""
    shape = conv_map_of(layer, kernel_map).shape
    narrow = layer.kind == "submanifold" and layer.c_in <= NARROW_CHANNELS
    products = []
    for direction in DIRECTIONS:
        c_in, c_out, rows = layer.c_in, layer.c_out, shape.outputs
        operation = "narrow_conv" if narrow else "gemm"
        if direction == "input gradient":
            if layer.name == "stem_conv":
                continue
            operation, c_in, c_out, rows = "gemm", layer.c_out, layer.c_in, shape.inputs
        elif direction == "weight gradient":
            operation = "narrow_weight_gradient" if narrow else "weight_gradient"
        sizes = (layer.volume, c_in, c_out, log2_of_rows(rows))
        problem = Problem(operation, architecture, dtype, *sizes)
        products.append(Product(layer, direction, shape.inputs, shape.outputs, problem))
    return products


def shapes_of(product: Product) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Of the layer's features, weights and output gradient."""
    layer, dtype = product.layer, product.problem.dtype
    return (
        jax.ShapeDtypeStruct((product.num_inputs, layer.c_in), dtype),
        jax.ShapeDtypeStruct((layer.volume, layer.c_in, layer.c_out), dtype),
        jax.ShapeDtypeStruct((product.num_outputs, layer.c_out), dtype),
    )


def compile_product(product: Product, tile: Tile, kernel_map: Map) -> CompiledKernel:
    """The product's kernel with this tile, for the problem's architecture; needs no GPU."""
    with lowering_for(product.problem.architecture):
        traced = jax.jit(partial(run_product, product, tile)).trace(*shapes_of(product), kernel_map)
        (kernel,) = launched_kernels(traced.lower(lowering_platforms=("cuda",)))
    return kernel


def run_product(
    product: Product,
    tile: Tile,
    features: Float[Array, "n c_in"],
    weights: Float[Array, "k c_in c_out"],
    grad: Float[Array, "m c_out"],
    kernel_map: Map,
    implementation: Literal["triton", "interpret"] = "triton",
) -> Array:
    """Output, input gradient or weight gradient of the layer, by a kernel with this tile."""
    layer, how = product.layer, {"precision": "ieee", "implementation": implementation}
    reads = conv_map_of(layer, kernel_map)
    if product.problem.operation == "narrow_conv":
        return narrow_conv(features, weights, reads.rows, reads.num_rows, tile, **how)
    if product.problem.operation == "narrow_weight_gradient":
        return narrow_weight_gradient(features, grad, reads.rows, reads.num_rows, tile, **how)
    if product.direction == "forward":
        out, _ = implicit_gemm(
            features, weights, reads.tiles, reads.num_rows, product.num_outputs, tile, **how
        )
        return out
    if product.direction == "input gradient":
        out, _ = implicit_gemm(
            grad, weights, reads.input_tiles, reads.num_input_rows, product.num_inputs, tile,
            transposed=True, mirrored=reads.mirrored, **how,
        )  # fmt: skip
        return out
    return weight_gradient(features, grad, reads.pairs, reads.num_rows, layer.volume, tile, **how)
