"""Many devices, many processes: the only file that knows `pmap`, `shard_map`, `jax.distributed`.

The state is replicated: `in_axes=None` broadcasts it on the first call, `out_axes=None` keeps what
comes back on every device, so the training loop sees plain pytrees without a device axis.
"""

import os
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

AXIS = "devices"  # name of the mapped axis, handed on to losses and batch norms


def initialize_distributed(
    coordinator: str | None, num_processes: int | None, process_index: int | None
) -> None:
    """Joins this process to a run of several; call it before anything else touches JAX.

    What is None is read from the environment (`JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES`,
    `JAX_PROCESS_ID`); without a coordinator in either the run is a single process.

    Args:
      coordinator: "host:port" of process 0, or "auto" for a cluster that JAX knows (Slurm, Open
        MPI, Kubernetes, TPU pods), which then tells all three.
      num_processes: processes in all.
      process_index: 0 <= process_index < num_processes.

    Raises:
      ValueError: if the three do not fit together.
    """
    coordinator = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    num_processes = from_environment(num_processes, "JAX_NUM_PROCESSES")
    process_index = from_environment(process_index, "JAX_PROCESS_ID")
    if coordinator is None:
        if num_processes is not None or process_index is not None:
            raise ValueError("--num_processes and --process_index need --coordinator=host:port")
        return
    # Collectives between CPU processes; without effect on accelerators.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if coordinator == "auto":
        jax.distributed.initialize()
        return
    if num_processes is None or process_index is None:
        raise ValueError("--coordinator=host:port needs --num_processes and --process_index")
    if not 0 <= process_index < num_processes:
        raise ValueError(
            f"--process_index={process_index} must lie in 0..{num_processes - 1}: "
            f"--num_processes is {num_processes}"
        )
    jax.distributed.initialize(coordinator, num_processes, process_index)


def from_environment(value: int | None, variable: str) -> int | None:
    """`value`, else the environment variable as a number, else None."""
    text = os.environ.get(variable)
    return int(text) if value is None and text else value


def is_main_process() -> bool:
    """Whether this process writes logs and pictures."""
    return jax.process_index() == 0


def split_batch(batch_size: int, accumulate: int) -> int:
    """Samples in one micro-batch of one device.

    Raises:
      ValueError: if the batch does not divide by devices x micro-batches; names all three.
    """
    devices = jax.device_count()
    micro, rest = divmod(batch_size, devices * accumulate)
    if rest or micro == 0:
        raise ValueError(
            f"config.batch_size={batch_size} does not divide into {devices} devices x "
            f"config.accumulate={accumulate} micro-batches; choose a multiple of "
            f"{devices * accumulate}"
        )
    return micro


def parallelize(
    step: Callable[..., Any], devices: Sequence[jax.Device] | None = None
) -> Callable[..., Any]:
    """Runs (state, batch, seed, stop) -> (state, outcome) on all devices of all processes, or some.

    The state's buffers are donated: the state that went in is gone afterwards. Batch and stop
    request carry a leading axis of local devices; state, seed and outcome have none. State and
    outcome must come out equal on all devices.
    """
    return jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0, None, 0),
        out_axes=(None, None),
        donate_argnums=0,
        devices=devices,
    )


def shard(
    step: Callable[..., Any], devices: Sequence[jax.Device] | None = None
) -> Callable[..., Any]:
    """What `parallelize` does, by `shard_map`: nothing uses it until pmap goes.

    `check_vma=False` because the step differentiates its own share of the loss and sums gradients
    itself, as it does under pmap. Several processes would first have to make global arrays of batch
    and stop (`jax.make_array_from_process_local_data`).
    """
    devices = jax.devices() if devices is None else devices
    mesh = jax.make_mesh(
        (len(devices),), (AXIS,), axis_types=(jax.sharding.AxisType.Auto,), devices=devices
    )

    def step_on_one(state: Any, batch: Any, seed: jax.Array, stop: jax.Array) -> Any:
        batch, stop = jax.tree.map(lambda leaf: leaf[0], (batch, stop))  # of one device
        return step(state, batch, seed, stop)

    everywhere, split = jax.P(), jax.P(AXIS)
    mapped = jax.shard_map(
        step_on_one,
        mesh=mesh,
        in_specs=(everywhere, split, everywhere, split),
        out_specs=everywhere,
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=0)


def check_leading_axes(batch: Any, accumulate: int) -> None:
    """Raises ValueError unless every array starts with [local_devices, accumulate]."""
    expected = (jax.local_device_count(), accumulate)
    for path, leaf in jax.tree_util.tree_leaves_with_path(batch):
        if leaf.shape[:2] != expected:
            raise ValueError(
                f"batch{jax.tree_util.keystr(path)} has shape {leaf.shape}; its leading axes must "
                f"be [local devices, config.accumulate] = {list(expected)}"
            )


def on_every_device(value: bool, devices: Sequence[jax.Device] | None = None) -> np.ndarray:
    """int32 [local devices]: a flag of this process, as a mapped argument."""
    count = jax.local_device_count() if devices is None else len(devices)
    return np.full([count], value, np.int32)


def replicate(tree: Any) -> Any:
    """Process 0's values, on every device of every process.

    Laid out as a step returns them: the first call of a step would otherwise compile a program for
    another layout than all later ones. Hosts of different make may initialise differently, hence
    the broadcast.
    """
    if jax.process_count() > 1:
        tree = multihost_utils.broadcast_one_to_all(tree)
    spread = jax.pmap(lambda t, _: t, axis_name=AXIS, in_axes=(None, 0), out_axes=None)
    return spread(tree, on_every_device(False))


def local_copy(tree: Any) -> Any:
    """Of replicated arrays the copy on this process's first device, for work on that one alone."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def gather_values(value: Any) -> list[Any]:
    """Every process's value (anything that can be pickled), in the order of processes."""
    if jax.process_count() == 1:
        return [value]
    own = np.frombuffer(pickle.dumps(value), np.uint8)
    lengths = multihost_utils.process_allgather(np.asarray(own.size, np.int32))
    padded = np.pad(own, (0, int(lengths.max()) - own.size))
    rows = multihost_utils.process_allgather(padded)
    return [pickle.loads(bytes(row[:length])) for row, length in zip(rows, lengths)]
