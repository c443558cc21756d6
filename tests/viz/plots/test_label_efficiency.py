"""The score against the share of labelled scenes."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from fourdc_jax.viz.plots import label_efficiency
from fourdc_jax.viz.plots.label_efficiency import draw_label_efficiency


@pytest.fixture
def saved(monkeypatch):
    """The figure that is saved."""
    figures = []
    monkeypatch.setattr(
        label_efficiency, "save", lambda figure, path: figures.append(figure) or path
    )
    return figures


def test_lines_go_through_the_means_and_bands_are_one_deviation(saved):
    draw_label_efficiency(
        {"a": {100.0: [0.5, 0.7], 10.0: [0.2, 0.4]}, "b": {10.0: [0.9]}}, Path("x.png")
    )
    (axes,) = saved[0].axes
    first = axes.lines[0]
    np.testing.assert_allclose(first.get_xydata(), [[10, 30], [100, 60]])
    low, high = axes.collections[0].get_paths()[0].vertices[:, 1][[1, -2]]
    spread = 10 * 2**0.5
    assert sorted([low, high]) == pytest.approx([30 - spread, 30 + spread])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["10%", "100%"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    assert sorted(text.get_text() for text in axes.texts) == ["30.0", "60.0", "90.0"]


def test_a_picture_is_written(tmp_path):
    path = draw_label_efficiency({"a": {1.0: [0.1], 100.0: [0.2]}}, tmp_path / "p" / "e.png")
    assert image.imread(path).shape[:2] == (520, 760)


@pytest.mark.parametrize("results", [{}, {"a": {}}, {"a": {10.0: []}}])
def test_methods_without_runs_are_told(results, tmp_path):
    with pytest.raises(ValueError, match="at least one run"):
        draw_label_efficiency(results, tmp_path / "x.png")
