"""What a workdir was started with, and what may change when it resumes."""

import json

import pytest
from fixtures.toy_training import toy_config

from fourdc_jax.train.run_config import check_resumable, write_config


def test_the_config_is_written_as_json(tmp_path):
    write_config(tmp_path, toy_config(**{"init.skip": ("head/.*",)}))
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["init"]["skip"] == ["head/.*"]
    assert written["checkpoint"]["every"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    "changes",
    [{}, {"total_steps": 99}, {"log.every": 7, "checkpoint.keep_last": 5}, {"init.skip": ()}],
)
def test_what_does_not_alter_the_run_may_change(tmp_path, changes):
    write_config(tmp_path, toy_config())
    check_resumable(tmp_path, toy_config(**changes))


def test_what_alters_the_run_is_named_with_both_values(tmp_path):
    write_config(tmp_path, toy_config())
    with pytest.raises(ValueError, match=r"batch_size \(was 8, is 16\), init.skip \(was \[\], is"):
        check_resumable(
            tmp_path, toy_config(**{"batch_size": 16, "init.skip": ("x",), "total_steps": 9})
        )


def test_total_steps_alter_a_polynomial_schedule(tmp_path):
    write_config(tmp_path, toy_config(**{"optimizer.schedule": "polynomial"}))
    with pytest.raises(ValueError, match=r"total_steps \(was 8, is 9\)"):
        check_resumable(
            tmp_path, toy_config(**{"optimizer.schedule": "polynomial", "total_steps": 9})
        )


def test_a_key_that_came_or_went_is_named(tmp_path):
    write_config(tmp_path, toy_config())
    config = toy_config().copy_and_resolve_references()
    with config.unlocked():
        config.width = 3
        del config.seed
    with pytest.raises(ValueError, match=r"seed \(was 3, is 'absent'\), width \(was 'absent', is"):
        check_resumable(tmp_path, config)


def test_checkpoints_without_a_config_are_not_continued(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        check_resumable(tmp_path, toy_config())
