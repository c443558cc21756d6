"""Config keys that were once called otherwise: the one place that knows older names.

What an earlier version wrote into config.json, and what a user still types on the command line, is
read here under today's names.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from flax.traverse_util import flatten_dict, unflatten_dict

RENAMED = {  # dotted key -> what it is called now
    "init": "init.source",  # on the command line also its short form
    "init_skip": "init.skip",
    "init_new": "init.new",
    "init_rename": "init.rename",
}
REMOVED = ("data.voxels.strides",)  # keys that nothing reads any more
PER_SAMPLE = ("data.capacity.rows_3d", "data.capacity.rows_4d")  # before config.task was a key
ADDED = {  # key -> the value that runs had before it was one; where the rest of its node is there
    "optimizer.kind": "sgd",
    "optimizer.b1": 0.9,
    "optimizer.b2": 0.999,
    "optimizer.epsilon": 1e-8,
    "loss.method": "4dcontrast",
}


def translate_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a run under today's keys, with those it ran with before they were keys.

    Args:
      values: as a config.json holds them.
    """
    flat = flatten_dict(dict(values), keep_empty_nodes=True, sep=".")
    flat = {RENAMED.get(key, key): value for key, value in flat.items() if key not in REMOVED}
    nodes = {key.rpartition(".")[0] for key in flat}
    added = {key: value for key, value in ADDED.items() if key.rpartition(".")[0] in nodes}
    task = guess_task(values)
    if task == "pretrain" and "task" not in values:
        flat |= share_rows(flat)
    return unflatten_dict(added | ({"task": task} if task else {}) | flat, sep=".")


def guess_task(values: Mapping[str, Any]) -> str | None:
    """The task of a config from before it was a key; None where it describes no run."""
    if "sequence" in values:
        return "pretrain"
    return "segmentation" if "validation" in values.get("data", {}) else None


def share_rows(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Given capacities of pre-training, which were rows of a sample, as rows of a micro-batch.

    How many devices the run had is not in its config: it is taken to have as many as now.
    """
    given = {key: flat[key] for key in PER_SAMPLE if flat.get(key)}
    if not given:
        return {}
    samples = flat["batch_size"] // (flat["accumulate"] * jax.device_count())
    return {key: [samples * count for count in rows] for key, rows in given.items()}


def translate_flags(words: Sequence[str]) -> list[str]:
    """The words of a command line, "--config.key=value", under today's keys."""
    return [re.sub(r"^(--?config\.)([\w.]+)(?==|$)", rename, word) for word in words]


def rename(flag: re.Match[str]) -> str:
    """The beginning of a flag with today's name of its key."""
    return flag[1] + RENAMED.get(flag[2], flag[2])
