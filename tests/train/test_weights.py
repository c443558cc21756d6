"""Weights from elsewhere, written for runs to start from."""

import jax
import numpy as np
import pytest

from fourdc_jax.train.run_config import read_config
from fourdc_jax.train.transfer import transfer
from fourdc_jax.train.weights import write_weights


def test_written_weights_are_started_from(tmp_path):
    variables = {
        "params": {"a": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}},
        "batch_stats": {"a": {"mean": np.ones(3, np.float32)}},
    }
    out = tmp_path / "new" / "folder"
    write_weights(out, variables, {"model": {"planes": (4, 8)}})
    assert read_config(out) == {"model": {"planes": [4, 8]}}
    started, _ = transfer(jax.tree.map(np.zeros_like, variables), out)
    jax.tree.map(np.testing.assert_array_equal, started, variables)
    with pytest.raises(FileExistsError, match="holds checkpoints already: name a new folder"):
        write_weights(out, variables, {})
