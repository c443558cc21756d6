"""What pictures are made of, from files: sequences that make_sequences.py wrote, and features."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np


def load_sequence(path: Path) -> tuple[str, list[np.ndarray], list[np.ndarray], int]:
    """Title, frames, ids and number of scan points of a file that make_sequences.py wrote.

    Raises:
      FileNotFoundError, ValueError: there is no such file, or it holds something else.
    """
    arrays = load_arrays(path, ["points_0", "ids_0", "num_scene_points"])
    count = sum(name.startswith("points_") for name in arrays)
    frames, ids = ([f"{kind}_{i}" for i in range(count)] for kind in ("points", "ids"))
    check_names(path, arrays, [*frames, *ids])
    title = " with ".join(str(arrays[name]) for name in ("scan", "shape") if name in arrays)
    number = int(arrays["num_scene_points"])
    return title, [arrays[name] for name in frames], [arrays[name] for name in ids], number


def load_arrays(path: Path, needed: list[str]) -> dict[str, np.ndarray]:
    """The arrays of an .npz.

    Raises:
      FileNotFoundError, ValueError: there is no such file, it is no .npz, or a name is missing.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with path.open("rb") as file, np.load(file) as content:
            arrays = {name: content[name] for name in content}
    except (ValueError, EOFError, BadZipFile, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is no .npz file of arrays: {error}") from error
    check_names(path, arrays, needed)
    return arrays


def check_names(path: Path, arrays: dict[str, np.ndarray], needed: list[str]) -> None:
    """Raises ValueError where a name is missing."""
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; it holds {', '.join(arrays)}")
