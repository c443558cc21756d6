"""The variants of a config, and the command that prints or runs one after another."""

import signal
import sys
import threading
from pathlib import Path

import pytest
from fixtures.commands import run_here

from fourdc_jax.train.sweep import load_sweep, make_command, name_variant, run_variant

CONFIG = """
def sweep():
    yield {}
    yield {"loss.w_4d": 0.5, "seed": 1}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(CONFIG)
    return path


def test_the_variants_of_a_config(config):
    assert load_sweep(f"{config}:demo") == [{}, {"loss.w_4d": 0.5, "seed": 1}]
    assert len(load_sweep("configs/pretrain.py")) == 3


def test_a_variant_is_a_folder_and_a_command():
    overrides = {"loss.w_4d": 0.5, "init": "runs/a b"}
    assert name_variant({}) == "base"
    assert name_variant(overrides) == "loss.w_4d=0.5,init=runs_a_b"
    assert make_command(Path("run.py"), "c.py:demo", Path("w"), overrides, ["--config.x=1"]) == [
        *(
            sys.executable,
            "run.py",
            "--config=c.py:demo",
            "--workdir=w/loss.w_4d=0.5,init=runs_a_b",
        ),
        *("--config.loss.w_4d=0.5", "--config.init=runs/a b", "--config.x=1"),
    ]


def test_a_config_without_sweep_is_named(tmp_path):
    (tmp_path / "plain.py").write_text("")
    with pytest.raises(ValueError, match=r"plain.py has no function sweep\(\)"):
        load_sweep(str(tmp_path / "plain.py"))


@pytest.mark.parametrize("script", ["experiments/finetune.py", "finetune"])
def test_a_dry_run_prints_the_commands(config, tmp_path, monkeypatch, script):
    monkeypatch.chdir(tmp_path)  # where there is no folder experiments
    flags = [f"--config={config}:demo", "--workdir=runs", f"--script={script}", "--dry_run"]
    done = run_here("sweep", *flags, "--", "--config.total_steps=9")
    assert done.code == 0
    base, variant = done.out.splitlines()
    assert "experiments/finetune.py" in base
    assert base.endswith(f"--config={config}:demo --workdir=runs/base --config.total_steps=9")
    assert variant.endswith(
        "--workdir=runs/loss.w_4d=0.5,seed=1 --config.loss.w_4d=0.5 --config.seed=1 "
        "--config.total_steps=9"
    )


def test_all_variants_run_and_failures_are_counted(config, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        f"import sys; open({str(tmp_path / 'log')!r}, 'a').write(f'{{sys.argv[1:]}}\\n')\n"
        "sys.exit('seed' in str(sys.argv))"
    )
    done = run_here("sweep", f"--config={config}", f"--script={script}", f"--workdir={tmp_path}/w")
    base, variant = (tmp_path / "log").read_text().splitlines()
    assert f"--workdir={tmp_path}/w/base" in base
    assert "--config.seed=1" in variant
    assert done.code == 1
    assert done.err == "error: 1 of 2 variants failed: loss.w_4d=0.5,seed=1\n"


def test_an_interrupted_variant_has_time_to_save(tmp_path):
    saving = f"import time; time.sleep(1); open({str(tmp_path / 'saved')!r}, 'w')"
    main = threading.main_thread().ident
    timer = threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            run_variant([sys.executable, "-c", saving])
        timer.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "saved").is_file()
