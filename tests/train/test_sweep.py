"""The sweep script prints, and runs, one command a variant."""

import pathlib
import subprocess
import sys

SCRIPT = pathlib.Path(__file__).parents[2] / "experiments" / "sweep.py"

CONFIG = """
def sweep():
    yield {}
    yield {"loss.w_4d": 0.5, "seed": 1}
"""


def sweep(tmp_path, *arguments):
    (tmp_path / "config.py").write_text(CONFIG)
    (tmp_path / "run.py").write_text(
        "import sys; print(sys.argv[1:]); sys.exit('seed' in str(sys.argv))"
    )
    command = [sys.executable, str(SCRIPT), f"--config={tmp_path}/config.py:demo", "--workdir=runs"]
    command += [f"--script={tmp_path}/run.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_dry_run_prints_the_commands(tmp_path):
    result = sweep(tmp_path, "--dry_run", "--", "--config.total_steps=9")
    assert result.returncode == 0
    base, variant = result.stdout.splitlines()
    assert base.endswith(
        f"--config={tmp_path}/config.py:demo --workdir=runs/base --config.total_steps=9"
    )
    assert variant.endswith(
        "--workdir=runs/loss.w_4d=0.5,seed=1 --config.loss.w_4d=0.5 --config.seed=1 "
        "--config.total_steps=9"
    )


def test_all_variants_run_and_failures_are_counted(tmp_path):
    result = sweep(tmp_path)
    assert result.stdout.count("--workdir=runs/base") == 2  # the command, and what it received
    assert result.stdout.count("--config.seed=1") == 2
    assert result.returncode == 1
    assert "1 of 2 variants failed: loss.w_4d=0.5,seed=1" in result.stderr


def test_a_config_without_sweep_is_named(tmp_path):
    (tmp_path / "plain.py").write_text("")
    result = sweep(tmp_path, f"--config={tmp_path}/plain.py")
    assert result.returncode == 1
    assert "plain.py has no function sweep()" in result.stderr
    missing = sweep(tmp_path, "--config=nowhere.py")
    assert "error: --config=nowhere.py: there is no file nowhere.py" in missing.stderr
