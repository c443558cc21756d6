import subprocess
import sys

import numpy as np
from fixtures.paths import ROOT


def run(folder, *arguments):
    command = [sys.executable, "experiments/make_sequences.py", "--config=configs/pretrain.py"]
    command += ["--num=2", f"--out={folder}", "--config.data.scans=procedural:1", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_the_command_writes_files_and_pictures_and_prints_the_rates(tmp_path):
    done = run(tmp_path, "--config.data.shapes=procedural:4")
    assert done.returncode == 0, done.stderr
    assert "2 files in" in done.stdout
    assert "all constraints hold" in done.stdout
    assert "pairs without a sequence" in done.stdout
    assert "draws that kept too few points" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("000000.npz", "000000.png", "000001.npz", "000001.png")
    ]
    with np.load(tmp_path / "000001.npz") as arrays:
        assert str(arrays["scan"]) == "room_000000"
        assert arrays["points_3"].shape == (len(arrays["ids_3"]), 3)


def test_a_wrong_value_is_one_clear_sentence(tmp_path):
    done = run(tmp_path, "--config.sequence.presence.chunks_per=step")
    assert done.returncode != 0
    assert (
        "config.sequence.presence.chunks_per: 'step' is none of 'frame', 'sequence'" in done.stderr
    )
