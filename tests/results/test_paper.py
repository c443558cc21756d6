"""The paper's numbers stand only beside runs that were evaluated on its scenes."""

import pytest

from fourdc_jax.results.paper import SEGMENTATION, comparable

SCANNET = [f"scene{number:04d}_00" for number in range(312)]


def test_table_3_stands_beside_runs_on_scannets_validation_split():
    rows = comparable(SEGMENTATION, SCANNET, {100.0})
    assert [row.method for row in rows] == ["Scratch", "CSC", "PointContrast", "Ours"]
    gains = [row.scores["mIoU"] - rows[0].scores["mIoU"] for row in rows]
    assert gains == pytest.approx([0, 0.7, 1.3, 2.3])  # as printed
    gains = [row.scores["mAcc"] - rows[0].scores["mAcc"] for row in rows]
    assert gains == pytest.approx([0, 0.7, 1.2, 2.7])


def test_limited_labels_have_rows_of_their_share():
    rows = comparable(SEGMENTATION, SCANNET, {1.0, 20.0})
    assert [(row.percent, row.scores["mIoU"]) for row in rows] == [
        *((1.0, 27.0), (1.0, 28.2), (20.0, 60.6), (20.0, 61.9))
    ]


@pytest.mark.parametrize(
    "scenes", [SCANNET[:311], [*SCANNET[:311], "room_000001"], [*SCANNET[:311], SCANNET[0]]]
)
def test_other_scenes_have_none(scenes):
    assert comparable(SEGMENTATION, scenes, {100.0}) == []
