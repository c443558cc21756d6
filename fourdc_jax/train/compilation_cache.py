"""Compile once, start fast afterwards: XLA's persistent cache."""

import os
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache


def default_folder() -> Path:
    """Below the user's cache directory (`XDG_CACHE_HOME`, else ~/.cache)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fourdc_jax" / "xla"


def enable(folder: str, min_compile_seconds: float) -> None:
    """Keeps compiled programs on disk.

    Args:
      folder: where; "" turns the cache off.
      min_compile_seconds: shorter compilations are not worth a file.
    """
    compilation_cache.reset_cache()  # else JAX keeps to what it found at the first compilation
    jax.config.update("jax_enable_compilation_cache", bool(folder))
    if folder:
        jax.config.update("jax_compilation_cache_dir", str(Path(folder).expanduser()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", min_compile_seconds)
