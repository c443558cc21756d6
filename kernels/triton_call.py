"""The one bridge between JAX and Triton.

`launch` makes a Triton kernel a JAX operation: a custom call on CUDA (through jax-triton), or a run
of Triton's interpreter on the host (implementation "interpret", for tests). A kernel is written
once, with `@jit`; its parameters are the inputs, the outputs and then `tl.constexpr` constants.
"""

import inspect
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import triton
import triton.experimental.gluon  # the interpreter would import it when that fails
import triton.language as tl
from fourdc_jax.kernels.implementation import compute_capability
from jax.custom_batching import custom_vmap
from jaxtyping import Array
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction


def jit(function: Callable[..., Any]) -> JITFunction:
    """Make a function a Triton kernel, or one that kernels call; run-time type checks stay out."""
    return triton.jit(inspect.unwrap(function))


_interpreter_lock = threading.RLock()  # the interpreter keeps its state in module globals


def launch(
    kernel: JITFunction,
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

    if 0 in grid:
        return tuple(jnp.zeros(output.shape, output.dtype) for output in outputs)

    @custom_vmap
    def call(*arrays: Array) -> tuple[Array, ...]:
        if implementation == "interpret":
            run = _Interpreted(kernel, tuple(outputs), grid, tuple(zeroed), constants)
            return jax.pure_callback(run, tuple(outputs), *arrays)
        options = {"num_warps": num_warps, "num_stages": num_stages}
        options["zeroed_outputs"] = tuple(zeroed)
        return _custom_call(kernel, arrays, tuple(outputs), grid, options | constants)

    @call.def_vmap
    def refuse(axis_size, in_batched, *arrays):
        raise ValueError(
            "sparse operations do not go under jax.vmap: the batch index is the first column of "
            "the coordinates. Concatenate the scenes into one coordinate array instead."
        )

    return tuple(call(*inputs))


def _custom_call(kernel, arrays, outputs, grid, options) -> tuple[Array, ...]:
    import jax_triton  # needs a CUDA plugin of JAX, which the interpreter does not

    _write_portable_ptx()
    if "out_shape" in inspect.signature(jax_triton.triton_call).parameters:  # jax-triton 0.3
        options |= {"out_shape": outputs}
    else:
        options |= {"out_type": outputs, "backend_options": {"enable_fp_fusion": True}}
        _drop_unread_calls()
    with warnings.catch_warnings():  # 0.4 prefers references, which 0.3 does not have
        warnings.filterwarnings("ignore", "zeroed_outputs is deprecated", DeprecationWarning)
        return jax_triton.triton_call(
            *arrays, kernel=kernel, grid=grid, compute_capability=compute_capability(), **options
        )


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

    jax-triton 0.4 keeps them alive, by a rule that JAX 0.12 cannot even call.
    """
    from jax.interpreters import partial_eval
    from jax_triton.triton_lib import triton_kernel_call_p

    partial_eval.dce_rules.pop(triton_kernel_call_p, None)


class _Interpreted:
    """Host function that runs a kernel in Triton's interpreter on NumPy arrays."""

    def __init__(self, kernel, outputs, grid, zeroed, constants):
        self.kernel, self.outputs, self.grid = kernel, outputs, grid
        self.zeroed, self.constants = zeroed, constants

    def __call__(self, *arrays: Any) -> tuple[np.ndarray, ...]:
        inputs = [_interpretable(np.array(array, order="C")) for array in arrays]
        results = [_interpretable(_poisoned(output)) for output in self.outputs]
        for number in self.zeroed:
            results[number][...] = 0
        pointers = [_HostArray(array) for array in (*inputs, *results)]
        with _interpreter_lock, _interpreted_functions(self.kernel):
            kernel = InterpretedFunction(self.kernel.fn)
            kernel.run(*pointers, grid=self.grid, warmup=False, **self.constants)
        return tuple(result.astype(output.dtype) for result, output in zip(results, self.outputs))


def _interpretable(array: np.ndarray) -> np.ndarray:
    """The interpreter multiplies no bfloat16: such arrays are float32 there, rounded at the end."""
    return array.astype(np.float32) if array.dtype == jnp.bfloat16 else array


def _poisoned(output: jax.ShapeDtypeStruct) -> np.ndarray:
    """What uninitialised memory may hold at worst."""
    if jnp.issubdtype(output.dtype, jnp.inexact):
        return np.full(output.shape, np.nan, output.dtype)
    return np.full(output.shape, np.iinfo(output.dtype).max // 2, output.dtype)


@contextmanager
def _interpreted_functions(kernel: JITFunction) -> Iterator[None]:
    """Let every `@jit` function that the kernel can reach run in the interpreter.

    Triton decides between compiler and interpreter when a function is decorated, for the whole
    process. Here both are wanted, so the functions are exchanged for the time of one launch; what
    the interpreter itself changes in Triton's language is undone as well.
    """
    homes = [tl.standard, *_modules_of(kernel)]  # there the interpreter's additions stay
    scopes = [tl, *homes]
    changed = [*scopes, tl.core, tl.math, tl.tensor, tl.dtype, tl.condition]
    changed.append(tl.core.tensor_descriptor_base)
    before = [dict(vars(scope)) for scope in changed]
    try:
        for scope in scopes:
            for name, value in list(vars(scope).items()):
                if isinstance(value, JITFunction):
                    setattr(scope, name, _twin(value.fn))
        yield
    finally:
        for scope, attributes in zip(changed, before):
            for name, value in list(vars(scope).items()):
                if name in attributes and value is not attributes[name]:
                    setattr(scope, name, attributes[name])
                elif name not in attributes and scope not in homes:
                    delattr(scope, name)


def _modules_of(kernel: JITFunction) -> list[ModuleType]:
    """The kernel's own module, and those of the `@jit` functions that it imports, and so on."""
    found, queue = [], [inspect.getmodule(kernel.fn)]
    while queue:
        module = queue.pop()
        if module not in found:
            found.append(module)
            functions = [value for value in vars(module).values() if isinstance(value, JITFunction)]
            queue += [inspect.getmodule(function.fn) for function in functions]
    return found


@cache
def _twin(function: Callable[..., Any]) -> InterpretedFunction:
    """One interpreted function for all names of a function: the interpreter compares them."""
    return InterpretedFunction(function)


class _HostArray:
    """A NumPy array with the few methods of a PyTorch tensor that Triton's interpreter calls."""

    def __init__(self, array: np.ndarray):
        self.array, self.dtype = array, array.dtype

    def data_ptr(self) -> int:
        return self.array.ctypes.data

    def untyped_storage(self) -> "_HostArray":
        return self

    def new_empty(self, *_: Any, **__: Any) -> "_HostArray":
        return _HostArray(np.empty(0, self.array.dtype))

    def set_(self, storage: "_HostArray", *_: Any) -> None:
        self.array = storage.array

    def storage_offset(self) -> int:
        return 0

    def size(self) -> tuple[int, ...]:
        return self.array.shape

    def stride(self) -> tuple[int, ...]:
        return tuple(step // self.array.itemsize for step in self.array.strides)

    def copy_(self, other: "_HostArray") -> None:
        """The interpreter wrote into the same memory."""

    def cpu(self) -> "_HostArray":
        return self
