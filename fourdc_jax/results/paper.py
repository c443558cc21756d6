"""The paper's own numbers, as printed: nobody has measured them with this code."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SCANNET_SCENE = re.compile(r"scene\d{4}_\d{2}")
VALIDATION_SCENES = 312  # of ScanNet v2


@dataclass(frozen=True)
class Published:
    """A row of one of the paper's tables.

    Attributes:
      table: where it is printed.
      method: as it is called there.
      percent: of ScanNet's training scenes that were labelled.
      scores: by name, in percent.
    """

    table: str
    method: str
    percent: float
    scores: Mapping[str, float]


SEGMENTATION = (
    Published("Table 3", "Scratch", 100.0, {"mIoU": 70.0, "mAcc": 78.1}),
    Published("Table 3", "CSC", 100.0, {"mIoU": 70.7, "mAcc": 78.8}),
    Published("Table 3", "PointContrast", 100.0, {"mIoU": 71.3, "mAcc": 79.3}),
    Published("Table 3", "Ours", 100.0, {"mIoU": 72.3, "mAcc": 80.8}),
    *(
        Published("Table 7", method, percent, {"mIoU": miou})
        for percent, static, dynamic in (
            *((1.0, 27.0, 28.2), (5.0, 44.4, 45.3), (10.0, 56.3, 57.9), (20.0, 60.6, 61.9)),
        )
        for method, miou in (("Ours (3D data, 3D-3D only)", static), ("Ours", dynamic))
    ),
)


def comparable(
    published: Sequence[Published], scenes: Sequence[str], percents: set[float]
) -> list[Published]:
    """The rows beside which runs may stand: none unless the scenes are ScanNet's validation split.

    Args:
      published: rows of the paper.
      scenes: names of the scenes that the runs were evaluated on.
      percents: shares of the labels that the runs saw.
    """
    scannet = all(SCANNET_SCENE.fullmatch(name) for name in scenes)
    if not scannet or len(set(scenes)) != VALIDATION_SCENES:
        return []
    return [row for row in published if row.percent in percents]
