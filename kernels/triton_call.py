"""The one bridge between JAX and Triton.

`launch` makes a Triton kernel a JAX operation: a custom call on CUDA (through jax-triton), or a run
of Triton's interpreter on the host (implementation "interpret", for tests). A kernel is written
once, with `@jit`; its parameters are the inputs, the outputs and then `tl.constexpr` constants.
"""

import inspect
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import triton
from fourdc_jax.kernels.batching import refuse_vmap
from fourdc_jax.kernels.implementation import compute_capability
from jaxtyping import Array


def jit(function: Callable[..., Any]) -> triton.JITFunction:
    """Make a function a Triton kernel, or one that kernels call; run-time type checks stay out."""
    return triton.jit(inspect.unwrap(function))


def launch(
    kernel: triton.JITFunction,
    inputs: Sequence[Array],
    outputs: Sequence[jax.ShapeDtypeStruct],
    *,
    grid: tuple[int, ...],
    implementation: Literal["triton", "interpret"],
    num_warps: int = 4,
    num_stages: int = 3,
    zeroed: Sequence[int] = (),
    **constants: Any,
) -> tuple[Array, ...]:
    """Run a kernel on a grid of programs.

    Args:
      kernel: decorated with `jit`; called with a pointer for each input, one for each output, and
        the constants by name. It must write every element that anybody reads.
      inputs: arrays; scalars that are known on the device only are arrays of shape ().
      outputs: shapes and dtypes of the results.
      grid: number of programs along up to three axes. Without any program all results are 0.
      zeroed: numbers of the outputs that hold 0 when the kernel starts. The others hold anything;
        the interpreter poisons them with NaN or a large number.
      num_warps, num_stages: of the compiled kernel; the interpreter has neither.

    Raises:
      ValueError: under `jax.vmap`, with the reason.
    """

    outputs, zeroed = tuple(outputs), tuple(zeroed)
    if 0 in grid:
        return tuple(jnp.zeros(output.shape, output.dtype) for output in outputs)

    @refuse_vmap
    def call(*arrays: Array) -> tuple[Array, ...]:
        if implementation == "interpret":
            return _host_callback(kernel, arrays, outputs, grid, zeroed, constants)
        options = {"num_warps": num_warps, "num_stages": num_stages} | constants
        return _custom_call(kernel, arrays, outputs, grid, zeroed, options)

    return tuple(call(*inputs))


def _host_callback(kernel, arrays, outputs, grid, zeroed, constants) -> tuple[Array, ...]:
    from fourdc_jax.kernels.interpreter import interpret  # private parts of Triton, not for GPUs

    def run(*arrays):
        return interpret(kernel, arrays, outputs, grid, zeroed, constants)

    return jax.pure_callback(run, outputs, *arrays)


def _custom_call(kernel, arrays, outputs, grid, zeroed, options) -> tuple[Array, ...]:
    import jax_triton  # needs a CUDA plugin of JAX, which the interpreter does not

    _write_portable_ptx()
    call = partial(
        jax_triton.triton_call,
        *arrays,
        kernel=kernel,
        grid=grid,
        compute_capability=compute_capability(),
        **options,
    )
    if "out_shape" in inspect.signature(jax_triton.triton_call).parameters:  # jax-triton 0.3
        if os.environ.get("TRITON_CACHE_DIR") == "":  # its import leaves this, and Triton's own
            del os.environ["TRITON_CACHE_DIR"]  # launches fail in a process that has it
        return call(out_shape=outputs, zeroed_outputs=zeroed)
    _drop_unread_calls()
    # Outputs that start as zeros are references, passed by name; the others fill what is left.
    names = kernel.arg_names[len(arrays) :][: len(outputs)]
    references = {
        names[number]: jax.new_ref(jnp.zeros(outputs[number].shape, outputs[number].dtype))
        for number in zeroed
    }
    others = tuple(output for name, output in zip(names, outputs) if name not in references)
    written = iter(call(out_type=others, backend_options={"enable_fp_fusion": True}, **references))
    return tuple(references[n][...] if n in references else next(written) for n in names)


def _write_portable_ptx() -> None:
    """Write PTX that drivers and assemblers since CUDA 12.9 load, as Triton did up to 3.8.

    Triton takes the PTX version from one of the two assemblers in its wheel; for Hopper it is now
    the newer one, whose PTX needs the newest driver.
    """
    tools = triton.knobs.nvidia
    if hasattr(tools, "ptxas_blackwell") and compute_capability() < 100:
        tools.ptxas_blackwell = tools.ptxas.path


def _drop_unread_calls() -> None:
    """Let JAX drop kernel calls whose results nobody reads, as any other operation.

    jax-triton 0.4 has a rule of its own that keeps them alive. It takes two arguments; JAX 0.12
    gives it three, so that no jitted call can be lowered as long as the rule is there.
    """
    from jax_triton import triton_lib

    triton_lib.pe.dce_rules.pop(triton_lib.triton_kernel_call_p, None)
