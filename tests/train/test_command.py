"""What is wrong with a run's input or machine ends in one readable sentence."""

import errno
import io
import sys

import jax
import pytest

from fourdc_jax.train import command
from fourdc_jax.train.health import TrainingStopped
from fourdc_jax.train.memory import NoMemory


def run(monkeypatch, main, *arguments, **options):
    """The exit code of a command line."""
    monkeypatch.setattr("sys.argv", ["command", *arguments])
    with pytest.raises(SystemExit) as info:
        command.run(main, "A command.", **options)
    return info.value.code


def raiser(error):
    def main(args):
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (TrainingStopped("step 3: loss is nan"), "step 3: loss is nan"),
        (FileNotFoundError("x has no config.json"), "x has no config.json"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: Permission denied"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x"),
            "/x: No space left on device; free some room, or choose a folder on another disk",
        ),
        (NoMemory("5 GiB of 4"), "out of memory: lower --rows (5 GiB of 4)"),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 5 bytes\nmore"),
            "out of memory: lower --rows (RESOURCE_EXHAUSTED: 5 bytes)",
        ),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "Broken pipe"),  # of a pipe within
    ],
)
def test_an_expected_error_is_one_line(monkeypatch, capsys, error, sentence):
    assert run(monkeypatch, raiser(error), less_memory="lower --rows") == 1
    assert capsys.readouterr().err == f"error: {sentence}\n"


@pytest.mark.parametrize(
    "error", [KeyError("x"), TypeError("x"), jax.errors.JaxRuntimeError("INTERNAL: x")]
)
def test_an_error_of_this_program_shows_where_it_arose(monkeypatch, error):
    monkeypatch.setattr("sys.argv", ["command"])
    with pytest.raises(type(error)):
        command.run(raiser(error), "A command.")


def test_a_full_disk_is_told(monkeypatch, capsys):
    def main(args):
        with open("/dev/full", "w") as file:
            file.write("x")

    assert run(monkeypatch, main) == 1
    assert capsys.readouterr().err.startswith("error: No space left on device; free some room")


def test_the_exit_code_is_what_main_returns(monkeypatch):
    assert run(monkeypatch, lambda args: None) == 0
    assert run(monkeypatch, lambda args: 2) == 2


def test_an_interrupt_has_its_code(monkeypatch, capsys):
    assert run(monkeypatch, raiser(KeyboardInterrupt())) == 130
    assert run(monkeypatch, raiser(KeyboardInterrupt("run it again"))) == 130
    assert capsys.readouterr().err == "interrupted\ninterrupted: run it again\n"


def test_streams_without_a_file_are_not_closed():
    assert not command.is_closed(io.StringIO())
    assert not command.is_closed(sys.__stdout__)


def test_the_flags_of_a_run(monkeypatch):
    seen = []
    flags = ["--workdir=~/w", "--num_processes=2", "--compilation-cache="]
    assert run(monkeypatch, seen.append, *flags, add_flags=command.add_run_flags) == 0
    (args,) = seen
    assert (str(args.workdir), args.num_processes, args.coordinator) == ("~/w", 2, None)
    with pytest.raises(ValueError, match="--num_processes and --process_index need --coordinator"):
        command.start(args)
