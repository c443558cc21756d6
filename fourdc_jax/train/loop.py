"""The training loop: one story, told once for all tasks."""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from fourdc_jax.train import parallel, preflight, records, run_config, summary
from fourdc_jax.train.checkpoints import FOLDER, Checkpoints, Retention
from fourdc_jax.train.health import TrainingStopped
from fourdc_jax.train.interrupt import Interrupt
from fourdc_jax.train.monitor import Monitor
from fourdc_jax.train.programs import Program, program
from fourdc_jax.train.progress import Progress
from fourdc_jax.train.state import TrainState, count_bytes, count_parameters
from fourdc_jax.train.task import Batch, BatchIterator, Evaluation, Task
from fourdc_jax.train.transfer import find_workdir, transfer
from fourdc_jax.train.writers import MetricsFile, TensorBoard, read_history


class Start(NamedTuple):
    """Where a run begins or goes on.

    Attributes:
      step: optimiser steps already taken.
      state: at that step.
      batches: positioned after `batch`.
      batch: of the next step.
    """

    step: int
    state: TrainState
    batches: BatchIterator
    batch: Batch


def train(task: Task, config: ConfigDict, workdir: Path) -> TrainState:
    """Trains until `config.total_steps`, or until it is told to stop; resumes what it finds.

    Args:
      task: what to train on what.
      config: seed, total_steps, accumulate, init, optimizer, checkpoint and log are read here; the
        rest is the task's and only recorded.
      workdir: gets config.json, the task's record, checkpoints/, metrics.jsonl, tensorboard/,
        summary.json and what `task.report` draws.

    Returns:
      The last state. The same call continues an unfinished run, bit for bit.

    Raises:
      TrainingStopped: at a value that is not finite or a limit that is exceeded; the checkpoints
        on disk are older and sound.
      ValueError: for a config that cannot work or does not continue the run in `workdir`.
      OSError: if the workdir cannot take what the run writes.
    """
    # 1. Fail now what would fail later.
    workdir = Path(workdir)
    preflight.check_values(config, task)
    preflight.check_workdir(workdir)
    retention = make_retention(task, config)
    with Checkpoints(workdir, retention, config.checkpoint.asynchronous) as checkpoints:
        if checkpoints.latest_step() is not None:
            run_config.check_resumable(workdir, config)
            records.check_record(workdir, task)
        elif config.init.source:
            check_source(task, Path(config.init.source).expanduser())

        # 2. The optimiser, and its step on all devices.
        programs = program(task, config)

        # 3. State and data: fresh, from another run's weights, or where this run was left.
        start = begin(task, config, workdir, checkpoints, programs)
        if parallel.is_main_process():
            run_config.write_config(workdir, config)
            records.write_record(workdir, task)

        # 4. The steps.
        monitor = make_monitor(task, config, workdir, start.step)
        try:
            state = run_steps(task, config, start, programs, monitor, checkpoints)
        except TrainingStopped as stopped:
            last = checkpoints.finish()
            kept = "No checkpoint was written yet" if last is None else f"Kept: checkpoint {last}"
            raise TrainingStopped(f"{stopped} [{kept}, in {checkpoints.folder}]") from stopped
        finally:
            monitor.close()
            start.batches.close()

    # 5. What it came to.
    if parallel.is_main_process():
        conclude(task, config, workdir, state, monitor)
    return state


def make_retention(task: Task, config: ConfigDict) -> Retention:
    """Which checkpoints stay; what an evaluation measures is the better the higher."""
    values = config.checkpoint
    highest = values.best_metric in task.measured
    return Retention(values.keep_last, values.keep_every, values.best_metric, highest)


def check_source(task: Task, source: Path) -> None:
    """Raises FileNotFoundError or ValueError where another run's weights cannot be taken."""
    workdir = find_workdir(source)
    if task.check_source is not None:
        task.check_source(run_config.read_config(workdir), str(source))


def begin(
    task: Task,
    config: ConfigDict,
    workdir: Path,
    checkpoints: Checkpoints,
    programs: Program,
) -> Start:
    """Opens the data and makes or restores the state; checks the disk before anything compiles."""
    step = checkpoints.latest_step()
    position = None if step is None else own_position(checkpoints.restore_positions(step))
    batches = task.batches(position)
    batch = next(batches)
    parallel.check_leading_axes(batch, config.accumulate)

    micro_batch = jax.tree.map(lambda leaf: leaf[0, 0], batch)
    like = jax.eval_shape(programs.initialize, micro_batch)
    grounds = [config.checkpoint.every, *(evaluation.every for evaluation in task.evaluations)]
    saves = checkpoints.retention.most(config.total_steps, *grounds)
    preflight.check_disk(workdir, count_bytes(like), saves)

    if step is not None:
        say(f"Resuming {workdir} at step {step}")
        state = checkpoints.restore_state(step, like)
        return Start(step, parallel.replicate(state), batches, batch)
    state = jax.jit(programs.initialize)(micro_batch)
    if config.init.source:
        state = start_from(Path(config.init.source).expanduser(), config, state)
    return Start(0, parallel.replicate(state), batches, batch)


