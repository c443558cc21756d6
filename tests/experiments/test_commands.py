"""Every command tells what is wrong with its command line in one sentence, all in the same way."""

import ast
import os
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import pytest
from fixtures.commands import FOLDER, NAMES, run_command, run_here
from fixtures.paths import ROOT


class Case(NamedTuple):
    """Command lines of one command.

    Attributes:
      required: flags without which it cannot run.
      wrong: a flag whose value is of the wrong type.
      missing: flags that name a file or folder that does not exist, and what names it.
    """

    required: tuple[str, ...]
    wrong: str
    missing: tuple[tuple[str, ...], str] | None


NO_CONFIG = (("--config=nowhere.py",), "there is no file nowhere.py; configs of this package: ")
NO_OUTPUT = (("--output=nowhere/x.json",), "--output: there is no folder nowhere to write x.json")

CASES = {
    "bench_data": Case((), "--num=0", NO_CONFIG),
    "bench_finetune": Case((), "--rounds=x", NO_OUTPUT),
    "bench_peers": Case((), "--channels=64", NO_OUTPUT),
    "bench_sparse_conv": Case((), "--rows=many", NO_OUTPUT),
    "convert_checkpoint": Case(
        ("--input=nowhere.pth", "--out=nowhere"),
        "--block-kernels=cube",
        ((), "nowhere.pth: No such file or directory"),
    ),
    "evaluate": Case(
        ("--workdirs=nowhere",), "--rotations=0", ((), "nowhere holds no config.json")
    ),
    "finetune": Case(("--workdir=nowhere", "--config=segmentation"), "--config.seed=x", NO_CONFIG),
    "make_sequences": Case(("--out=nowhere",), "--num=1.5", NO_CONFIG),
    "predict": Case(
        ("--checkpoint=nowhere", "--input=nowhere.ply", "--out=x.ply"),
        "--scale=-1",
        ((), "nowhere holds no config.json"),
    ),
    "predict_kernels": Case((), "--gemm-rows=0", None),
    "prepare_data": Case(
        ("--kind=scans", "--source=nowhere", "--out=nowhere"),
        "--workers=some",
        ((), "nowhere does not exist"),
    ),
    "pretrain": Case(("--workdir=nowhere",), "--config.total_steps=many", NO_CONFIG),
    "sweep": Case(("--config=nowhere.py", "--workdir=x"), "--dry-run=x", ((), NO_CONFIG[1])),
    "tune_kernels": Case((), "--seconds=long", None),
    "visualize": Case(
        ("--workdir=nowhere",), "--traceback=maybe", ((), "--workdir nowhere is no folder")
    ),
}


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    """Commands run where none of the files is that they name."""
    monkeypatch.chdir(tmp_path)
    yield
    assert [path for path in tmp_path.iterdir() if path.name != "x"] == []


def fails(done):
    """The one sentence that a command ended with."""
    assert done.code == 1
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    return done.err.removeprefix("error: ").rstrip("\n")


def test_every_command_has_a_case():
    assert list(CASES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_help_begins_with_the_docstring_and_lists_flags(name):
    doc = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text()))
    done = run_here(name, "--help")
    assert done.code == 0
    assert doc.splitlines()[0] in done.out
    assert "--traceback" in done.out
    assert done.err == ""


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_flag(name):
    done = run_here(name, *CASES[name].required, "--trace_bakc")
    assert fails(done) == "there is no flag --trace-bakc; did you mean --traceback?"


@pytest.mark.parametrize("name", [name for name in NAMES if CASES[name].required])
def test_a_missing_flag(name):
    first, *others = CASES[name].required
    flag = first.split("=")[0]
    assert fails(run_here(name, *others)) == f"the following arguments are required: {flag}"


@pytest.mark.parametrize("name", NAMES)
def test_a_value_of_the_wrong_type(name):
    wrong = CASES[name].wrong
    flag, value = wrong.split("=")
    told = fails(run_here(name, *CASES[name].required, wrong))
    assert told.startswith(flag)
    assert value in told


@pytest.mark.parametrize("name", [name for name in NAMES if CASES[name].missing])
def test_a_path_that_does_not_exist(name):
    flags, sentence = CASES[name].missing
    assert sentence in fails(run_here(name, *CASES[name].required, *flags))


@pytest.mark.parametrize("name", NAMES)
def test_a_stray_word(name):
    told = fails(run_here(name, *CASES[name].required, "stray"))
    assert told.startswith("unexpected argument 'stray'")


def test_both_spellings_of_a_flag():
    for spelling in ("--min-points=0", "--min_points=0"):
        told = fails(run_here("prepare_data", *CASES["prepare_data"].required, spelling))
        assert told == "--min-points: 0 is too small, at least 1 is needed"


@pytest.mark.parametrize(
    ("name", "config"), [("pretrain", "segmentation"), ("finetune", "pretrain")]
)
def test_a_config_of_the_other_command(name, config):
    told = fails(run_here(name, "--workdir=x", f"--config={config}:demo", "--compilation-cache="))
    assert told.startswith(f"config.task is {config!r}: that is what experiments/")


def test_a_task_that_is_none():
    done = run_here("finetune", "--workdir=x", "--config=segmentation", "--config.task=detecting")
    assert fails(done) == "config.task is 'detecting'; there are pretrain, segmentation"


def test_traceback_shows_where_an_error_arose():
    done = run_here("visualize", "--workdir=nowhere", "--traceback")
    assert done.code == 1
    assert done.err.startswith("Traceback")
    assert done.err.splitlines()[-1] == "error: --workdir nowhere is no folder"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_is_quiet(unbuffered):
    script = FOLDER / "sweep.py"
    line = f"'{sys.executable}' '{script}' --config pretrain --workdir w --dry-run"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line} | true"],
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (141, "")


def test_ctrl_c_is_one_line_and_code_130(tmp_path):
    # A process that is started in the background ignores the signal unless it is told not to.
    listen = "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    script = f"{listen}; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", script, str(FOLDER / "prepare_data.py"), "--kind=scans"]
    command += ["--workers=0", "--source=procedural:1000", f"--out={tmp_path / 'x'}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "x").glob("*")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "nothing was written"
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted: run the same command to continue"
    assert "Traceback" not in err


def test_all_commands_are_one_command_with_their_names_and_first_lines():
    done = run_here("__main__", "--help")
    assert done.code == 0
    for name in NAMES:
        doc = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text()))
        assert f"  {name} " in done.out
        assert f" {doc.splitlines()[0]}\n" in done.out


def test_a_command_by_its_name():
    for spelling in ("prepare_data", "prepare-data"):
        told = fails(run_here("__main__", spelling, "--kind=meshes"))
        assert told.startswith("--kind: invalid choice: 'meshes'")


def test_a_wrong_name_of_a_command():
    done = run_here("__main__", "pertrain")
    assert done.code == "error: there is no command 'pertrain'; did you mean pretrain?"
    done = run_here("__main__", "zzz")
    assert done.code == "error: there is no command 'zzz'; fourdc-jax --help lists them"


def test_a_command_in_a_process_of_its_own():
    done = run_command("prepare_data", "--kind=meshes")
    assert fails(done).startswith("--kind: invalid choice: 'meshes'")
