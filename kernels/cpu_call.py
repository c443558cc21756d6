"""The one bridge between JAX and numba.

`launch` makes a numba function a JAX operation on the CPU: the function is compiled to a handler of
XLA's foreign function interface. A kernel is written once, with `@jit`; its parameters are the
call, the inputs, the outputs and then constants. Functions with `@shared` spread its work over
XLA's threads. `problem` says whether all this can run here.
"""

import ctypes
import hashlib
import inspect
import platform
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import jax
import jax.numpy as jnp
import numba
import numpy as np
from fourdc_jax.kernels import cpu_frame
from fourdc_jax.kernels.batching import refuse_vmap
from fourdc_jax.kernels.cpu_frame import set_word, word
from fourdc_jax.kernels.cpu_pool import COMPILER, shared
from jaxtyping import Array
from numba.core.dispatcher import Dispatcher

__all__ = ["jit", "launch", "problem", "shared"]

SYSTEMS = ("linux", "darwin")  # elsewhere nobody has tried


def jit(function: Callable[..., Any]) -> Dispatcher:
    """Make a function a CPU kernel, or one that kernels call; run-time type checks stay out.

    A kernel is called as kernel(call, *inputs, *outputs, *constants) with C-contiguous NumPy arrays
    (of shape () for scalars) in the memory of XLA, and int64 or float64 constants. It returns
    nothing, or 0, or the number of an error, counted from 1.
    """
    return numba.njit(**COMPILER)(inspect.unwrap(function))


def launch(
    kernel: Dispatcher,
    inputs: Sequence[Array],
    outputs: Sequence[jax.ShapeDtypeStruct],
    *,
    variant: str = "",
    errors: Sequence[str] = (),
    **constants: int | float,
) -> tuple[Array, ...]:
    """Run a kernel once on whole arrays.

    Args:
      kernel: decorated with `jit`. It must write every element that anybody reads.
      inputs: arrays; scalars that are known on the device only are arrays of shape ().
      outputs: shapes and dtypes of the results. Memory for the kernel's own use is an output that
        the caller drops: XLA plans it with all other memory.
      variant: tells apart kernels that one function makes (a vector width, say); needed where the
        kernel reads variables of a function around it.
      errors: sentences of the error numbers that the kernel may return. Such a call ends in a
        jax.errors.JaxRuntimeError with the sentence (outside `jax.jit` in a ValueError).
      constants: by the names of the kernel's last parameters.

    Raises:
      ValueError: under `jax.vmap`, with the reason.
      TypeError: a dtype that numba has not, or constants that do not fit the kernel.
    """
    names = tuple(inspect.signature(kernel.py_func).parameters)[1 + len(inputs) + len(outputs) :]
    if sorted(names) != sorted(constants):
        raise TypeError(
            f"the constants of {kernel.py_func.__name__} are {names}, got {tuple(constants)}."
        )
    if kernel.py_func.__closure__ and not variant:
        raise TypeError(f"{kernel.py_func.__name__} reads variables around it: name its variant.")
    values = {name: _scalar(constants[name]) for name in names}
    buffers = [("arguments", i, _dtype(a.dtype), a.ndim) for i, a in enumerate(inputs)]
    buffers += [("results", i, _dtype(a.dtype), len(a.shape)) for i, a in enumerate(outputs)]
    order = sorted(names)  # XLA sorts attributes by name
    scalars = [("attributes", order.index(name), _dtype(values[name].dtype)) for name in names]
    target = _register(kernel, variant, (*buffers, *scalars), tuple(errors))

    @refuse_vmap
    def call(*arrays: Array) -> tuple[Array, ...]:
        return tuple(jax.ffi.ffi_call(target, tuple(outputs))(*arrays, **values))

    return call(*inputs)


def _scalar(value: int | float) -> np.generic:
    return np.float64(value) if isinstance(value, float) else np.int64(value)


@cache
def _dtype(dtype: np.dtype) -> numba.types.Type:
    try:
        return numba.from_dtype(np.dtype(dtype))
    except (NotImplementedError, numba.errors.NumbaError):
        raise TypeError(f"CPU kernels have no {dtype}: use the XLA implementation.") from None


@cache
def _register(kernel: Dispatcher, variant: str, kinds: tuple, errors: tuple[str, ...]) -> str:
    """Compiles a kernel for these buffers and gives XLA its address; the name of both.

    The name is the same in every process, so that XLA's compilation cache finds its programs.
    """
    function = kernel.py_func
    full_name = f"{function.__module__}.{function.__qualname__}"
    text = f"{full_name} {variant} {[(kind[0], *map(str, kind[1:])) for kind in kinds]} {errors}"
    short = hashlib.sha256(text.encode()).hexdigest()[:16]
    name = f"{full_name}.{short}"
    scope = {
        "kernel": kernel,
        "read_arguments": cpu_frame.argument_reader(kinds),
        "failure": cpu_frame.failure_maker(errors),
    }
    handler = FunctionType(inspect.unwrap(_handle).__code__, globals() | scope, "handle")
    handler.__qualname__ = f"{function.__name__}-{short}-{_sources()}"
    compiled = _compile(handler)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(compiled))  # XLA keeps the address for ever
    jax.ffi.register_ffi_target(name, _capsule(compiled.address), platform="cpu")
    return name


