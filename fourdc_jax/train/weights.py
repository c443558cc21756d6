"""Weights from elsewhere as a workdir that runs can start from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fourdc_jax.train.checkpoints import FOLDER, Checkpoints, Retention
from fourdc_jax.train.run_config import write_config
from fourdc_jax.train.state import TrainState, split_variables


def write_weights(
    out: Path, variables: Mapping[str, Any], config: Mapping[str, Any], step: int = 0
) -> None:
    """Writes variables as the only checkpoint of a new workdir, which `config.init.source` takes.

    Args:
      out: the folder, which is made.
      variables: {"params": ..., and collections}, NumPy arrays or JAX's.
      config: plain values that describe the network, as a run's config.json would.
      step: of the checkpoint.

    Raises:
      FileExistsError: there are checkpoints already.
    """
    if (out / FOLDER).exists():
        raise FileExistsError(f"{out} holds checkpoints already: name a new folder as --out.")
    out.mkdir(parents=True, exist_ok=True)
    write_config(out, ConfigDict(config))
    params, collections = split_variables(variables)
    state = TrainState(np.int32(step), params, collections, opt_state={})
    with Checkpoints(out, Retention(1, 0, ""), asynchronous=False) as checkpoints:
        checkpoints.save(step, state, [], {})
