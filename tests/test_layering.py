"""Imports follow the layers: every edge that the rules below do not name fails."""

import ast
import sys
from pathlib import Path

import pytest
from fixtures.paths import ROOT

STONES = {"fourdc_jax.params", "fourdc_jax.files"}  # everyone may import these two

# Where a folder's files are imported from; the longest that fits a path is its name.
IMPORTED_AS = {
    "kernels": "fourdc_jax.kernels",
    "configs": "fourdc_jax.configs",
    "experiments/benchmarks": "benchmarks",
    "experiments": "fourdc_jax.experiments",
    "fourdc_jax": "fourdc_jax",
}

# Layer (longest matching prefix of the file's path) -> packages of this project it may import.
PROJECT = {
    "kernels": {"fourdc_jax.kernels"},
    "fourdc_jax/params.py": set(),
    "fourdc_jax/files.py": set(),
    "fourdc_jax/sparse": {"fourdc_jax.sparse", "fourdc_jax.kernels"},
    "fourdc_jax/models": {"fourdc_jax.models", "fourdc_jax.sparse", *STONES},
    "fourdc_jax/losses": {"fourdc_jax.losses", *STONES},
    "fourdc_jax/data": {"fourdc_jax.data", *STONES},
    "fourdc_jax/evaluation": {"fourdc_jax.evaluation", *STONES},
    "fourdc_jax/train": {"fourdc_jax.train", *STONES},
    "fourdc_jax/results": {"fourdc_jax.results", "fourdc_jax.train", *STONES},
    "fourdc_jax/viz": {"fourdc_jax.viz", *STONES},
    "fourdc_jax/tasks": {
        *("fourdc_jax.models", "fourdc_jax.losses", "fourdc_jax.data", "fourdc_jax.evaluation"),
        *("fourdc_jax.results", "fourdc_jax.train", "fourdc_jax.viz", *STONES),
        "fourdc_jax.tasks",  # and which of them, below
    },
    "configs": {"fourdc_jax.configs"},
    "experiments": {
        *("fourdc_jax.tasks", "fourdc_jax.train", "fourdc_jax.results", "fourdc_jax.viz"),
        *("fourdc_jax.data", "fourdc_jax.models", "fourdc_jax.sparse", "fourdc_jax.kernels"),
        *("fourdc_jax.evaluation", "benchmarks", *STONES),
    },
}

# Layer -> packages from outside it may import, besides the standard library.
OUTSIDE = {
    "kernels": {"jax", "jaxtyping", "numpy"},
    "fourdc_jax/params.py": set(),
    "fourdc_jax/files.py": set(),
    "fourdc_jax/sparse": {"flax", "jax", "jaxtyping", "numpy"},
    "fourdc_jax/models": {"flax", "jax", "jaxtyping", "numpy"},
    "fourdc_jax/losses": {"jax", "jaxtyping"},
    "fourdc_jax/data": {"absl", "jaxtyping", "numpy", "plyfile", "scipy", "tqdm", "trimesh"},
    "fourdc_jax/evaluation": {"jaxtyping", "numpy"},
    "fourdc_jax/train": {
        *("absl", "flax", "jax", "jaxtyping", "ml_collections", "numpy", "optax"),
        *("tensorboardX", "tqdm"),
    },
    "fourdc_jax/results": {"jaxtyping", "numpy"},
    "fourdc_jax/viz": {"jaxtyping", "matplotlib", "numpy", "plyfile"},
    "fourdc_jax/tasks": {"absl", "flax", "jax", "jaxtyping", "ml_collections", "numpy", "optax"},
    "configs": {"ml_collections"},
    "experiments": None,  # scripts may use any dependency, but not the fragile ones below
}

# Fragile dependencies live in one file each (a glob relative to the repository).
ONLY_IN = {
    "grain": ["fourdc_jax/data/loader.py"],
    "orbax": ["fourdc_jax/train/checkpoints.py"],
    "jax_triton": ["kernels/triton_call.py"],
    "triton": ["kernels/triton_call.py", "kernels/interpreter.py"],
    "triton.language": ["kernels/interpreter.py", "kernels/*/triton*.py"],
    "numba": ["kernels/cpu_*.py", "kernels/*/cpu*.py"],
    "llvmlite": ["kernels/cpu_*.py", "kernels/*/cpu*.py"],
    "jax.pmap": ["fourdc_jax/train/parallel.py"],
    "importlib.import_module": [],  # no module is chosen by a string
    # Deprecated names fail in the tests: nobody hides a warning.
    **dict.fromkeys(("warnings.catch_warnings", "warnings.filterwarnings"), ()),
    "warnings.simplefilter": (),
}

