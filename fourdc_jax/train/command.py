"""What all commands share: start-up, and wrong input told in one readable sentence."""

import argparse
import errno
import os
import select
import sys
import traceback
from collections.abc import Callable
from io import TextIOBase
from pathlib import Path
from typing import NoReturn

import jax
from absl import flags, logging

from fourdc_jax.train import compilation_cache, parallel
from fourdc_jax.train.command_line import AddFlags, parse
from fourdc_jax.train.health import TrainingStopped
from fourdc_jax.train.memory import is_out_of_memory

Main = Callable[[argparse.Namespace], int | None]

INTERRUPTED = 130  # exit codes of a shell: ended by Ctrl-C, ...
CLOSED_PIPE = 141  # ... and by SIGPIPE
LESS_MEMORY = "raise config.accumulate, or lower config.batch_size"


def run(
    main: Main,
    doc: str | None,
    add_flags: AddFlags = lambda parser: None,
    *,
    config: str | None = None,
    extra: bool = False,
    less_memory: str = LESS_MEMORY,
) -> NoReturn:
    """Reads the command line, calls `main` with it, and leaves with an exit code.

    0: done, or stopped by SIGTERM or Ctrl-C with a checkpoint. 1: wrong input, or a run that had to
    stop, told in a sentence on stderr. 130: Ctrl-C without a checkpoint. Else what `main` returns.

    Args:
      main: the command.
      doc: of the script, for --help.
      add_flags, config, extra: see `parse`.
      less_memory: what to do where memory is exhausted.
    """
    flags.FLAGS.mark_as_parsed()  # libraries read the defaults of their own
    try:
        try:
            code = main(parse(sys.argv[1:], doc or "", add_flags, config=config, extra=extra)) or 0
        except SystemExit as left:  # --help
            code = left.code
        sys.stdout.flush()  # a closed pipe is told here, not while Python ends
    except KeyboardInterrupt as interrupt:
        code = INTERRUPTED
        tell(f"interrupted: {interrupt}" if str(interrupt) else "interrupted")
    except Exception as error:
        closed = [stream for stream in (sys.stdout, sys.stderr) if is_closed(stream)]
        if isinstance(error, BrokenPipeError) and closed:
            code = CLOSED_PIPE
            silence(closed)
        else:
            code = 1
            sentence = explain(error, less_memory)
            if sentence is None:
                raise
            if "--traceback" in sys.argv:
                traceback.print_exc()
            tell(f"error: {sentence}")
    sys.exit(code)


def explain(error: Exception, less_memory: str) -> str | None:
    """One line for an error that is the input's or the machine's; None for one of this program."""
    if isinstance(error, (MemoryError, jax.errors.JaxRuntimeError)):
        if not is_out_of_memory(error):
            return None
        first = (str(error).splitlines() or [""])[0]
        return f"out of memory: {less_memory}" + (f" ({first})" if first else "")
    if isinstance(error, OSError) and error.strerror:
        message = error.strerror
        if error.filename is not None:
            message = f"{error.filename}: {message}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message += "; free some room, or choose a folder on another disk"
        return one_line(message)
    if isinstance(error, (ValueError, OSError, TrainingStopped)):
        return one_line(str(error))
    return None


def one_line(text: str) -> str:
    """The words of a text, in one line."""
    return " ".join(text.split())


def tell(line: str) -> None:
    """Prints a line to stderr, if anyone listens."""
    try:
        print(line, file=sys.stderr, flush=True)
    except BrokenPipeError:
        silence([sys.stderr])


def is_closed(stream: TextIOBase) -> bool:
    """Whether a stream is a pipe that nobody reads any more, such as that of `| head`."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # no such call here, or a stream without a file
        return False


def silence(streams: list[TextIOBase]) -> None:
    """What is still buffered goes nowhere: Python writes it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of a run that are not part of its config: they do not change its result."""
    add = parser.add_argument
    add("--workdir", required=True, type=Path, help="folder of this run; the same one resumes it")
    add_cache_flag(parser)
    add("--coordinator", help="host:port of process 0 in a run of several, or 'auto' on a cluster")
    add("--num-processes", type=int, help="processes in all")
    add("--process-index", type=int, help="index of this process")


def add_cache_flag(parser: argparse.ArgumentParser) -> None:
    """Where compiled programs are kept."""
    parser.add_argument(
        "--compilation-cache",
        default=str(compilation_cache.default_folder()),
        metavar="FOLDER",
        help="for compiled programs; empty for none",
    )


def enable_cache(args: argparse.Namespace) -> None:
    """Turns the cache of compiled programs on."""
    compilation_cache.enable(args.compilation_cache, min_compile_seconds=1.0)


def start(args: argparse.Namespace) -> Path:
    """Joins the other processes, turns the compilation cache on; returns the workdir.

    Raises:
      ValueError: the flags of several processes do not fit together, or nobody answers there.
    """
    logging.set_verbosity(logging.WARNING)  # Orbax tells of every file it writes
    try:
        parallel.initialize_distributed(args.coordinator, args.num_processes, args.process_index)
    except RuntimeError as error:
        raise ValueError(f"--coordinator={args.coordinator}: {error}") from error
    enable_cache(args)
    return args.workdir.expanduser()
