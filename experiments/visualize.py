"""Make the pictures and the report of a run again, or draw a sequence or features alone.

    python experiments/visualize.py --workdir runs/demo
    python experiments/visualize.py --workdir runs/demo --sequence sequences/000000.npz
    python experiments/visualize.py --workdir runs/demo --features features.npz

A sequence is a file that experiments/make_sequences.py wrote; a features file holds `points`
[n, 3] and `features` [n, c]. With --hero both are drawn as one picture.
"""

import json
from pathlib import Path

import numpy as np
from absl import app, flags

from fourdc_jax.viz.page import Picture, write_page
from fourdc_jax.viz.pictures.features import draw_features
from fourdc_jax.viz.pictures.hero import hero
from fourdc_jax.viz.pictures.sequence import draw_sequence
from fourdc_jax.viz.plots.curves import collect_curves, draw_curves, read_metrics

WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run; pictures go to its pictures/")
SEQUENCE = flags.DEFINE_list("sequence", [], ".npz files of make_sequences.py")
FEATURES = flags.DEFINE_string("features", "", ".npz with points [n, 3] and features [n, c]")
HERO = flags.DEFINE_string("hero", "", "file for sequence and features in one picture")


def main(_: list[str]) -> None:
    workdir = Path(WORKDIR.value)
    if not workdir.is_dir():
        raise FileNotFoundError(f"--workdir {workdir} is no folder")
    if HERO.value and not (SEQUENCE.value and FEATURES.value):
        raise ValueError("--hero needs --sequence and --features")
    folder = workdir / "pictures"
    history = read_metrics(workdir / "metrics.jsonl")
    pictures = [Picture(draw_curves(history, folder / "curves.png"), "Training")]
    sequences = [load_sequence(Path(file)) for file in SEQUENCE.value]
    for file, (title, *sequence) in zip(SEQUENCE.value, sequences, strict=True):
        path = draw_sequence(*sequence, folder / f"sequence_{Path(file).stem}.png", title=title)
        pictures.append(Picture(path, f"Sequence {Path(file).stem}", CAPTION))
    if FEATURES.value:
        scan = load_arrays(Path(FEATURES.value), ["points", "features"])
        path = draw_features(scan["points"], scan["features"], folder / "features.png")
        pictures.append(Picture(path, "Learned features", "Main directions (PCA) as colours."))
    if HERO.value:
        hero(*sequences[0][1:], scan["points"], scan["features"], HERO.value)
    summary = {name: values[-1] for name, (_, values) in collect_curves(history).items()}
    config = workdir / "config.json"
    page = write_page(
        workdir,
        title=f"Run {workdir.resolve().name}",
        summary=summary,
        pictures=pictures,
        config=json.loads(config.read_text()) if config.is_file() else None,
    )
    print(f"wrote {page}")


CAPTION = "The object's colour is the time, yellow to red; numbered tracks follow single points."


def load_sequence(path: Path) -> tuple[str, list[np.ndarray], list[np.ndarray], int]:
    """Title, frames, ids and number of scan points of a file that make_sequences.py wrote."""
    arrays = load_arrays(path, ["points_0", "ids_0", "num_scene_points"])
    count = sum(name.startswith("points_") for name in arrays)
    load_arrays(path, [f"{kind}_{i}" for i in range(count) for kind in ("points", "ids")])
    frames = [arrays[f"points_{i}"] for i in range(count)]
    ids = [arrays[f"ids_{i}"] for i in range(count)]
    title = " with ".join(str(arrays[name]) for name in ("scan", "shape") if name in arrays)
    return title, frames, ids, int(arrays["num_scene_points"])


def load_arrays(path: Path, needed: list[str]) -> dict[str, np.ndarray]:
    """The arrays of an .npz; raises where the file or one of the names is missing."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    with np.load(path) as file:
        missing = [name for name in needed if name not in file]
        if missing:
            raise ValueError(f"{path} lacks {', '.join(missing)}; it holds {', '.join(file)}")
        return {name: file[name] for name in file}


if __name__ == "__main__":
    flags.mark_flag_as_required("workdir")
    app.run(main)
