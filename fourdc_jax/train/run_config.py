"""`<workdir>/config.json`: what a run was started with, and what may change when it resumes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fourdc_jax.files import read_json, write_atomically
from fourdc_jax.train.renamed_keys import translate_config

FILE = "config.json"
FREE = ("total_steps", "log", "checkpoint", "eval")  # keys that do not alter the steps of a run


def write_config(workdir: Path, config: ConfigDict) -> None:
    """Writes the config beside the checkpoints."""
    write_atomically(Path(workdir) / FILE, json.dumps(plain(config), indent=2) + "\n")


def read_config(workdir: Path) -> dict[str, Any]:
    """The plain values that a run was started with, under today's keys; lists for tuples.

    Raises:
      FileNotFoundError: if the workdir holds no config.json.
      ValueError: it is not as a run writes it.
    """
    path = Path(workdir) / FILE
    if not path.is_file():
        raise FileNotFoundError(f"{workdir} holds no {FILE}; name the workdir of a run")
    values = read_json(path)
    if not isinstance(values, dict):
        raise ValueError(f"{path} is none of a run: it holds no object")
    return translate_config(values)


def check_resumable(workdir: Path, config: ConfigDict) -> None:
    """Raises unless `config` continues the run of `workdir` as it was started.

    `total_steps` may change (unless the learning rate's polynomial ends there), and so may
    everything below `log`, `checkpoint` and `eval`.

    Raises:
      ValueError: names every other key that differs, with both values.
      FileNotFoundError: if the workdir holds checkpoints but no config.json.
    """
    path = Path(workdir) / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{workdir} holds checkpoints but no {FILE}, so nobody can tell what they continue; "
            "choose a new --workdir"
        )
    free = set(FREE)
    if config.optimizer.schedule == "polynomial":
        free.discard("total_steps")
    before, now = flatten(read_config(workdir)), flatten(plain(config))
    changed = [
        f"{key} (was {before.get(key, 'absent')!r}, is {now.get(key, 'absent')!r})"
        for key in sorted(before.keys() | now.keys())
        if before.get(key, "absent") != now.get(key, "absent") and key.split(".")[0] not in free
    ]
    if changed:
        raise ValueError(
            f"{workdir} holds a run with another config, which these keys would alter midway: "
            f"{', '.join(changed)}. Restore them, or choose a new --workdir"
        )


def plain(config: ConfigDict) -> dict[str, Any]:
    """A config as JSON reads it back: dicts, and lists for tuples."""
    return json.loads(json.dumps(config.to_dict()))


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts -> {"a.b.c": value}."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
