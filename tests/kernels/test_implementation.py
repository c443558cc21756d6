"""Which implementation runs, and what is said of one that cannot."""

import sys

import pytest
from fourdc_jax.kernels import implementation
from fourdc_jax.kernels.implementation import resolve

from fourdc_jax import kernels


def test_an_unknown_implementation_raises():
    with pytest.raises(ValueError, match="'cuda' is unknown"):
        resolve("cuda")


def test_triton_without_a_gpu_says_so():
    with pytest.raises(ValueError, match=r"CUDA GPU|not installed"):
        resolve("triton")


def test_a_numba_that_cannot_be_imported_is_a_reason(monkeypatch):
    monkeypatch.setattr(implementation, "_missing_packages", lambda *names: "")
    monkeypatch.delattr(kernels, "cpu_call", raising=False)
    monkeypatch.setitem(sys.modules, "fourdc_jax.kernels.cpu_call", None)
    with pytest.raises(ValueError, match=r"'cpu' cannot run: (numba cannot be imported|JAX runs)"):
        resolve("cpu")
