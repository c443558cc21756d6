"""Sequences as files, and what is printed of them."""

import numpy as np
from fixtures.commands import run_here

FLAGS = ("--config=configs/pretrain.py", "--num=2", "--config.data.scans=procedural:1")


def test_the_command_writes_files_and_pictures_and_prints_the_rates(tmp_path):
    done = run_here(
        "make_sequences", *FLAGS, f"--out={tmp_path}", "--config.data.shapes=procedural:4"
    )
    assert done.code == 0, done.err
    assert "2 files in" in done.out
    assert "all constraints hold" in done.out
    assert "pairs without a sequence" in done.out
    assert "draws that kept too few points" in done.out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("000000.npz", "000000.png", "000001.npz", "000001.png")
    ]
    with np.load(tmp_path / "000001.npz") as arrays:
        assert str(arrays["scan"]) == "room_000000"
        assert arrays["points_3"].shape == (len(arrays["ids_3"]), 3)


def test_a_wrong_value_is_one_clear_sentence(tmp_path):
    done = run_here(
        "make_sequences", *FLAGS, f"--out={tmp_path}", "--config.sequence.presence.chunks_per=step"
    )
    assert done.code == 1
    assert "config.sequence.presence.chunks_per: 'step' is none of 'frame', 'sequence'" in done.err
