"""Subsets that nest, the benchmark's lists by their hash, areas, and splits that share a scene."""

import hashlib
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourdc_jax.data.sources import splits
from fourdc_jax.data.sources.splits import (
    LimitedParams,
    check_disjoint,
    choose_subset,
    limit_scenes,
    select_areas,
)

NAMES = [f"scene{index:04d}_{scan:02d}" for index in range(1201 // 3 + 1) for scan in range(3)][
    :1201
]


@given(
    names=st.sets(st.text("abcdef", min_size=1), min_size=1, max_size=60),
    seed=st.integers(0, 2**31),
    percents=st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)),
)
@settings(max_examples=60, deadline=None)
def test_subsets_nest_and_do_not_depend_on_the_order_of_names(names, seed, percents):
    small, large = sorted(percents)
    few, many = (choose_subset(sorted(names), percent, seed) for percent in (small, large))
    assert 1 <= len(few) <= len(many) <= len(names)
    assert set(few) <= set(many) <= names
    backwards = choose_subset(sorted(names, reverse=True), small, seed)
    assert sorted(backwards) == sorted(few)


def test_subsets_have_as_many_scenes_as_the_benchmarks_lists():
    sizes = [len(choose_subset(NAMES, percent, 0)) for percent in (1.0, 5.0, 10.0, 20.0, 100.0)]
    assert sizes == [12, 60, 120, 240, 1201]
    assert choose_subset(NAMES, 1.0, 0) != choose_subset(NAMES, 1.0, 1)


def test_a_seeded_subset_is_called_so(caplog):
    """Even where only warnings are shown, as in training."""
    caplog.set_level(logging.WARNING)
    chosen = limit_scenes(NAMES, LimitedParams(5.0, "", 3))
    assert chosen == choose_subset(NAMES, 5.0, 3)
    (record,) = caplog.records
    assert "60 of 1201 scenes: a seeded subset of 5% (seed 3), not the" in record.getMessage()
    assert limit_scenes(NAMES, LimitedParams(100.0, "", 3)) == NAMES


@pytest.mark.parametrize("percent", [0.0, -1.0, 101.0])
def test_percentages_outside_their_range_are_refused(percent):
    with pytest.raises(ValueError, match=f"limited.percent is {percent}"):
        limit_scenes(NAMES, LimitedParams(percent, "", 0))


@pytest.fixture
def official(tmp_path, monkeypatch):
    """A list that counts as the benchmark's 1%."""
    path = tmp_path / "1.txt"
    path.write_text("".join(f"{name}\n" for name in reversed(NAMES[:12])))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(splits.OFFICIAL_LISTS, 1, digest)
    return path


def test_the_benchmarks_list_is_recognised_and_used_in_its_order(official, caplog):
    caplog.set_level(logging.INFO)
    assert limit_scenes(NAMES, LimitedParams(1.0, str(official), 0)) == NAMES[11::-1]
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert "the benchmark's 1% list, 12 scenes" in record.getMessage()


def test_the_list_of_another_percentage_is_refused(official):
    with pytest.raises(ValueError, match=r"benchmark's 1% list and limited\.percent is 5: set it"):
        limit_scenes(NAMES, LimitedParams(5.0, str(official), 0))
    with pytest.raises(ValueError, match=r"limited\.percent is 100"):
        limit_scenes(NAMES, LimitedParams(100.0, str(official), 0))


def test_a_list_is_found_by_its_percentage(official):
    pattern = str(official.with_name("{percent}.txt"))
    assert limit_scenes(NAMES, LimitedParams(1.0, pattern, 0)) == NAMES[11::-1]
    assert limit_scenes(NAMES, LimitedParams(100.0, pattern, 0)) == NAMES


def test_another_list_is_used_and_its_hash_named(tmp_path, caplog):
    path = tmp_path / "mine.txt"
    path.write_text(f"{NAMES[4]}\n{NAMES[2]}\n")
    assert limit_scenes(NAMES, LimitedParams(5.0, str(path), 0)) == [NAMES[4], NAMES[2]]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    for part in (hashlib.sha256(path.read_bytes()).hexdigest(), splits.OFFICIAL_LISTS[5]):
        assert part in record.getMessage()
    caplog.clear()
    limit_scenes(NAMES, LimitedParams(40.0, str(path), 0))
    assert "the published one is unknown" in caplog.text


def test_a_listed_scene_outside_the_training_scenes_is_named(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text(f"{NAMES[4]}\nscene9999_00\n")
    with pytest.raises(ValueError, match=r"1 of the 2 scenes in .*mine\.txt.*scene9999_00"):
        limit_scenes(NAMES, LimitedParams(5.0, str(path), 0))
    with pytest.raises(FileNotFoundError, match="absent"):
        limit_scenes(NAMES, LimitedParams(5.0, str(tmp_path / "absent.txt"), 0))


def test_published_hashes_are_whole():
    assert [len(bytes.fromhex(digest)) for digest in splits.OFFICIAL_LISTS.values()] == [32] * 4


def test_areas():
    rooms = ["Area_1_office_1", "Area_5_hallway_2", "Area_5_office_5", "Area_6_lobby_1"]
    assert select_areas(rooms, (5,)) == rooms[1:3]
    assert select_areas(rooms, (1, 6)) == [rooms[0], rooms[3]]
    with pytest.raises(ValueError, match=r"area \[2\]; there are areas \[1, 5, 6\]"):
        select_areas(rooms, (2, 5))
    with pytest.raises(ValueError, match="'lobby' has no Area"):
        select_areas([*rooms, "lobby"], (5,))


def test_splits_that_share_a_scene_are_refused():
    check_disjoint({"a": "train/a.npz", "b": "train/b.npz"}, {"c": "val/c.npz"})
    with pytest.raises(ValueError, match=r"1 scenes are in training and in validation.*'b'"):
        check_disjoint({"a": "a.npz", "b": "b.npz"}, {"c": "c.npz", "b": "b.npz"})


@pytest.mark.parametrize("name", ["scene0000_00", "room_000012", "Area_5_office_1"])
def test_a_datasets_name_is_one_scene_wherever_its_files_are(name):
    with pytest.raises(ValueError, match=name):
        check_disjoint({name: "raw"}, {name: "cache"})
    check_disjoint({"0001": "train/0001.npz"}, {"0001": "val/0001.npz"})
