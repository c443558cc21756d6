"""What is to be learnt of a scene's voxels, from the labels of its points."""

import numpy as np
from jaxtyping import Int32

from fourdc_jax.data.label_sets import IGNORE_LABEL


def voxel_labels(
    labels: Int32[np.ndarray, "n"] | None, rows: Int32[np.ndarray, "n"], num_voxels: int
) -> Int32[np.ndarray, "v"]:
    """The label that all points of a voxel share, `IGNORE_LABEL` where they disagree."""
    shared = np.full(num_voxels, IGNORE_LABEL, np.int32)
    if labels is None:
        return shared
    shared[rows] = labels  # one point of each voxel speaks for it ...
    shared[rows[labels != shared[rows]]] = IGNORE_LABEL  # ... unless another one disagrees
    return shared
