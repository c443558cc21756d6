"""How a launch becomes a custom call; what runs is tested with the operations."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from fourdc_jax.kernels.compiled import launched_kernels
from fourdc_jax.kernels.implementation import lowering_for

pytest.importorskip("jax_triton", reason="jax_triton cannot be imported", exc_type=ImportError)

import jax_triton
import triton.language as tl
from fourdc_jax.kernels.triton_call import jit, launch

# Lowers a jitted call on a host without a GPU, with jax-triton as it was imported.
UNPATCHED = """
import jax, jax.numpy as jnp, jax_triton, triton, triton.language as tl

@triton.jit
def copy(source, target):
    tl.store(target, tl.load(source))

def call(x):
    return jax_triton.triton_call(
        x, kernel=copy, grid=(1,), out_type=x, compute_capability=90,
        backend_options={"enable_fp_fusion": True},
    )

scalar = jax.ShapeDtypeStruct((), jnp.float32)
jax.jit(call).trace(scalar).lower(lowering_platforms=("cuda",))
"""
KNOWN = "_triton_kernel_call_dce_rule() takes 2 positional arguments but 3 were given"


@jit
def _fill(source, first, second, third):
    value = tl.load(source)
    tl.store(first, value)
    tl.atomic_add(second, value)
    tl.store(third, value)


def fill(x, zeroed):
    """Three results of different shapes."""
    outputs = [jax.ShapeDtypeStruct((length,), jnp.float32) for length in (1, 2, 3)]
    return launch(_fill, [x], outputs, grid=(1,), implementation="triton", zeroed=zeroed)


def lower(function):
    """The function of a float32 scalar, for Hopper."""
    with lowering_for(90):
        traced = jax.jit(function).trace(jax.ShapeDtypeStruct((), jnp.float32))
        return traced.lower(lowering_platforms=("cuda",))


@pytest.mark.parametrize("zeroed", [(), (1,), (2, 0), (0, 1, 2)])
def test_results_come_in_the_order_of_the_outputs(zeroed):
    lowered = lower(lambda x: fill(x, zeroed))
    assert [result.shape for result in lowered.out_info] == [(1,), (2,), (3,)]
    (kernel,) = launched_kernels(lowered)
    assert kernel.bytes == 4 * (1 + 1 + 2 + 3)  # a result that starts as zeros counts once


@pytest.mark.parametrize("zeroed", [(), (1,)])
def test_a_call_whose_results_nobody_reads_is_dropped(zeroed):
    def unread(x):
        fill(x, zeroed)
        return x + 1

    assert launched_kernels(lower(unread)) == []
    assert len(launched_kernels(lower(lambda x: fill(x, zeroed)[0]))) == 1


def test_other_users_of_triton_keep_their_cache():
    """jax-triton 0.3 sets the folder to nothing, with which Triton cannot launch by itself."""
    lower(lambda x: fill(x, ()))
    assert os.environ.get("TRITON_CACHE_DIR") != ""


def test_a_grid_without_programs_gives_zeros():
    (out,) = launch(
        _fill, [], [jax.ShapeDtypeStruct((3,), jnp.int32)], grid=(2, 0), implementation="triton"
    )
    assert out.tolist() == [0, 0, 0]


@pytest.mark.skipif(
    jax_triton.__version__.startswith("0.3.") or jax.__version_info__ < (0, 12),
    reason="only jax-triton 0.4 with JAX 0.12 has the rule that cannot be called",
)
def test_the_rule_that_is_removed_still_breaks_every_call(tmp_path):
    script = tmp_path / "unpatched.py"
    script.write_text(UNPATCHED)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode != 0, (
        "jax-triton lowers a call with its own dead-code rule: remove _drop_unread_calls from "
        "kernels/triton_call.py, if calls that nobody reads are dropped without it too."
    )
    assert KNOWN in done.stderr, f"jax-triton fails in another way than before:\n{done.stderr}"
