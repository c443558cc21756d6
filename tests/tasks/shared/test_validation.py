"""Held-out scenes in several processes: shares of all, and failures that all are told."""

import pytest

from fourdc_jax.tasks.shared import validation
from fourdc_jax.tasks.shared.validation import EvaluationParams, evaluate_shares


@pytest.fixture
def second_of_three(monkeypatch):
    """This process as the second one of three; the others find nothing."""
    monkeypatch.setattr(validation.jax, "process_index", lambda: 1)
    monkeypatch.setattr(validation.jax, "process_count", lambda: 3)


def test_each_process_takes_every_third_scene(second_of_three, monkeypatch):
    monkeypatch.setattr(validation, "gather_values", lambda own: [("a", ""), own, ("c", "")])
    assert share(list) == ["a", [1, 4], "c"]


def share(evaluate, count=7):
    return evaluate_shares(range(count), evaluate)


@pytest.mark.parametrize("error", [ValueError, OSError, MemoryError])
def test_a_failure_is_told_in_every_process(error, monkeypatch):
    def fail(scenes):
        raise error("no such scene")

    with pytest.raises(ValueError, match="validation failed: no such scene"):
        share(fail)
    monkeypatch.setattr(validation, "gather_values", lambda own: [own, (None, "theirs is broken")])
    with pytest.raises(ValueError, match="validation failed: theirs is broken"):
        share(list)


@pytest.mark.parametrize(
    ("values", "message"),
    [((0, 1, 0), "every is 0"), ((1, 0, 0), "rotations is 0"), ((1, 1, -1), "max_rows is -1")],
)
def test_evaluations_that_cannot_be_are_told(values, message):
    with pytest.raises(ValueError, match=rf"config\.eval\.{message}"):
        EvaluationParams(*values)
