"""The pictures and the page of a run, made again."""

import json

import numpy as np
import pytest
from fixtures.commands import run_here

ROWS = [{"step": step, "total": -0.1 * step} for step in range(1, 4)]


def test_everything_is_drawn_of_a_finished_run(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "config.json").write_text(json.dumps({"seed": 7, "model": {"dimension": 3}}))
    rng = np.random.default_rng(0)
    scan = rng.uniform([0, 0, 0], [3, 3, 0.02], (800, 3)).astype(np.float32)
    cube = rng.uniform([1, 1, 0], [1.4, 1.4, 0.4], (200, 3)).astype(np.float32)
    arrays = {"num_scene_points": 800}
    for i in range(2):
        arrays[f"points_{i}"] = np.concatenate([scan, cube + np.float32(0.3 * i)])
        arrays[f"ids_{i}"] = np.arange(1000, dtype=np.int32)
    np.savez(tmp_path / "000003.npz", **arrays)
    np.savez(tmp_path / "features.npz", points=scan, features=rng.normal(size=(800, 8)))
    files = ["--sequence", tmp_path / "000003.npz", "--features", tmp_path / "features.npz"]
    done = run_here("visualize", "--workdir", tmp_path, *files)
    assert done.code == 0, done.err
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert pictures == ["curves.png", "features.png", "sequence_000003.png"]
    page = (tmp_path / "report.html").read_text()
    assert all(f"pictures/{name}" in page for name in pictures)
    assert "model.dimension" in page


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--hero=hero.jpg"], "--hero needs --sequence and --features"),
        (["--features=nowhere.npz"], "there is no file nowhere.npz"),
        ([], "no metrics file"),
    ],
)
def test_what_is_missing_is_told(tmp_path, flags, sentence):
    if flags:
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    done = run_here("visualize", "--workdir", tmp_path, *flags)
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert sentence in done.err
    assert not (tmp_path / "pictures").exists()