OWN = {"fourdc_jax", "kernels", "configs", "experiments", "benchmarks", "tests"}
EXPERIMENTS = "fourdc_jax.experiments"
ANY_TASK = ("from_config.py",)  # in tasks/: files that know all of them
COMMANDS = {path.stem for path in (ROOT / "experiments").glob("*.py")}


def imported_names(source: str) -> list[tuple[int, str]]:
    """(line, dotted name) of every import, inside functions too, and of `jax.pmap` written out."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            names += [(node.lineno, f"{prefix}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            written = f"{node.value.id}.{node.attr}"
            if written in ONLY_IN:
                names.append((node.lineno, written))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "__import__":
            names.append((node.lineno, "importlib.import_module"))
    return names


def within(name: str, package: str) -> bool:
    """Whether a dotted name is the package or lies inside it."""
    return name == package or name.startswith(package + ".")


def find_layer(path: str) -> str | None:
    """The longest layer that a path (relative, posix) lies in, or is."""
    layers = [layer for layer in PROJECT if path == layer or path.startswith(layer + "/")]
    return max(layers, key=len, default=None)


def violations(path: str, source: str) -> list[str]:
    """One line for each import of the file at `path` (relative, posix) that is not allowed."""
    layer = find_layer(path)
    if layer is None:
        return [] if path == "fourdc_jax/__init__.py" else [f"{path} belongs to no layer"]
    found = []
    for line, name in imported_names(source):
        where = f"{path}:{line} imports {name}"
        fragile = [package for package in ONLY_IN if within(name, package)]
        if name.startswith("."):
            found.append(f"{where}: imports are absolute")
        elif fragile:
            homes = ONLY_IN[max(fragile, key=len)]
            if not any(Path(path).match(home) for home in homes):
                found.append(f"{where}: only {' or '.join(homes) or 'no file'} may")
        elif name.split(".")[0] in OWN:
            if not any(within(name, package) for package in PROJECT[layer]):
                found.append(f"{where}: {layer} may import {sorted(PROJECT[layer])}")
            elif message := foreign_task(path, name):
                found.append(f"{where}: {message}")
        elif path.startswith("experiments/") and name.split(".")[0] in COMMANDS:
            found.append(f"{where}: commands are run, not imported")
        elif not allowed_outside(name, layer):
            found.append(f"{where}: {layer} may import {sorted(OUTSIDE[layer])}")
    return found


def foreign_task(path: str, name: str) -> str:
    """Why a file of tasks/<a>/ may not import a name of tasks/<b>/; "" where it may."""
    folders = Path(path).parts
    if folders[:2] != ("fourdc_jax", "tasks") or not within(name, "fourdc_jax.tasks"):
        return ""
    home = folders[2]
    if home in ANY_TASK:
        return ""
    allowed = {home, "shared"}
    parts = name.split(".")
    task = parts[2] if len(parts) > 2 else ""
    return "" if task in allowed else f"tasks/{home} may import of the tasks {sorted(allowed)}"


def allowed_outside(name: str, layer: str) -> bool:
    """Whether a layer may import a name from outside the project."""
    package = name.split(".")[0]
    if package in sys.stdlib_module_names or OUTSIDE[layer] is None:
        return True
    return package in OUTSIDE[layer]


def source_files() -> list[str]:
    """Every Python file of the package, the configs and the experiments, relative, posix."""
    folders = ("kernels", "fourdc_jax", "configs", "experiments")
    files = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [path.relative_to(ROOT).as_posix() for path in files]


def module_name(path: str) -> str:
    """What the file at `path` is imported as."""
    folder = max((f for f in IMPORTED_AS if path.startswith(f + "/")), key=len)
    parts = Path(path).relative_to(folder).with_suffix("").parts
    return ".".join([IMPORTED_AS[folder], *(part for part in parts if part != "__init__")])


def import_circles(sources: dict[str, str]) -> list[list[str]]:
    """Groups of modules of which each imports, perhaps through others, all of its group.

    Args:
      sources: module -> its code. A package counts as imported where a name of its own is.
    """
    imports = {
        module: {
            next(part for part in (name, name.rpartition(".")[0]) if part in sources)
            for _, name in imported_names(source)
            if name in sources or name.rpartition(".")[0] in sources
        }
        for module, source in sources.items()
    }
    reached: dict[str, set[str]] = {}
    for module in imports:
        seen, queue = set(), [module]
        while queue:
            fresh = imports[queue.pop()] - seen
            seen |= fresh
            queue += fresh
        reached[module] = seen
    groups = {
        tuple(sorted(other for other in reached[m] if m in reached[other]))
        for m in reached
        if m in reached[m]
    }
    return [list(group) for group in sorted(groups)]


def test_every_import_follows_the_layers():
    files = source_files()
    assert len(files) > 100
    found = [line for path in files for line in violations(path, (ROOT / path).read_text())]
    assert not found, "\n" + "\n".join(found)


def test_no_module_imports_itself_through_others():
    sources = {module_name(path): (ROOT / path).read_text() for path in source_files()}
    assert import_circles(sources) == []


@pytest.mark.parametrize(
    ("sources", "circles"),
    [
        ({"p.a": "from p import b", "p.b": "import p.a", "p": ""}, [["p.a", "p.b"]]),
        ({"p.a": "from p.b import x", "p.b": "from p.c import y", "p.c": "import p.a"}, 1),
        ({"p.a": "def f():\n    from p.a import g"}, [["p.a"]]),
        ({"p": "from p.a import f", "p.a": "from p import g"}, [["p", "p.a"]]),
        ({"p": "from p.a import f", "p.a": "from p.b import g", "p.b": "import jax"}, []),
    ],
)
def test_a_circle_is_found(sources, circles):
    found = import_circles(sources)
    assert found == circles or len(found) == circles


def test_tests_import_libraries_and_no_command():
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for line, name in imported_names(path.read_text()):
            first = name.split(".")[0]
            if first in COMMANDS or first == "experiments" or within(name, EXPERIMENTS):
                found.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not found, "run commands as users do:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("kernels/sparse_conv/api.py", "from fourdc_jax.sparse import maps"),
        ("kernels/sparse_conv/api.py", "from fourdc_jax.files import write_atomically"),
        ("kernels/sparse_conv/api.py", "import kernels"),
        ("kernels/sparse_conv/api.py", "import flax"),
        ("kernels/sparse_conv/api.py", "import triton"),
        ("kernels/sparse_conv/xla.py", "import triton.language as tl"),
        ("kernels/sparse_conv/triton.py", "import jax_triton as jt"),
        ("kernels/interpreter.py", "import jax_triton as jt"),
        ("kernels/triton_call.py", "import warnings\nwarnings.filterwarnings('ignore')"),
        ("kernels/triton_call.py", "from warnings import catch_warnings"),
        ("fourdc_jax/params.py", "from fourdc_jax.data import scan"),
        ("fourdc_jax/files.py", "import numpy"),
        ("fourdc_jax/data/sequences/trajectories.py", "import jax"),
        ("fourdc_jax/data/sequences/trajectories.py", "import jax.numpy as jnp"),
        ("fourdc_jax/data/sequences/trajectories.py", "from fourdc_jax import kernels"),
        ("fourdc_jax/data/sequences/trajectories.py", "def f():\n    from flax import linen"),
        ("fourdc_jax/data/scenes/batches.py", "import grain"),
        ("fourdc_jax/data/scenes/batches.py", "from grain.python import MapDataset"),
        ("fourdc_jax/sparse/layers.py", "from fourdc_jax.models import unet"),
        ("fourdc_jax/sparse/layers.py", "from fourdc_jax import models"),
        ("fourdc_jax/models/unet.py", "from fourdc_jax import kernels"),
        ("fourdc_jax/models/unet.py", "from fourdc_jax.data.scan import Scan"),
        ("fourdc_jax/losses/simsiam.py", "from fourdc_jax.kernels import gather_rows"),
        ("fourdc_jax/losses/simsiam.py", "from fourdc_jax.sparse import batch_norm"),
        ("fourdc_jax/losses/simsiam.py", "from fourdc_jax.train import state"),
        ("fourdc_jax/train/loop.py", "from fourdc_jax.models.unet import SparseUNet"),
        ("fourdc_jax/train/loop.py", "from fourdc_jax.losses import simsiam"),
        ("fourdc_jax/train/loop.py", "from fourdc_jax.data import loader"),
        ("fourdc_jax/train/loop.py", "from fourdc_jax.tasks.pretrain import task"),
        ("fourdc_jax/train/loop.py", "from fourdc_jax.results import runs"),
        ("fourdc_jax/train/loop.py", "import orbax.checkpoint as ocp"),
        ("fourdc_jax/train/step.py", "import jax\nstep = jax.pmap(f)"),
        ("fourdc_jax/train/step.py", "from jax import pmap"),
        ("fourdc_jax/results/tables.py", "from fourdc_jax.tasks.segmentation import scores"),
        ("fourdc_jax/results/tables.py", "from fourdc_jax.evaluation import segmentation"),
        ("fourdc_jax/results/tables.py", "import jax"),
        ("fourdc_jax/evaluation/detection.py", "import jax"),
        ("fourdc_jax/evaluation/detection.py", "import scipy"),
        ("fourdc_jax/viz/rendering/render.py", "import jax"),
        ("fourdc_jax/viz/rendering/render.py", "from fourdc_jax.data import scan"),
        ("fourdc_jax/tasks/pretrain/task.py", "import importlib\nimportlib.import_module(name)"),
        ("fourdc_jax/tasks/pretrain/task.py", "__import__(name)"),
        ("fourdc_jax/tasks/pretrain/task.py", "from . import report"),
        ("fourdc_jax/tasks/pretrain/task.py", "import grain"),
        ("fourdc_jax/tasks/pretrain/task.py", "from fourdc_jax.tasks.segmentation import task"),
        ("fourdc_jax/tasks/pretrain/task.py", "from fourdc_jax.tasks import segmentation"),
        ("fourdc_jax/tasks/pretrain/task.py", "from fourdc_jax.tasks import from_config"),
        ("fourdc_jax/tasks/pretrain/task.py", "import fourdc_jax.tasks"),
        ("fourdc_jax/tasks/shared/scenes.py", "from fourdc_jax.tasks.segmentation import params"),
        ("fourdc_jax/tasks/pretrain/task.py", "from fourdc_jax.experiments import evaluate"),
        ("fourdc_jax/tasks/pretrain/task.py", "from benchmarks import timing"),
        ("configs/pretrain.py", "import jax"),
        ("configs/pretrain.py", "from fourdc_jax.models import unet"),
        ("configs/pretrain.py", "from configs import common"),
        ("experiments/pretrain.py", "from fourdc_jax.configs import pretrain"),
        ("experiments/pretrain.py", "from orbax import checkpoint"),
        ("experiments/pretrain.py", "import evaluate"),
        ("experiments/pretrain.py", "from predict import main"),
        ("experiments/pretrain.py", "from fourdc_jax.experiments import predict"),
        ("experiments/benchmarks/timing.py", "from bench_data import main"),
        ("fourdc_jax/utils.py", "import numpy"),
    ],
)
def test_a_forbidden_import_is_found(path, source):
    assert len(violations(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("kernels/triton_call.py", "import triton\nimport jax_triton as jt\nimport jax"),
        ("kernels/interpreter.py", "import triton.language as tl\nimport triton.runtime.jit"),
        ("kernels/sparse_conv/triton.py", "import triton.language as tl"),
        ("kernels/sparse_conv/triton.py", "from triton import language as tl"),
        ("fourdc_jax/sparse/layers.py", "from fourdc_jax import kernels\nfrom flax import linen"),
        ("fourdc_jax/models/unet.py", "from fourdc_jax.sparse.layers import Conv"),
        ("fourdc_jax/data/loader.py", "import grain.python as grain"),
        ("fourdc_jax/data/sources/cache.py", "from fourdc_jax.files import write_atomically"),
        ("fourdc_jax/train/checkpoints.py", "import orbax.checkpoint as ocp"),
        ("fourdc_jax/train/parallel.py", "import jax\nstep = jax.pmap(f)"),
        ("fourdc_jax/results/tables.py", "from fourdc_jax.train.run_config import read_config"),
        ("fourdc_jax/tasks/pretrain/task.py", "from fourdc_jax.data import loader"),
        ("fourdc_jax/tasks/pretrain/task.py", "from fourdc_jax.tasks.shared import assemble"),
        ("fourdc_jax/tasks/pretrain/task.py", "from fourdc_jax.tasks.pretrain.report import draw"),
        ("fourdc_jax/tasks/from_config.py", "from fourdc_jax.tasks.pretrain import task"),
        ("experiments/bench_peers.py", "import torch\nfrom benchmarks import timing"),
        ("experiments/evaluate.py", "from fourdc_jax.viz import page"),
        ("configs/pretrain.py", "from ml_collections import ConfigDict"),
        ("configs/pretrain.py", "from fourdc_jax.configs.common import network"),
    ],
)
def test_an_allowed_import_passes(path, source):
    assert violations(path, source) == []
