"""Checkpoints on disk: the only file that knows Orbax (its `CheckpointManager` generation).

`<workdir>/checkpoints/<step>/` holds three items, each readable without the others:

    model       {"params": ..., and every collection by its name}, nested dicts of arrays
    optimizer   {"step": ..., "opt_state": ...}
    positions   the data iterator's position in every process

A killed writer leaves no half checkpoint behind: Orbax commits a step only once it is complete, and
removes what was not committed at the next start.
"""

import base64
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization, traverse_util

from fourdc_jax.train.state import TrainState

FOLDER = "checkpoints"  # inside a workdir


class Retention(NamedTuple):
    """Which checkpoints stay on disk: those that any of the three rules names.

    Attributes:
      keep_last: the newest so many, at least 1.
      keep_every: those whose step is a multiple; 0 for none.
      best_metric: the one with the best value of this logged metric or term; "" for none.
      highest: whether the highest is the best, not the lowest.
    """

    keep_last: int
    keep_every: int
    best_metric: str
    highest: bool = False

    def policy(self) -> ocp.checkpoint_managers.AnyPreservationPolicy:
        """The same in Orbax's words."""
        managers = ocp.checkpoint_managers
        policies: list[Any] = [managers.LatestN(self.keep_last)]
        if self.keep_every:
            policies.append(managers.EveryNSteps(self.keep_every))
        if self.best_metric:
            policies.append(managers.BestN(get_metric_fn=self.merit, n=1))
        return managers.AnyPreservationPolicy(policies)

    def merit(self, metrics: Mapping[str, float]) -> float:
        """How good a checkpoint is; the least where it was not measured."""
        value = metrics.get(self.best_metric, math.nan)
        return -math.inf if math.isnan(value) else value if self.highest else -value

    def most(self, total_steps: int, *save_every: int) -> int:
        """Checkpoints on disk at worst, the one being written included.

        Args:
          total_steps: of the run.
          save_every: steps between two checkpoints, for each ground on which they are saved.
        """
        every = total_steps // self.keep_every if self.keep_every else 0
        kept = self.keep_last + every + bool(self.best_metric) + 1
        return min(kept, sum(total_steps // every for every in save_every) + 2)


class Checkpoints:
    """The checkpoints of one workdir; a context manager that finishes pending writes."""

    def __init__(self, workdir: Path, retention: Retention, asynchronous: bool):
        """Opens, and creates where absent, `<workdir>/checkpoints`.

        Args:
          workdir: an existing folder.
          retention: what to keep.
          asynchronous: write files in the background.
        """
        self.retention = retention
        self.folder = Path(workdir).absolute() / FOLDER
        self._manager = open_manager(
            self.folder,
            ocp.CheckpointManagerOptions(
                preservation_policy=retention.policy(),
                # Writes the metrics beside each checkpoint, so that a resumed run knows the best.
                best_fn=retention.merit if retention.best_metric else None,
                enable_async_checkpointing=asynchronous,
                cleanup_tmp_directories=True,
                save_root_metadata=False,  # holds nothing, and its thread can outlive the process
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *error: object) -> None:
        self._manager.close()  # waits for what is still being written

    def finish(self) -> int | None:
        """Waits for what is being written; returns the newest step."""
        self._manager.wait_until_finished()
        return self.latest_step()

    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint."""
        return self._manager.latest_step()

    def save(
        self, step: int, state: TrainState, positions: list[Any], metrics: dict[str, float]
    ) -> None:
        """Writes one checkpoint; returns once the state is copied, the files follow.

        Args:
          step: its name.
          state: replicated; copied to the host here, so that its buffers may be donated at once.
          positions: position of every process's data iterator, in their order.
          metrics: what `Retention.best_metric` is looked up in.
        """
        host = jax.tree.map(lambda leaf: np.array(leaf, copy=True), split_items(state))
        items = {name: ocp.args.PyTreeSave(tree) for name, tree in host.items()}
        encoded = ocp.args.JsonSave([encode_position(position) for position in positions])
        self._manager.save(
            step, metrics=metrics, args=ocp.args.Composite(positions=encoded, **items)
        )

    def restore_positions(self, step: int) -> list[Any]:
        """Position of every process's data iterator, in their order."""
        request = ocp.args.Composite(positions=ocp.args.JsonRestore())
        encoded = self._manager.restore(step, args=request).positions
        return [decode_position(position) for position in encoded]

    def restore_state(self, step: int, like: TrainState) -> TrainState:
        """The state, as NumPy arrays.

        Args:
          step: which checkpoint.
          like: a state, or its `jax.eval_shape`, of the run that resumes.

        Raises:
          ValueError: if the checkpoint's arrays have other names, shapes or dtypes than `like`.
        """
        wanted = split_items(like)
        stored = read_items(self._manager, step, tuple(wanted))
        check_same_arrays(self.folder / str(step), stored, wanted)
        return join_items(like, stored)


def open_manager(folder: Path, options: ocp.CheckpointManagerOptions) -> ocp.CheckpointManager:
    """Orbax's manager, told what kind of thing each item is."""
    handlers = {
        "model": ocp.PyTreeCheckpointHandler(),
        "optimizer": ocp.PyTreeCheckpointHandler(),
        "positions": ocp.JsonCheckpointHandler(),
    }
    return ocp.CheckpointManager(folder, item_handlers=handlers, options=options)


def split_items(state: TrainState) -> dict[str, Any]:
    """Item -> nested dicts of arrays; tuples and named tuples become dicts."""
    optimizer = {"step": state.step, "opt_state": state.opt_state}
    return serialization.to_state_dict({"model": state.variables, "optimizer": optimizer})


def join_items(like: TrainState, items: dict[str, Any]) -> TrainState:
    """The inverse of `split_items`, with the structure of `like`."""
    model = serialization.from_state_dict(like.variables, items["model"])
    opt_state = serialization.from_state_dict(like.opt_state, items["optimizer"]["opt_state"])
    state = like.replace(step=items["optimizer"]["step"], opt_state=opt_state)
    return state.with_variables(model)


def has_checkpoint(workdir: Path) -> bool:
    """Whether a workdir holds one, from which its run goes on."""
    return any(path.name.isdigit() for path in (Path(workdir) / FOLDER).glob("*"))


def find_step(workdir: Path, best_metric: str = "") -> int:
    """Step of a run's checkpoint with the highest value of a metric; without one, of the newest.

    Of equally good ones it is the newest, as `Retention` keeps it.

    Raises:
      FileNotFoundError: the workdir holds no checkpoint.
      ValueError: the metric was measured for no checkpoint.
    """
    folder = Path(workdir).absolute() / FOLDER
    merits: dict[int, float] = {}
    if folder.is_dir():
        merit = Retention(1, 0, best_metric, highest=True).merit
        options = ocp.CheckpointManagerOptions(create=False, save_root_metadata=False)
        with open_manager(folder, options) as manager:
            merits = {step: merit(manager.metrics(step) or {}) for step in manager.all_steps()}
    if not merits:
        raise FileNotFoundError(f"{workdir} holds no checkpoint; name the workdir of a run")
    step = max(merits, key=lambda step: (merits[step], step))
    if best_metric and merits[step] == -math.inf:
        raise ValueError(
            f"no checkpoint of {workdir} has a {best_metric!r}: the run ended before it was "
            "measured; take the last checkpoint"
        )
    return step


def load_variables(source: Path) -> dict[str, Any]:
    """Parameters and collections of a checkpoint as nested dicts of NumPy arrays.

    Args:
      source: a workdir (its newest checkpoint) or one `<workdir>/checkpoints/<step>`.

    Raises:
      FileNotFoundError: where neither is there.
    """
    source = Path(source).absolute()
    single = source.name.isdigit() and (source / "model").is_dir()
    folder = source.parent if single else source / FOLDER
    if folder.is_dir():
        options = ocp.CheckpointManagerOptions(create=False, save_root_metadata=False)
        with open_manager(folder, options) as manager:
            step = int(source.name) if single else manager.latest_step()
            if step is not None:
                return read_items(manager, step, ("model",))["model"]
    raise FileNotFoundError(
        f"{source} holds no checkpoint; name the workdir of an earlier run, or one of its "
        f"{FOLDER}/<step> folders"
    )


def read_items(manager: ocp.CheckpointManager, step: int, names: tuple[str, ...]) -> dict[str, Any]:
    """Item -> nested dicts of NumPy arrays, whatever devices wrote them."""
    metadata = manager.item_metadata(step)
    requests = {}
    for name in names:
        as_numpy = jax.tree.map(
            lambda _: ocp.RestoreArgs(restore_type=np.ndarray), dict(metadata[name].tree)
        )
        requests[name] = ocp.args.PyTreeRestore(restore_args=as_numpy)
    restored = manager.restore(step, args=ocp.args.Composite(**requests))
    return {name: restored[name] for name in names}


def check_same_arrays(folder: Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raises ValueError unless both hold the same arrays, by name, shape and dtype."""
    there, here = (
        {
            name: f"{leaf.dtype}{list(leaf.shape)}"
            for name, leaf in traverse_util.flatten_dict(tree, sep="/").items()
        }
        for tree in (stored, wanted)
    )
    differences = [
        f"{name} ({there.get(name, 'absent')} there, {here.get(name, 'absent')} here)"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]
    if differences:
        raise ValueError(
            f"{folder} was written by another model or optimiser and cannot be resumed; "
            f"start in a new workdir. Differences: " + "; ".join(differences)
        )


def encode_position(position: Any) -> dict[str, Any]:
    """A position as JSON: bytes in base64, everything else as it is."""
    if isinstance(position, bytes):
        return {"bytes": base64.b64encode(position).decode()}
    return {"json": position}


def decode_position(encoded: dict[str, Any]) -> Any:
    """The inverse of `encode_position`."""
    if "bytes" in encoded:
        return base64.b64decode(encoded["bytes"])
    return encoded["json"]
