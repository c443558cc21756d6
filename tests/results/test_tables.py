"""Results as tables."""

from pathlib import Path

import numpy as np
import pytest

from fourdc_jax.results.paper import Published
from fourdc_jax.results.runs import Run
from fourdc_jax.results.tables import (
    Column,
    Group,
    choose_drawn,
    format_classes,
    format_methods,
    format_spread,
    group_runs,
    label_groups,
)

COLUMNS = (Column("mIoU", "voxels", "miou", gain=True), Column("mAcc, points", "points", "macc"))


def make_run(name, percent=100.0, workdir="a"):
    return Run(name, Path(workdir), {"data": {"limited": {"percent": percent, "list_file": ""}}})


def make_result(miou, macc, iou=(0.5, None)):
    return {"voxels": {"miou": miou, "iou": list(iou)}, "points": {"macc": macc}}


def rows_of(table):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]


@pytest.mark.parametrize(
    ("values", "text"),
    [([np.nan], "-"), ([0.5], "50.0"), ([0.5, np.nan, 0.7], "60.0 ± 14.1"), ([], "-")],
)
def test_absent_classes_and_single_runs_have_no_spread(values, text):
    assert format_spread(np.array(values)) == text


def test_methods_gain_over_the_first_of_their_share():
    runs = [make_run("scratch"), make_run("ours"), make_run("ours"), make_run("ours", 10.0)]
    results = [make_result(*pair) for pair in ((0.5, 0.6), (0.6, 0.7), (0.62, 0.7), (0.3, 0.4))]
    groups = group_runs(runs, results)
    assert label_groups(groups) == ["ours 10%", "scratch 100%", "ours 100%"]
    published = [Published("Table 3", "Ours", 100.0, {"mIoU": 72.3})]
    head, _, *rows = rows_of(format_methods(groups, COLUMNS, published))
    assert head == ["Method", "Labels", "Runs", "mIoU", "mAcc, points"]
    assert rows == [
        ["ours", "10% (seeded)", "1", "30.0", "40.0"],
        ["scratch", "100%", "1", "50.0", "60.0"],
        ["ours", "100%", "2", "61.0 ± 1.4 (+11.0)", "70.0 ± 0.0"],
        ["the paper's Table 3: Ours", "100%", "-", "72.3", "-"],
    ]


def test_columns_are_aligned():
    table = format_methods([Group("a", 100.0, (make_run("a"),), (make_result(0.5, 0.6),))], COLUMNS)
    assert table.splitlines() == [
        "| Method | Labels | Runs | mIoU | mAcc, points |",
        "|--------|-------:|-----:|-----:|-------------:|",
        "| a      |   100% |    1 | 50.0 |         60.0 |",
    ]


def test_classes_are_rows_and_groups_columns():
    group = Group("a", 100.0, (make_run("a"),), (make_result(0.5, 0.6),))
    assert format_classes([group], ["wall", "picture"]).splitlines() == [
        "| IoU     |    a |",
        "|---------|-----:|",
        "| wall    | 50.0 |",
        "| picture |    - |",
        "| mean    | 50.0 |",
    ]


def test_the_first_run_of_each_method_at_the_largest_share_is_drawn():
    runs = [make_run("a", 10.0), make_run("a", 20.0), make_run("a", 20.0, "b"), make_run("c", 20.0)]
    assert choose_drawn(runs) == [runs[1], runs[3]]
