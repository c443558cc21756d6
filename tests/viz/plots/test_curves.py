"""Curves of a run's metrics: resumed, broken and short files."""

import json

import numpy as np
import pytest
from matplotlib import image

from fourdc_jax.viz.plots.curves import collect_curves, draw_curves, read_metrics, smooth


def write_lines(path, rows, tail=""):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)
    return path


def make_rows(n):
    return [
        {
            "step": step,
            "total": -step / n,
            "3d": -0.5 * step / n,
            "feature_std_3d": 0.1,
            "feature_rank_3d": 4.0,
            "learning_rate": 0.25,
            "note": "text",
        }
        for step in range(1, n + 1)
    ]


def test_a_line_cut_by_a_kill_is_skipped(tmp_path):
    path = write_lines(tmp_path / "m.jsonl", make_rows(3), tail='{"step": 4, "tot')
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3]


def test_a_resumed_run_counts_the_last_value_of_a_step():
    rows = [
        {"step": 1, "a": 1.0},
        {"step": 3, "a": 9.0},
        {"step": 2, "a": 2.0},
        {"step": 3, "a": 3},
    ]
    steps, values = collect_curves(rows)["a"]
    np.testing.assert_array_equal(steps, [1, 2, 3])
    np.testing.assert_array_equal(values, [1, 2, 3])


def test_what_is_no_number_is_left_out_and_nan_stays():
    rows = [{"step": 1, "a": float("nan"), "b": "x", "c": True, "d": [1]}, {"a": 2.0}]
    curves = collect_curves(rows)
    assert list(curves) == ["a"]
    assert np.isnan(curves["a"][1]).all()


def test_smooth_is_the_mean_of_finite_neighbours():
    values = np.array([1.0, np.nan, 3.0, 5.0, np.inf, np.nan, np.nan])
    np.testing.assert_allclose(smooth(values, 2), [1, 2, 4, 4, 5, np.nan, np.nan])


@pytest.mark.parametrize("steps", [1, 2, 60])
def test_curves_are_drawn_from_a_file_and_from_lines(tmp_path, steps):
    rows = make_rows(steps)
    path = write_lines(tmp_path / "m.jsonl", rows)
    collapse = {"feature_std_3d": 32**-0.5}
    a = draw_curves(path, tmp_path / "pictures" / "a.png", collapse=collapse)
    b = draw_curves(rows, tmp_path / "b.png", collapse=collapse)
    np.testing.assert_array_equal(image.imread(a), image.imread(b))


def test_metrics_without_spread_or_finite_values_are_drawn(tmp_path):
    rows = [{"step": 1, "loss": float("nan")}, {"step": 2, "loss": float("inf")}]
    assert draw_curves(rows, tmp_path / "a.png").is_file()
    rows = [{"step": 1, "feature_std": float("nan")}, {"step": 2, "feature_std": 0.0}]
    assert draw_curves(rows, tmp_path / "b.png").is_file()


def test_terms_choose_the_losses(tmp_path):
    rows = make_rows(5)
    chosen = draw_curves(rows, tmp_path / "a.png", terms=["3d"])
    default = draw_curves(rows, tmp_path / "b.png")
    assert (image.imread(chosen) != image.imread(default)).any()


def test_missing_and_empty_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"m\.jsonl"):
        draw_curves(tmp_path / "m.jsonl", tmp_path / "a.png")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n{broken\n")
    with pytest.raises(ValueError, match=r"empty\.jsonl has no readable line"):
        draw_curves(empty, tmp_path / "a.png")
    with pytest.raises(ValueError, match="no line with a step"):
        draw_curves([{"loss": 1.0}], tmp_path / "a.png")
