"""What all experiment scripts share: flags, start-up, and errors in one readable sentence."""

import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from absl import app, flags, logging

from fourdc_jax.train import compilation_cache, parallel
from fourdc_jax.train.health import TrainingStopped
from fourdc_jax.train.memory import is_out_of_memory

FLAGS = flags.FLAGS


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """The flags of a run that are not part of its config: they do not change its result."""
    flags.DEFINE_string(
        "workdir",
        None,
        "Folder of this run; the same one resumes it.",
        required=True,
        flag_values=values,
    )
    flags.DEFINE_string(
        "compilation_cache",
        str(compilation_cache.default_folder()),
        "Folder for compiled programs; empty for none.",
        flag_values=values,
    )
    flags.DEFINE_bool("traceback", False, "Show where an error arose.", flag_values=values)
    flags.DEFINE_string(
        "coordinator",
        None,
        "host:port of process 0 in a run of several, or 'auto' on a cluster.",
        flag_values=values,
    )
    flags.DEFINE_integer("num_processes", None, "Processes in all.", flag_values=values)
    flags.DEFINE_integer("process_index", None, "Index of this process.", flag_values=values)


def start() -> Path:
    """Joins the other processes, turns the compilation cache on; returns the workdir."""
    logging.set_verbosity(logging.WARNING)  # Orbax tells of every file it writes
    parallel.initialize_distributed(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_index)
    compilation_cache.enable(FLAGS.compilation_cache, min_compile_seconds=1.0)
    return Path(FLAGS.workdir).expanduser()


def run(main: Callable[[], None]) -> None:
    """Parses the flags and calls `main`; wrong input ends in a sentence, not in a traceback.

    Exit codes: 0 when done, or stopped by SIGTERM or Ctrl-C with a checkpoint; 1 for wrong input
    and for a run that had to stop.
    """

    def guarded(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            sys.exit(
                f"error: unexpected argument {argv[1]!r}; config values read --config.key=value"
            )
        try:
            main()
        except (ValueError, OSError, TrainingStopped) as error:
            if FLAGS.traceback:
                traceback.print_exc()
            sys.exit(f"error: {error}")
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error):
                raise
            advice = "raise config.accumulate, or lower config.batch_size"
            sys.exit(f"error: the device is out of memory; {advice}\n{error}")

    app.run(guarded, flags_parser=parse)


def parse(argv: Sequence[str], values: flags.FlagValues = FLAGS) -> list[str]:
    """Reads the flags; an unknown key or a wrong type is told in a sentence."""
    try:
        rest = values(argv)
        values.config.keys()  # ml_collections tells only now that there is no such file
        return rest
    except AttributeError as error:  # how ml_collections says that a config has no such key
        message = explain_unknown_key(argv, str(error))
    except (flags.Error, OSError, ValueError) as error:
        message = last_line(str(error))
    sys.exit(f"error: {message}")


def explain_unknown_key(argv: Sequence[str], error: str) -> str:
    """Which flag named a key that the config lacks, and what may have been meant.

    Args:
      argv: the command line.
      error: ml_collections' message, with the key in quotes and perhaps a suggestion.
    """
    quoted = re.findall(r"""['"]([\w.]+)\\?['"]""", error)
    if not quoted:
        return error
    key, suggestion = quoted[0], next((word for word in quoted if word != quoted[0]), None)
    names = [arg.lstrip("-").split("=", 1)[0] for arg in argv if arg.startswith("-")]
    flag = next((name for name in names if key in name.split(".")), key)
    hint = f"; did you mean {suggestion!r}?" if suggestion else ""
    return f"--{flag}: the config has no key {key!r}{hint}"


def last_line(error: str) -> str:
    """What a nested traceback comes down to: its last line, without the exception's name."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return re.sub(r"^\w*(Error|Exception): ", "", lines[-1]) if lines else "wrong flags"
