"""The report page, and experiments/visualize.py that makes it again."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from fixtures.paths import ROOT

from fourdc_jax.viz.page import Picture, write_page
from fourdc_jax.viz.plots.curves import draw_curves

ROWS = [{"step": step, "total": -0.1 * step} for step in range(1, 4)]


class Links(HTMLParser):
    """Collects what a page links to and checks that its tags are closed."""

    def __init__(self):
        super().__init__()
        self.sources, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_links_its_pictures_relatively_and_escapes(tmp_path):
    picture = draw_curves(ROWS, tmp_path / "pictures" / "curves.png")
    path = write_page(
        tmp_path,
        title="Run <demo> & more",
        pictures=[Picture(picture, "Training", "caption <b>")],
        summary={"steps": 12000, "loss": -0.712345, "name": "<x>"},
        config={"model": {"name": "<tag>", "planes": (32, 64)}, "seed": 0},
    )
    text = path.read_text()
    links = Links()
    links.feed(text)
    assert links.open == []
    assert links.sources == ["pictures/curves.png"]
    assert (tmp_path / links.sources[0]).is_file()
    assert "http" not in text
    assert "Run &lt;demo&gt; &amp; more" in text
    assert "<tag>" not in text
    assert "model.planes" in text
    assert "-0.7123" in text
    assert re.search(r"12.000", text)
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"] == []


def test_missing_and_outside_pictures_are_named(tmp_path):
    workdir = tmp_path / "run"
    with pytest.raises(FileNotFoundError, match="run"):
        write_page(workdir, title="a", pictures=[])
    workdir.mkdir()
    with pytest.raises(FileNotFoundError, match=r"no picture .*lost\.png"):
        write_page(workdir, title="a", pictures=[Picture(Path("lost.png"), "Lost")])
    outside = draw_curves(ROWS, tmp_path / "outside.png")
    with pytest.raises(ValueError, match="outside"):
        write_page(workdir, title="a", pictures=[Picture(outside, "Outside")])
    assert not (workdir / "report.html").exists()


def visualize(*arguments):
    """Run the script as a user does."""
    command = [sys.executable, str(ROOT / "experiments" / "visualize.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_script_draws_everything_of_a_finished_run(tmp_path):
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
    done = visualize(
        "--workdir", tmp_path, "--sequence", tmp_path / "000003.npz",
        "--features", tmp_path / "features.npz",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert pictures == ["curves.png", "features.png", "sequence_000003.png"]
    page = (tmp_path / "report.html").read_text()
    assert all(f"pictures/{name}" in page for name in pictures)
    assert "model.dimension" in page


def test_script_names_what_is_missing(tmp_path):
    done = visualize("--workdir", tmp_path / "nowhere")
    assert done.returncode != 0
    assert "nowhere is no folder" in done.stderr
    done = visualize("--workdir", tmp_path)
    assert "metrics.jsonl" in done.stderr
