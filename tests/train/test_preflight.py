"""What would fail late is refused early, with both numbers and what to do."""

import collections
import os
import shutil

import pytest
from fixtures.toy_training import toy_config

from fourdc_jax.train import preflight


def test_a_workdir_is_created_and_left_empty(tmp_path):
    preflight.check_workdir(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_an_unwritable_workdir_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PermissionError, match="choose a writable folder") as info:
        preflight.check_workdir(tmp_path / "file" / "run")
    assert str(tmp_path / "file" / "run") in str(info.value)


def test_a_small_disk_is_told_with_both_numbers(tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**10, 0, 2 * 10**9))
    preflight.check_disk(tmp_path, checkpoint_bytes=5 * 10**8, num_checkpoints=4)
    with pytest.raises(OSError, match=r"has 2 GB free, but 5 checkpoints of 0\.5 GB need 2\.5 GB"):
        preflight.check_disk(tmp_path, checkpoint_bytes=5 * 10**8, num_checkpoints=5)


def test_checkpoints_already_there_count_as_room(tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 0, 600))
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    (tmp_path / "checkpoints" / "3" / "data").write_bytes(bytes(500))
    preflight.check_disk(tmp_path, checkpoint_bytes=500, num_checkpoints=2)
    with pytest.raises(OSError, match="3 checkpoints"):
        preflight.check_disk(tmp_path, checkpoint_bytes=500, num_checkpoints=3)


def test_files_that_vanish_meanwhile_are_no_error(tmp_path, monkeypatch):
    """Orbax clears away in the background what a killed run left half written."""
    (tmp_path / "gone").mkdir()
    (tmp_path / "kept").write_bytes(bytes(7))
    (tmp_path / "gone" / "data").write_bytes(bytes(5))
    walk = os.walk

    def walk_while_clearing(folder):
        for found in walk(folder):
            shutil.rmtree(tmp_path / "gone", ignore_errors=True)
            yield found

    monkeypatch.setattr(preflight.os, "walk", walk_while_clearing)
    assert preflight.count_bytes_below(tmp_path) == 7
    assert preflight.count_bytes_below(tmp_path / "gone") == 0


def test_a_source_that_is_none_is_told_before_the_data_are_opened(tmp_path):
    config = toy_config(**{"init.source": str(tmp_path / "nowhere")})
    with pytest.raises(FileNotFoundError, match=r"config\.init=.*nowhere holds no checkpoint"):
        preflight.check_paths(config, tmp_path / "run")
    assert (tmp_path / "run").is_dir()
    (tmp_path / "nowhere" / "checkpoints" / "3").mkdir(parents=True)
    preflight.check_paths(config, tmp_path / "run")
    shutil.rmtree(tmp_path / "nowhere")
    (tmp_path / "run" / "checkpoints" / "1").mkdir(parents=True)
    preflight.check_paths(config, tmp_path / "run")  # goes on: it has its own weights
