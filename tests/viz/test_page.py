"""The report page."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

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
