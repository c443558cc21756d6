"""Strict settings for every test: two CPU devices, no silent dtype promotion."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("NPROC", "8")  # host callbacks and collectives wait in XLA's threads
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
)

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory):
    """Runs of the same task share their compiled step through the persistent cache."""
    from fourdc_jax.train.compilation_cache import enable

    before = jax.config.jax_compilation_cache_dir, jax.config.jax_enable_compilation_cache
    seconds = jax.config.jax_persistent_cache_min_compile_time_secs
    enable(str(tmp_path_factory.mktemp("xla")), min_compile_seconds=0.0)
    yield
    jax.config.update("jax_compilation_cache_dir", before[0])
    jax.config.update("jax_enable_compilation_cache", before[1])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)
    compilation_cache.reset_cache()
