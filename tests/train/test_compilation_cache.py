"""Compiled programs stay on disk, where the user's caches are."""

import pathlib

import jax
import jax.numpy as jnp
import pytest

from fourdc_jax.train.compilation_cache import default_folder, enable


def test_the_default_is_below_the_users_cache_folder(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_folder() == pathlib.Path("/somewhere/fourdc_jax/xla")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder() == pathlib.Path.home() / ".cache" / "fourdc_jax" / "xla"


@pytest.mark.usefixtures("compiled_once")
def test_a_program_is_written_only_while_the_cache_is_on():
    folder = pathlib.Path(jax.config.jax_compilation_cache_dir)
    jax.jit(lambda x: jnp.sin(x) * 3)(1.0)
    written = len(list(folder.iterdir()))
    assert written > 0
    enable("", min_compile_seconds=0.0)
    jax.jit(lambda x: jnp.sin(x) * 4)(1.0)
    assert len(list(folder.iterdir())) == written
