"""Triton's interpreter beside its compiler, in one process."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("triton")

import triton
import triton.language as tl
from fourdc_jax.kernels.interpreter import interpret
from fourdc_jax.kernels.triton_call import jit


@jit
def _double(value):
    return 2 * value


@jit
def _write_some(source, target, counts, WRITTEN: tl.constexpr):
    place = tl.arange(0, 4)  # (4,)
    tl.store(target + place, _double(tl.load(source + place)), mask=place < WRITTEN)
    tl.atomic_add(counts, 1)


@jit
def _fail(source, target):
    tl.store(target, tl.load(source) + no_such_name)


def run(dtype, zeroed=(), written=2):
    source = np.asarray(jnp.arange(1, 5, dtype=dtype))
    outputs = [jax.ShapeDtypeStruct((4,), dtype), jax.ShapeDtypeStruct((), jnp.int32)]
    return interpret(_write_some, [source], outputs, (3,), zeroed, {"WRITTEN": written})


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_what_a_kernel_does_not_write_is_nan(dtype):
    target, _ = run(dtype)
    assert target.dtype == dtype
    np.testing.assert_array_equal(target.astype(np.float32), [2, 4, np.nan, np.nan])


def test_what_a_kernel_does_not_write_is_a_large_number():
    target, count = run(jnp.int32)
    assert target.tolist() == [2, 4, 2**30 - 1, 2**30 - 1]
    assert count == 2**30 - 1 + 3


def test_zeroed_outputs_are_zero_when_the_programs_start():
    target, count = run(jnp.int32, zeroed=(0, 1))
    assert target.tolist() == [2, 4, 0, 0]
    assert count == 3


def test_the_compiler_finds_its_functions_again():
    """After a launch and after one that fails: Triton's language and the kernels' module."""
    scopes = (tl, tl.core, tl.math, tl.tensor, tl.dtype)
    before = [dict(vars(scope)) for scope in scopes]
    run(jnp.float32)
    source, output = np.zeros((), np.float32), jax.ShapeDtypeStruct((), jnp.float32)
    with pytest.raises(Exception, match="no_such_name"):
        interpret(_fail, [source], [output], (1,), (), {})
    assert [dict(vars(scope)) for scope in scopes] == before
    assert all(type(f) is triton.JITFunction for f in (_double, _write_some, tl.standard.sum))
