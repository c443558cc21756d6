"""What is read off compiled programs, without a GPU."""

import jax
import jax.numpy as jnp
import pytest
from fourdc_jax.kernels.compiled import (
    CompiledKernel,
    Resources,
    assemble,
    count_launches,
    launched_kernels,
    programs_per_multiprocessor,
)
from fourdc_jax.kernels.implementation import lowering_for

from fourdc_jax import kernels

pytest.importorskip("jax_triton")

PROGRAM = """HloModule jit_f

%fused_add (p: f32[8], q: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  %q = f32[8]{0} parameter(1)
  ROOT %add.1 = f32[8]{0} add(%p, %q)
}

%region (a: s32[], b: s32[]) -> s32[] {
  %a = s32[] parameter(0)
  %b = s32[] parameter(1)
  ROOT %add.2 = s32[] add(%a, %b)
}

%body (state: (f32[8], s32[])) -> (f32[8], s32[]) {
  %state = (f32[8]{0}, s32[]) parameter(0)
  %x = f32[8]{0} get-tuple-element(%state), index=0
  %copy.1 = f32[8]{0} copy(%x)
  ROOT %tuple = (f32[8]{0}, s32[]) tuple(%copy.1, %copy.1)
}

ENTRY %main (x: f32[8]) -> (f32[8], s32[]) {
  %x.1 = f32[8]{0} parameter(0)
  %fusion = f32[8]{0} fusion(%x.1, %x.1), kind=kLoop, calls=%fused_add
  %call.1 = (f32[8]{0}, s32[]) custom-call(%fusion), custom_call_target="triton_kernel_call"
  %reduce = s32[] reduce(%x.1, %x.1), dimensions={0}, to_apply=%region
  ROOT %while = (f32[8]{0}, s32[]) while(%call.1), condition=%condition, body=%body
}
"""


@pytest.fixture(scope="module")
def kernels_of_a_layer():
    """Of a bfloat16 layer of 64 channels, its map and its gradients, for capability 9.0."""
    n, dtype = 256, jnp.bfloat16

    def layer(x, w, grad, coords):
        kmap = kernels.build_kernel_map(coords, jnp.int32(n), implementation="triton")
        convolve = lambda x, w: kernels.sparse_conv(x, w, kmap, implementation="triton")  # noqa: E731
        y, pullback = jax.vjp(convolve, x, w)
        return y, pullback(grad)

    x, w = jax.ShapeDtypeStruct((n, 64), dtype), jax.ShapeDtypeStruct((27, 64, 64), dtype)
    with lowering_for(90):
        traced = jax.jit(layer).trace(x, w, x, jax.ShapeDtypeStruct((n, 4), jnp.int32))
        return launched_kernels(traced.lower(lowering_platforms=("cuda",)))


def test_every_launch_of_a_lowered_program_is_found_in_order(kernels_of_a_layer):
    names = [kernel.name for kernel in kernels_of_a_layer]
    assert names[-3:] == ["_implicit_gemm", "_implicit_gemm", "_weight_gradient"]
    assert len(names) > 3
    assert {kernel.architecture for kernel in kernels_of_a_layer} == {90}


def test_grid_bytes_and_code_are_those_of_the_launch(kernels_of_a_layer):
    gemm = kernels_of_a_layer[-3]
    assert 256 % gemm.grid[0] == 0
    assert f".entry {gemm.name}" in gemm.ptx
    assert gemm.bytes > 2 * (2 * 256 * 64 + 27 * 64 * 64) + 4 * 27 * 256
    assert any(shape.startswith("wgmma m64") for shape in gemm.matrix_shapes)
    assert gemm.asynchronous_copies[16] > 0
    assert 0 < gemm.shared_memory < 232_448


def test_the_assembler_says_registers_and_no_spills(kernels_of_a_layer):
    resources = assemble(kernels_of_a_layer[-3])
    assert 32 <= resources.registers <= 255
    assert resources.spilled == 0


def test_code_that_is_none_is_refused(kernels_of_a_layer):
    broken = kernels_of_a_layer[-3]
    broken = broken._replace(ptx=broken.ptx.replace("wgmma.mma_async", "wgmma.nonsense"))
    with pytest.raises(RuntimeError, match="ptxas"):
        assemble(broken)


@pytest.mark.parametrize(
    ("warps", "shared", "registers", "programs"),
    [
        (4, 0, 32, 16),  # 64 warps
        (4, 0, 128, 4),  # 128 registers x 128 threads are a quarter of 65536
        (4, 0, 129, 3),  # a warp's registers come in blocks of 256: 136 each
        (8, 100 * 1024, 64, 2),  # 101 KiB each of 228
        (1, 0, 16, 32),  # the most programs that there may be
    ],
)
def test_programs_of_a_multiprocessor(warps, shared, registers, programs):
    kernel = CompiledKernel("k", 90, warps, shared, (1, 1, 1), "", 0)
    assert programs_per_multiprocessor(kernel, Resources(registers, 0)) == programs


def test_bodies_of_fusions_and_reductions_are_no_launches():
    assert count_launches(PROGRAM) == {"fusion": 1, "custom-call": 1, "reduce": 1, "copy": 1}
