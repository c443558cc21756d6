"""Triton's interpreter on the host: runs a kernel on NumPy arrays, slowly, for tests.

Triton decides between compiler and interpreter for a whole process; here both are wanted. What is
fragile about that is in this file alone.
"""

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import triton.experimental.gluon  # noqa: F401 (the interpreter would import it when that fails)
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction

_lock = threading.RLock()  # the interpreter keeps its state in module globals


def interpret(
    kernel: JITFunction,
    inputs: Sequence[jax.Array | np.ndarray],
    outputs: Sequence[jax.ShapeDtypeStruct],
    grid: tuple[int, ...],
    zeroed: Sequence[int],
    constants: dict[str, Any],
) -> tuple[np.ndarray, ...]:
    """Run a kernel on a grid of programs, one after another; what it does not write is poisoned.

    Args:
      kernel, inputs, outputs, grid, zeroed, constants: as `triton_call.launch` takes them.
    """
    arrays = [_interpretable(np.array(array, order="C")) for array in inputs]
    results = [_interpretable(_poisoned(output)) for output in outputs]
    for number in zeroed:
        results[number][...] = 0
    pointers = [_HostArray(array) for array in (*arrays, *results)]
    with _lock, _interpreted_functions(kernel):
        InterpretedFunction(kernel.fn).run(*pointers, grid=grid, warmup=False, **constants)
    return tuple(result.astype(output.dtype) for result, output in zip(results, outputs))


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

    Triton decides when a function is decorated; the functions are exchanged for the time of one
    launch. What the interpreter itself changes in Triton's language is undone as well.
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
