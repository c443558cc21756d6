"""The kernels compiled for A100 and Hopper on a host without a GPU: what their code contains."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import pytest
from fourdc_jax.kernels.compiled import LARGEST_SHARED_MEMORY, assemble, launched_kernels
from fourdc_jax.kernels.implementation import lowering_for
from fourdc_jax.kernels.sparse_conv.tile_table import read_table, table_text

from fourdc_jax import kernels

pytest.importorskip("jax_triton", reason="jax_triton cannot be imported", exc_type=ImportError)

ROWS = 100_000
LAYERS = [(32, 32), (64, 64), (128, 96), (96, 96), (128, 128), (256, 256)]


def compile_kernels(architecture, function, *shapes):
    """The kernels that a function launches, in order."""
    with lowering_for(architecture):
        fresh = jax.jit(lambda *args: function(*args))  # traces are cached across architectures
        return launched_kernels(fresh.trace(*shapes).lower(lowering_platforms=("cuda",)))


def gather_gradient(features, rows, grad):
    gather = partial(kernels.gather_rows, rows=rows, implementation="triton")
    return jax.vjp(gather, features)[1](grad)


PROGRAMS = {  # the number of launches of each
    "table": (2, partial(kernels.build_hash_table, implementation="triton")),
    "map": (5, partial(kernels.build_kernel_map, implementation="triton")),
    "stem": (
        5,
        lambda coords, n: kernels.build_kernel_map(
            coords, n, kernel_size=(5, 5, 5, 1)[: coords.shape[1] - 1], implementation="triton"
        ),
    ),
    "downsample": (
        8,
        partial(kernels.downsample, capacity=ROWS // 2, implementation="triton"),
    ),
}


@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("dimension", [3, 4])
@pytest.mark.parametrize("program", PROGRAMS)
def test_maps_compile_without_spills(program, dimension, architecture):
    launches, build = PROGRAMS[program]
    coords = jax.ShapeDtypeStruct((ROWS, 1 + dimension), jnp.int32)
    compiled = compile_kernels(architecture, build, coords, jax.ShapeDtypeStruct((), jnp.int32))
    assert len(compiled) == launches
    for kernel in compiled:
        check_compiled(kernel)


@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_sums_of_readers_compile_without_spills(dtype, architecture):
    shapes = [((5000, 96), dtype), ((8, 4096), jnp.int32), ((8, 4096, 96), dtype)]
    shapes = [jax.ShapeDtypeStruct(*shape) for shape in shapes]
    (kernel,) = compile_kernels(architecture, gather_gradient, *shapes)
    check_compiled(kernel)


def compile_layer(architecture, conv, map_of, c_in, c_out, dtype):
    """Kernels of the forward pass and of both gradients of one layer."""
    with lowering_for(architecture):
        m = jax.eval_shape(map_of, jax.ShapeDtypeStruct((ROWS, 4), jnp.int32), jnp.int32(0))
    volume = (m.rows if isinstance(m, kernels.KernelMap) else m.children).shape[0]
    n, outputs = rows_of(conv, m)

    def step(m, x, w, g):
        y, pullback = jax.vjp(lambda x, w: conv(x, w, m, implementation="triton"), x, w)
        return y, pullback(g)

    shapes = [(n, c_in), (volume, c_in, c_out), (outputs, c_out)]
    arrays = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
    return compile_kernels(architecture, step, m, *arrays)


def rows_of(conv, m):
    """Input and output rows of a convolution over a map."""
    if conv is kernels.sparse_conv:
        return m.rows.shape[1], m.rows.shape[1]
    fine, coarse = m.parents.shape[0], m.children.shape[1]
    return (fine, coarse) if conv is kernels.strided_conv else (coarse, fine)


def check_compiled(kernel, *, tensor_cores=False, wgmma=False):
    """No spills, shared memory that fits, matrix instructions and copies that overlap them."""
    resources = assemble(kernel)
    assert re.search(rf"\.target sm_{kernel.architecture}", kernel.ptx)
    assert resources.spilled == 0, f"{kernel.name} spills {resources.spilled} bytes"
    assert kernel.shared_memory <= LARGEST_SHARED_MEMORY[kernel.architecture]
    if not tensor_cores:
        return
    kinds = {shape.split()[0] for shape in kernel.matrix_shapes}
    assert kinds == ({"wgmma"} if wgmma else {"mma"}), f"{kernel.name}: {kernel.matrix_shapes}"
    blocks = re.split(r"^\$L__BB\w+:", kernel.ptx, flags=re.MULTILINE)
    loops = [block for block in blocks if re.search(r"wgmma\.mma_async|mma\.sync", block)]
    assert any("cp.async.c" in block for block in loops), f"{kernel.name} does not overlap copies"


@pytest.mark.parametrize(("c_in", "c_out"), LAYERS)
@pytest.mark.parametrize("architecture", [80, 90])
def test_a_layer_runs_on_tensor_cores_and_copies_ahead(architecture, c_in, c_out):
    build = partial(kernels.build_kernel_map, implementation="triton")
    compiled = compile_layer(architecture, kernels.sparse_conv, build, c_in, c_out, jnp.bfloat16)
    assert [kernel.name for kernel in compiled].count("_implicit_gemm") == 2
    assert [kernel.name for kernel in compiled].count("_weight_gradient") == 1
    for kernel in compiled:
        # WGMMA multiplies 64 rows at a time: of a weight gradient those are input channels.
        fills = kernel.name == "_implicit_gemm" or min(c_in, c_out) >= 64
        check_compiled(kernel, tensor_cores=True, wgmma=architecture == 90 and fills)


def test_every_tile_of_the_table_compiles():
    """Entries that a tuner wrote; none where nothing was tuned yet."""
    for problem in read_table(table_text()):
        volume = {27: 3, 125: 5}.get(problem.volume)
        if volume is None or problem.architecture not in LARGEST_SHARED_MEMORY:
            continue
        build = partial(kernels.build_kernel_map, kernel_size=volume, implementation="triton")
        layer = (kernels.sparse_conv, build, problem.c_in, problem.c_out, problem.dtype)
        for kernel in compile_layer(problem.architecture, *layer):
            check_compiled(kernel)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32])
@pytest.mark.parametrize("architecture", [80, 90])
def test_other_dtypes_compile(architecture, dtype):
    build = partial(kernels.build_kernel_map, implementation="triton")
    for c_in, c_out in ((16, 48), (64, 64), (100, 96), (256, 256)):
        compiled = compile_layer(architecture, kernels.sparse_conv, build, c_in, c_out, dtype)
        for kernel in compiled:
            check_compiled(kernel)


def test_float32_is_exact_unless_tensor_float_is_asked_for():
    build = partial(kernels.build_kernel_map, implementation="triton")
    arguments = (90, kernels.sparse_conv, build, 64, 64, jnp.float32)
    assert not any(kernel.matrix_shapes for kernel in compile_layer(*arguments))
    with jax.default_matmul_precision("tensorfloat32"):
        assert all(kernel.matrix_shapes for kernel in compile_layer(*arguments))


@pytest.mark.parametrize("architecture", [80, 90])
def test_the_stem_runs_on_tensor_cores(architecture):
    build = partial(kernels.build_kernel_map, kernel_size=5, implementation="triton")
    compiled = compile_layer(architecture, kernels.sparse_conv, build, 3, 32, jnp.bfloat16)
    by_name = {kernel.name: kernel for kernel in compiled}
    for name in ("_narrow_conv", "_narrow_weight_gradient"):
        check_compiled(by_name[name], tensor_cores=True, wgmma=architecture == 90)


@pytest.mark.parametrize("conv", [kernels.strided_conv, kernels.transposed_conv])
@pytest.mark.parametrize("architecture", [80, 90])
def test_strided_layers_run_on_tensor_cores(architecture, conv):
    build = partial(kernels.downsample, capacity=ROWS // 3, implementation="triton")
    for kernel in compile_layer(architecture, conv, build, 128, 128, jnp.bfloat16):
        check_compiled(kernel, tensor_cores=True, wgmma=architecture == 90)


@pytest.mark.slow
def test_four_dimensional_layers_compile():
    build = partial(kernels.build_kernel_map, implementation="triton")

    def map_of(coords, num_rows):
        five = jnp.concatenate([coords, coords[:, :1]], axis=1)
        return build(five, num_rows)

    for kernel in compile_layer(90, kernels.sparse_conv, map_of, 64, 64, jnp.bfloat16):
        check_compiled(kernel, tensor_cores=True, wgmma=True)
