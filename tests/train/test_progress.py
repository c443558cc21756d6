"""Speed without the compilation, plain lines in log files."""

import time

import pytest

from fourdc_jax.train.progress import Clock, Progress, format_seconds


def test_the_clock_starts_with_the_first_step_and_forgets_old_ones(monkeypatch):
    times = iter([100.0, 101.0, 102.0, 112.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    clock = Clock(window=2)
    clock.tick()  # whatever came before it, compilation, is not counted
    assert clock.seconds_per_step() is None
    clock.tick()
    assert clock.seconds_per_step() == 1.0
    clock.tick()
    clock.tick()
    assert clock.seconds_per_step() == pytest.approx((112.0 - 101.0) / 2)


def test_a_restarted_clock_leaves_out_what_came_between(monkeypatch):
    times = iter([0.0, 1.0, 100.0, 102.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    clock = Clock(window=5)
    clock.tick()
    clock.tick()
    clock.restart()
    assert clock.seconds_per_step() is None
    clock.tick()
    clock.tick()
    assert clock.seconds_per_step() == 2.0


def test_a_log_file_gets_a_line_for_logged_steps_only(capsys):
    progress = Progress(0, 100, "sequences")
    progress.update(1, {"total": -0.25}, None, None, logged=True)
    progress.update(2, {"total": -0.5}, 3.25, 7200.0, logged=False)
    progress.update(3, {"total": -0.5, "3d": -1.0}, 3.25, 7200.0, logged=True)
    progress.close()
    assert capsys.readouterr().err.splitlines() == [
        "step 1/100  total -0.25",
        "step 3/100  total -0.5  3d -1  3.25 sequences/s  2:00:00 left",
    ]


def test_seconds_for_people():
    assert format_seconds(3723.4) == "1:02:03"
    assert format_seconds(90_000) == "1 day, 1:00:00"