def start_from(source: Path, config: ConfigDict, state: TrainState) -> TrainState:
    """The state with the weights of another run, as far as config.init says."""
    variables, transferred = transfer(
        state.variables,
        source,
        skip=config.init.skip,
        new=config.init.new,
        rename=config.init.rename,
    )
    say(transferred.describe(source))
    return state.with_variables(variables)


def own_position(positions: list[Any]) -> Any:
    """This process's entry; raises ValueError where the run had another number of processes."""
    if len(positions) != jax.process_count():
        raise ValueError(
            f"this run has read its data in {len(positions)} processes and cannot go on in "
            f"{jax.process_count()}; start as many as before"
        )
    return positions[jax.process_index()]


def run_steps(
    task: Task,
    config: ConfigDict,
    start: Start,
    programs: Program,
    monitor: Monitor,
    checkpoints: Checkpoints,
) -> TrainState:
    """Steps until `config.total_steps` or an interrupt; the last state is on disk.

    Values are read one step late, while the next step already runs. A state is saved only once its
    own step has been examined. A run that is asked to stop when an evaluation is due saves without
    it, except at its end.
    """
    step, state, batches, batch = start
    last = config.total_steps
    unexamined = None  # outcome of the step before
    stopping = False
    alone = jax.process_count() == 1
    if step < last:
        say("Compiling the training step; minutes the first time, then cached")
    with Interrupt() as interrupt:
        while step < last and not stopping:
            state, outcome = programs.step(state, batch, interrupt.requested)
            step += 1
            position = batches.get_state()
            if step < last and not (alone and interrupt.requested):
                batch = next(batches)  # on the host, while the devices compute
            if unexamined is not None:
                stopping |= monitor.examine(step - 1, unexamined)
            unexamined = outcome
            # Several processes must stop at the same step: they read the sum of their requests.
            stopping |= alone and interrupt.requested
            due = [evaluation for evaluation in task.evaluations if evaluation.is_due(step, last)]
            if stopping or due or step == last or step % config.checkpoint.every == 0:
                stopping |= monitor.examine(step, outcome)
                unexamined = None
                due = due if step == last or not stopping else []
                evaluate_and_save(step, state, position, due, monitor, checkpoints)
    return state


def evaluate_and_save(
    step: int,
    state: TrainState,
    position: Any,
    due: list[Evaluation],
    monitor: Monitor,
    checkpoints: Checkpoints,
) -> None:
    """Evaluates and saves the state of an examined step; where an evaluation fails, saves first."""
    positions = parallel.gather_values(position)
    try:
        for evaluation in due:
            monitor.record(step, evaluation.run(state.variables))
    except Exception:
        checkpoints.save(step, state, positions, monitor.values)  # what was learnt is not lost
        raise
    checkpoints.save(step, state, positions, monitor.values)


def make_monitor(task: Task, config: ConfigDict, workdir: Path, first_step: int) -> Monitor:
    """The monitor, with files and progress bar on the main process."""
    writers: list[MetricsFile | TensorBoard] = []
    progress = None
    if parallel.is_main_process():
        writers.append(MetricsFile(workdir, first_step))
        if config.log.tensorboard:
            writers.append(TensorBoard(workdir, first_step))
        progress = Progress(first_step, config.total_steps, task.unit)
    return Monitor(task, config.total_steps, config.log.every, writers, progress)


def conclude(
    task: Task, config: ConfigDict, workdir: Path, state: TrainState, monitor: Monitor
) -> None:
    """Writes and prints the summary, then lets the task draw; or says how to go on."""
    step = int(state.step)
    if step < config.total_steps:
        say(f"Stopped at step {step} of {config.total_steps}; the same command continues")
        return
    history = read_history(workdir)
    findings = {
        "task": task.name,
        "step": step,
        "parameters": count_parameters(state.params),
        "devices": jax.device_count(),
        "checkpoint": str(workdir / FOLDER / str(step)),
        "alarms": monitor.alarms.counts,
        **summary.summarize(history, ["total", *task.weights, *task.alarms]),
    }
    summary.write_summary(workdir, findings)
    say(summary.describe_summary(findings, task.unit))
    if task.report is not None:
        task.report(workdir, jax.device_get(state), history)


def say(message: str) -> None:
    """Prints on the main process."""
    if parallel.is_main_process():
        print(message, file=sys.stderr, flush=True)
