"""The benchmarks' classes: names in the order of the labels, and the colours they are shown in.

Colours are the ones that the field's figures use: those of ScanNet's benchmark script, and those of
PointNet's S3DIS pictures.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Integer

IGNORE_LABEL = 255  # unannotated, and every class that the benchmark leaves out


@dataclass(frozen=True)
class LabelSet:
    """Classes 0 .. C-1 of a benchmark; `IGNORE_LABEL` is none of them.

    Attributes:
      names: of the C classes.
      colors: RGB, 0 .. 255, of the C classes.
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    def __len__(self) -> int:
        """Number of classes C."""
        return len(self.names)


SCANNET20 = LabelSet(
    names=(
        *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window"),
        *("bookshelf", "picture", "counter", "desk", "curtain", "refrigerator", "shower curtain"),
        *("toilet", "sink", "bathtub", "otherfurniture"),
    ),
    colors=(
        *((174, 199, 232), (152, 223, 138), (31, 119, 180), (255, 187, 120), (188, 189, 34)),
        *((140, 86, 75), (255, 152, 150), (214, 39, 40), (197, 176, 213), (148, 103, 189)),
        *((196, 156, 148), (23, 190, 207), (247, 182, 210), (219, 219, 141), (255, 127, 14)),
        *((158, 218, 229), (44, 160, 44), (112, 128, 144), (227, 119, 194), (82, 84, 163)),
    ),
)
NYU40_OF_SCANNET20 = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39)

S3DIS = LabelSet(
    names=(
        *("ceiling", "floor", "wall", "beam", "column", "window", "door"),
        *("table", "chair", "sofa", "bookcase", "board", "clutter"),
    ),
    colors=(
        *((0, 255, 0), (0, 0, 255), (0, 255, 255), (255, 255, 0), (255, 0, 255)),
        *((100, 100, 255), (200, 200, 100), (170, 120, 200), (255, 0, 0), (200, 100, 100)),
        *((10, 200, 100), (200, 200, 200), (50, 50, 50)),
    ),
)

LABEL_SETS = {"scannet20": SCANNET20, "s3dis": S3DIS}  # by `Scan.label_set`


def from_nyu40(labels: Integer[np.ndarray, "n"]) -> Int32[np.ndarray, "n"]:
    """ScanNet's classes 0..19 of NYU40 ids; `IGNORE_LABEL` for every other id."""
    table = np.full(max(NYU40_OF_SCANNET20) + 1, IGNORE_LABEL, np.int32)
    table[list(NYU40_OF_SCANNET20)] = np.arange(len(SCANNET20))
    return table[np.where((labels >= 0) & (labels < len(table)), labels, 0)]
