"""Which implementation runs, and what is said of one that cannot."""

import pytest
from fourdc_jax.kernels.implementation import resolve


def test_an_unknown_implementation_raises():
    with pytest.raises(ValueError, match="'cuda' is unknown"):
        resolve("cuda")


def test_triton_without_a_gpu_says_so():
    with pytest.raises(ValueError, match=r"CUDA GPU|not installed"):
        resolve("triton")
