"""What is particular to ModelNet10 and ModelNet40: names, point sets, up axis and front.

Front. ModelNet's .off files are z up, but their front depends on the category, and ModelNet40 as
published is not aligned within all categories (an aligned edition exists). Measured on shapes at
hand, by the side of the backrest, cistern or handles: chairs (chair_0001, chair_0890) and toilets
(toilet_0001) face -y, sofas (sofa_0011, sofa_0020) and dressers (dresser_0026) face -x. Those four
are turned to +x; single shapes may still face elsewhere. Bathtubs and tables show no front, and
no file of a desk or a night stand was at hand: these are left as they are.
"""

import json
import re
from pathlib import Path

import numpy as np
from jaxtyping import Float

from fourdc_jax.data.readers.raw_points import RawPoints, reading

FILE_NAME = re.compile(r"(?P<category>[a-z_]+)_\d{4}")
SPLITS = ("train", "val", "test")

X_FROM_MINUS_Y = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
X_FROM_MINUS_X = np.diag([-1.0, -1.0, 1.0])
FRONT = {
    "chair": X_FROM_MINUS_Y,
    "toilet": X_FROM_MINUS_Y,
    "sofa": X_FROM_MINUS_X,
    "dresser": X_FROM_MINUS_X,
}
Z_UP_FROM_Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def canonical_category(name: str) -> str:
    """A folder's or the paper's spelling as ModelNet spells it: `Night Stand` -> `night_stand`."""
    name = re.sub(r"[\s-]+", "_", name.strip().lower())
    return {"nightstand": "night_stand"}.get(name, name)


def category_in_name(stem: str) -> str | None:
    """The category in a ModelNet file name: `night_stand_0012` -> `night_stand`."""
    match = FILE_NAME.fullmatch(stem)
    return match["category"] if match else None


def orientation(path: Path, category: str, up: str) -> Float[np.ndarray, "3 3"]:
    """The rotation to z up and front +x.

    Args:
      up: "z" or "y", or "auto": y for glTF (by its specification) and for the .txt point sets of
        modelnet40_normal_resampled (PointNet++ turns them about y, "along up direction"), z for
        everything else.
    """
    if up not in ("auto", "y", "z"):
        raise ValueError(f"up must be 'auto', 'y' or 'z', got {up!r}")
    is_modelnet = category_in_name(path.stem) == category
    y_up = (".glb", ".gltf", ".txt") if is_modelnet else (".glb", ".gltf")
    from_y = up == "y" or (up == "auto" and path.suffix.lower() in y_up)
    upright = Z_UP_FROM_Y_UP if from_y else np.eye(3)
    # The .json sets are turned at random, each differently: no front can be told.
    has_front = is_modelnet and path.suffix.lower() != ".json"
    return FRONT.get(category, np.eye(3)) @ upright if has_front else upright


def is_point_json(path: Path) -> bool:
    """Whether a .json file is a point set: many are notes."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return '"vertices"' in file.read(256)


def read_json_points(path: Path) -> RawPoints:
    """The points of a `{"vertices": [[x, y, z], ...]}` file."""
    with reading(path, "JSON point set"):
        return RawPoints(np.array(json.loads(path.read_text())["vertices"], np.float64))
