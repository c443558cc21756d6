"""A task small enough to test training with; as a script, one run of it in a process of its own.

python tests/train/toy_training.py WORKDIR TOTAL_STEPS SECONDS_A_BATCH [PORT INDEX]
"""

import dataclasses
import pathlib
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fourdc_jax.train.task import LossOutput, Task


def toy_config(**changes: Any) -> ConfigDict:
    """Every key that the training loop reads; `changes` by dotted names."""
    config = ConfigDict(
        {
            "seed": 3,
            "total_steps": 8,
            "batch_size": 8,
            "accumulate": 1,
            "init": "",
            "init_skip": (),
            "init_new": (),
            "init_rename": (),
            "optimizer": {
                "learning_rate": 0.1,
                "momentum": 0.8,
                "dampening": 0.0,
                "weight_decay": 1e-2,
                "schedule": "exponential",
                "decay_rate": 0.5,
                "decay_every": 3,
                "power": 0.9,
            },
            "checkpoint": {
                "every": 2,
                "keep_last": 2,
                "keep_every": 0,
                "best_metric": "",
                "asynchronous": True,
            },
            "log": {"every": 1, "tensorboard": False, "collapse_fraction": 0.2},
        }
    )
    config.update_from_flattened_dict(changes)
    return config.lock()


class ToyBatches:
    """Regression samples, each a function of (step, index) alone."""

    def __init__(self, config: ConfigDict, spoil: dict[int, str], pause: float, on_batch: Any):
        self.config, self.spoil, self.pause, self.on_batch = config, spoil, pause, on_batch
        self.index = 0

    def __iter__(self) -> "ToyBatches":
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        time.sleep(self.pause)
        rng = np.random.default_rng((self.config.seed, self.index))
        x = rng.normal(size=(self.config.batch_size, 3)).astype(np.float32)
        batch = {"x": x, "y": x @ np.float32([1.0, -2.0, 0.5]), "weight": np.ones_like(x[:, 0])}
        batch["weight"][rng.integers(self.config.batch_size)] = 0.0  # unequal counts
        self.index += 1
        match self.spoil.get(self.index):
            case "nan":
                batch["y"][0] = np.nan
                batch["weight"][0] = 1.0
            case "crowded":
                batch["x"][0, 0] = 1e3
        if self.on_batch is not None:
            self.on_batch(self.index)
        devices = (jax.process_count(), jax.local_device_count(), self.config.accumulate)
        local = jax.process_index()
        return {k: v.reshape(*devices, -1, *v.shape[1:])[local] for k, v in batch.items()}

    def get_state(self) -> bytes:
        return str(self.index).encode()

    def set_state(self, position: bytes) -> None:
        self.index = int(position)

    def close(self) -> None:
        self.config = None


def init(rng: jax.Array, batch: dict[str, Any]) -> dict[str, Any]:
    kernel = jax.random.normal(rng, (batch["x"].shape[1], 4))
    params = {"encoder": {"kernel": kernel}, "head": {"kernel": jnp.ones((4,)) / 4}}
    return {"params": params, "batch_stats": {"encoder": {"mean": jnp.zeros((4,))}}}


def loss(variables: dict[str, Any], batch: dict[str, Any], axis_name: str | None) -> LossOutput:
    """Linear, global batch normalisation, linear; two terms with different counts."""

    def total(value: jax.Array) -> jax.Array:
        return value if axis_name is None else jax.lax.psum(value, axis_name)

    params, weight = variables["params"], batch["weight"]
    h = batch["x"] @ params["encoder"]["kernel"]  # [n, 4]
    count = total(weight.sum())
    mean = total((h * weight[:, None]).sum(0)) / count
    variance = total((((h - mean) ** 2) * weight[:, None]).sum(0)) / count
    z = jnp.tanh((h - mean) / jnp.sqrt(variance + 1e-5))
    error = z @ params["head"]["kernel"] - batch["y"]
    old = variables["batch_stats"]["encoder"]["mean"]
    positive = (batch["y"] > 0).astype(jnp.float32) * weight
    crowded = jnp.sum(jnp.abs(batch["x"]) > 100.0, dtype=jnp.int32)
    return LossOutput(
        terms={
            "fit": ((error**2 * weight).sum(), weight.sum()),
            "size": ((z.sum(1) ** 2 * positive).sum(), positive.sum()),
        },
        batch_stats={"encoder": {"mean": 0.9 * old + 0.1 * jax.lax.stop_gradient(mean)}},
        metrics={"spread": (jnp.abs(z).sum(), jnp.float32(z.size))},
        limits={"large_values": (crowded, 0)},
    )


def toy_task(
    config: ConfigDict,
    spoil: dict[int, str] | None = None,
    pause: float = 0.0,
    on_batch: Any = None,
    **changes: Any,
) -> Task:
    """The task. Args: spoil: index of a batch, from 1 -> "nan" or "crowded"; pause: seconds."""

    def batches(position: bytes | None) -> ToyBatches:
        iterator = ToyBatches(config, spoil or {}, pause, on_batch)
        if position is not None:
            iterator.set_state(position)
        return iterator

    task = Task(
        name="toy",
        init=init,
        loss=loss,
        weights={"fit": 1.0, "size": 0.5},
        batches=batches,
        batch_size=config.batch_size,
        unit="samples",
        remedies={"large_values": "Set config.toy.room to more."},
    )
    return dataclasses.replace(task, **changes)


def main(workdir: str, total_steps: int, pause: float) -> None:
    from fourdc_jax.train import loop

    config = toy_config(**{"total_steps": total_steps, "checkpoint.every": 3})
    loop.train(toy_task(config, pause=pause), config, pathlib.Path(workdir))


if __name__ == "__main__":
    if len(sys.argv) > 4:
        from fourdc_jax.train import parallel

        parallel.initialize_distributed(f"localhost:{sys.argv[4]}", 2, int(sys.argv[5]))
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
