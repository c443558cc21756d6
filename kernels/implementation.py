"""The one decision of which implementation of an operation runs, and for which GPU."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Literal

import jax

Implementation = Literal["auto", "xla", "cpu", "triton", "interpret"]

INSTALL = "pip install 'fourdc-jax[cuda13]' (or [cuda12])"

_lowering_target: ContextVar[int | None] = ContextVar("lowering_target", default=None)


def resolve(implementation: str) -> Literal["xla", "cpu", "triton", "interpret"]:
    """Name of the implementation to run: Triton on CUDA and XLA elsewhere for `auto`.

    Args:
      implementation: "auto"; "xla" is plain jnp and runs everywhere; "cpu" are kernels for the CPU,
        compiled by numba; "triton" are the GPU kernels; "interpret" runs those in Triton's
        interpreter on the host, slowly, for tests.

    Raises:
      ValueError: the name is unknown, or what it names cannot run here, with the reason.
    """
    if implementation == "auto":
        if compute_capability() is None:
            return "xla"
        if missing := _missing_packages("triton", "jax_triton"):
            warnings.warn(
                f"the GPU runs the slower XLA implementation: {missing}; {INSTALL}.", stacklevel=3
            )
            return "xla"
        return "triton"
    if implementation == "triton":
        if missing := _missing_packages("triton", "jax_triton"):
            raise ValueError(f"implementation='triton' cannot run: {missing}; {INSTALL}.")
        if compute_capability() is None:
            raise ValueError(
                "implementation='triton' needs a CUDA GPU, and JAX found "
                f"{jax.default_backend()!r} devices only. Use 'auto' to run on what is there."
            )
    elif implementation == "interpret":
        if missing := _missing_packages("triton"):
            raise ValueError(f"implementation='interpret' cannot run: {missing}; install triton.")
    elif implementation == "cpu":
        if problem := _cpu_problem():
            raise ValueError(f"implementation='cpu' cannot run: {problem}.")
    elif implementation != "xla":
        raise ValueError(
            f"implementation={implementation!r} is unknown: use 'auto', 'xla', 'cpu', 'triton' or "
            "'interpret'."
        )
    return implementation


@contextmanager
def lowering_for(compute_capability: int) -> Iterator[None]:
    """Programs traced and lowered inside are compiled for this GPU architecture, 90 for Hopper.

    Makes "triton" available without a GPU, to look at what is compiled:
    `jax.jit(f).trace(...).lower(lowering_platforms=("cuda",))`. JAX keeps what it traced: give it a
    new function for another architecture.
    """
    token = _lowering_target.set(compute_capability)
    try:
        yield
    finally:
        _lowering_target.reset(token)


def compute_capability() -> int | None:
    """Architecture that kernels are compiled for, 80 or 90 for example; None without a CUDA GPU."""
    if (target := _lowering_target.get()) is not None:
        return target
    if jax.default_backend() != "gpu":
        return None
    version = str(jax.local_devices(backend="gpu")[0].compute_capability)  # "9.0"; "gfx942" on ROCm
    return int(version.replace(".", "")) if re.fullmatch(r"\d+\.\d", version) else None


def _cpu_problem() -> str:
    if missing := _missing_packages("numba"):
        return f"{missing}; pip install 'fourdc-jax[cpu]'"
    if jax.default_backend() != "cpu":
        return f"JAX runs on {jax.default_backend()!r} devices"
    try:
        from fourdc_jax.kernels import cpu_call
    except ImportError as error:  # numba refuses this Python or this NumPy
        return f"numba cannot be imported: {error}"
    return cpu_call.problem()


def _missing_packages(*names: str) -> str:
    missing = [name.replace("_", "-") for name in names if find_spec(name) is None]
    return f"{' and '.join(missing)} not installed" if missing else ""
