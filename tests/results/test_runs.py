"""What is read of finished runs, and when their stored results hold."""

import json
import shutil
from pathlib import Path

import pytest
from fixtures.finished_runs import make_config, write_checkpoint

from fourdc_jax.results.runs import Evaluated, Run, read_run, read_runs, stored_results


def write_run(workdir, changes=(), **values):
    """A workdir that holds a config only; `changes` are (key, value) at its top."""
    workdir.mkdir()
    config = make_config(Path("scans"), **values) | dict(changes)
    (workdir / "config.json").write_text(json.dumps(config))
    return workdir


def test_a_run_is_named_by_what_it_started_from(tmp_path):
    scratch, started = write_run(tmp_path / "a"), write_run(tmp_path / "b", init="there")
    assert [run.name for run in read_runs([scratch, started], None)] == ["scratch", "pre-trained"]
    assert [run.name for run in read_runs([scratch, started], ["x", "y"])] == ["x", "y"]
    assert read_run(scratch).task == "segmentation"


@pytest.mark.parametrize(
    ("limited", "labels"),
    [
        ({"percent": 100.0, "list_file": ""}, "100%"),
        ({"percent": 5.0, "list_file": ""}, "5% (seeded)"),
        ({"percent": 1.5, "list_file": "lists/{percent}.txt"}, "1.5% (list)"),
    ],
)
def test_the_share_of_labels_in_words(limited, labels):
    assert Run("a", Path("a"), {"data": {"limited": limited}}).labels == labels


def test_a_task_without_labels_saw_all_of_them():
    assert Run("a", Path("a"), {"data": {"scans": "x"}}).percent == 100


def test_seeds_of_one_method_may_differ_in_seeds_alone(tmp_path):
    first, second = write_run(tmp_path / "a"), write_run(tmp_path / "b", seed=1)
    assert len(read_runs([first, second], None)) == 2
    faster = write_run(tmp_path / "c", changes=[("optimizer", {"learning_rate": 0.1})])
    theirs = write_run(tmp_path / "d", init="theirs")
    ours = write_run(tmp_path / "e", init="ours", seed=1)
    for runs, keys in (
        ([first, faster], "optimizer.learning_rate"),
        ([theirs, ours], "init.source"),
    ):
        with pytest.raises(ValueError, match=f"differ in {keys}: they are no seeds of one method"):
            read_runs(runs, None)
        assert len(read_runs(runs, ["x", "y"])) == 2


def test_workdirs_that_do_not_compare_are_refused(tmp_path):
    first = write_run(tmp_path / "a")
    other = write_run(tmp_path / "b", changes=[("task", "pretrain")])
    with pytest.raises(ValueError, match="a workdir is named twice"):
        read_runs([first, tmp_path / "b" / ".." / "a"], None)
    with pytest.raises(ValueError, match="2 --names for 1 --workdirs"):
        read_runs([first], ["a", "b"])
    with pytest.raises(ValueError, match=r"a run of the task 'segmentation' and .*b of 'pretrain'"):
        read_runs([first, other], None)
    (other / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"b is no run: its config.json names no task"):
        read_runs([other], None)
    with pytest.raises(FileNotFoundError, match=r"nowhere holds no config.json"):
        read_runs([tmp_path / "nowhere"], None)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def test_results_hold_until_the_checkpoint_or_the_options_change(tmp_path, checkpoint):
    workdir = tmp_path / "a"
    shutil.copytree(checkpoint, workdir)
    run, made = Run("a", workdir, {}), []

    def results(how=Evaluated(which="last"), scenes=("s", "t"), again=False):  # noqa: B008
        def evaluate():
            made.append(how)
            return {"score": len(made)}

        return stored_results(run, scenes, how, evaluate, best_metric="miou", again=again)

    first = results()
    assert results() == first
    assert first["score"] == 1
    assert first["of"]["step"] == 7
    assert json.loads((workdir / "results.json").read_text()) == first
    assert results(again=True)["score"] == 2
    assert results(Evaluated("last", rotations=2))["score"] == 3
    assert results(Evaluated("last", rotations=2), scenes=["s"])["score"] == 4
    shutil.copytree(workdir / "checkpoints" / "7", workdir / "checkpoints" / "9")
    assert results(Evaluated("last", rotations=2), scenes=["s"])["of"]["step"] == 9
    with pytest.raises(ValueError, match=r"no checkpoint of .* has a 'miou'"):
        results(Evaluated("best"))
