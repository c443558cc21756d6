"""Strict settings for every test: two CPU devices, no silent dtype promotion."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("NPROC", "8")  # host callbacks and collectives wait in XLA's threads
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
)

import jax

jax.config.update("jax_numpy_dtype_promotion", "strict")