def _compile(handler: FunctionType) -> Any:
    """The handler as machine code, from numba's cache on the disk where that can be written."""
    signature = "int64(int64)"
    try:
        return numba.cfunc(signature, cache=True, **COMPILER)(handler)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        return numba.cfunc(signature, **COMPILER)(handler)


@cache
def _sources() -> str:
    """Stands for the text of all CPU kernels: numba's cache looks at one file only."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("cpu*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


def _capsule(address: int) -> Any:
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = (
        ctypes.py_object,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
    )
    return new(address, None, None)


def _handle(frame):
    """A handler: XLA calls it with the address of a call frame, and takes the address of an error.

    `kernel`, `read_arguments` and `failure` are put into its scope for each kernel.
    """
    if word(frame, cpu_frame.EXTENSION) != 0:
        _tell_version(word(frame, cpu_frame.EXTENSION))
        return 0
    return failure(frame, kernel(frame, *read_arguments(frame)))


@jit
def _tell_version(extension):
    """Answers XLA's question for which version of its interface the handler was written."""
    if word(extension, cpu_frame.EXTENSION_KIND) & 0xFFFFFFFF != cpu_frame.METADATA_KIND:
        return
    metadata = word(extension, cpu_frame.EXTENSION_METADATA)
    if word(metadata, 0) < cpu_frame.SMALLEST_METADATA:
        return
    set_word(metadata, cpu_frame.VERSION_SIZE, 24)
    set_word(metadata, cpu_frame.VERSION_EXTENSION, 0)
    numbers = cpu_frame.API_MAJOR | cpu_frame.API_MINOR << 32
    set_word(metadata, cpu_frame.VERSION_NUMBERS, numbers)
    traits = word(metadata, cpu_frame.TRAITS)
    set_word(metadata, cpu_frame.TRAITS, traits >> 32 << 32)  # no trait; the other half is padding


@cache
def problem() -> str:
    """Why numba kernels cannot run in this process: a part of a sentence, or nothing."""
    if sys.platform not in SYSTEMS or sys.byteorder != "little" or sys.maxsize < 2**62:
        return f"CPU kernels are for 64-bit {' and '.join(SYSTEMS)}, this is {sys.platform}"
    if platform.python_implementation() != "CPython":
        return f"numba needs CPython, this is {platform.python_implementation()}"
    if numba.config.DISABLE_JIT:
        return "NUMBA_DISABLE_JIT is set"
    try:
        with (
            jax.ensure_compile_time_eval(),
            jax.default_device(jax.local_devices(backend="cpu")[0]),
        ):
            return _compare_frame()
    except Exception as error:  # whatever it is, the XLA implementation can run
        return f"a first numba kernel failed ({type(error).__name__}: {error})"


def _compare_frame() -> str:
    """Runs one kernel that looks at its own call frame."""
    given = jnp.arange(6, dtype=jnp.int32).reshape(2, 3)
    outputs = (
        jax.ShapeDtypeStruct((2, 3), jnp.int32),
        jax.ShapeDtypeStruct((len(FOUND),), jnp.int32),
    )
    run = jax.jit(lambda array: launch(_look, (array,), outputs, factor=7, half=0.5))
    products, found = (np.asarray(array) for array in run(given))
    for (name, expected, may_grow), actual in zip(FOUND, found):
        if actual < expected or (actual > expected and not may_grow):
            return f"XLA's call frame has changed: {name} is {actual}, not {expected}"
    if not np.array_equal(products, np.asarray(given) * 14):
        return "a first numba kernel computed wrong values"
    return ""


# What `_look` finds in its frame: name, expected value, and whether it may be larger.
FOUND = (
    ("the size of the frame", cpu_frame.SMALLEST_FRAME, True),
    ("the size of the arguments", cpu_frame.ARGUMENTS_BYTES, False),
    ("the size of the results", cpu_frame.RESULTS_BYTES, False),
    ("the size of the attributes", cpu_frame.SMALLEST_ATTRIBUTES, True),
    ("the size of a buffer", cpu_frame.SMALLEST_BUFFER, True),
    ("the size of the function table", cpu_frame.SMALLEST_API, True),
    ("the number of arguments", 1, False),
    ("the number of results", 2, False),
    ("the number of attributes", 2, False),
    ("the rank of a buffer", 2, False),
)


@jit
def _look(call, given, products, found, factor, half):
    first = word(word(call, cpu_frame.ARGUMENTS), 0)
    found[0] = word(call, 0)
    found[1] = word(call, cpu_frame.ARGUMENTS_SIZE)
    found[2] = word(call, cpu_frame.RESULTS_SIZE)
    found[3] = word(call, cpu_frame.ATTRIBUTES_SIZE)
    found[4] = word(first, 0)
    found[5] = word(word(call, cpu_frame.API), 0)
    found[6] = word(call, cpu_frame.NUM_ARGUMENTS)
    found[7] = word(call, cpu_frame.NUM_RESULTS)
    found[8] = word(call, cpu_frame.NUM_ATTRIBUTES)
    found[9] = word(first, cpu_frame.BUFFER_RANK)
    _multiply_row(call, given.shape[0], given, products, factor, half)


@shared
def _multiply_row(row, given, products, factor, half):
    for column in range(given.shape[1]):
        products[row, column] = given[row, column] * factor / half
