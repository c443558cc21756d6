"""Imports follow the layers: every edge that the rules below do not name fails."""

import ast
import sys
from pathlib import Path

import pytest
from fixtures.paths import ROOT

# Layer (longest matching prefix of the file's path) -> packages of this project it may import.
PROJECT = {
    "kernels": {"kernels"},
    "fourdc_jax/sparse": {"fourdc_jax.sparse", "kernels"},
    "fourdc_jax/models": {"fourdc_jax.models", "fourdc_jax.sparse"},
    "fourdc_jax/losses": {"fourdc_jax.losses"},
    "fourdc_jax/data": {"fourdc_jax.data"},
    "fourdc_jax/evaluation": {"fourdc_jax.evaluation"},
    "fourdc_jax/train": {"fourdc_jax.train"},
    "fourdc_jax/viz": {"fourdc_jax.viz"},
    "fourdc_jax/tasks": {"fourdc_jax", "kernels"},
    "configs": set(),
    "experiments": {"fourdc_jax", "kernels"},
}

# Layer -> packages from outside it may import, besides the standard library.
OUTSIDE = {
    "kernels": {"jax", "jaxtyping", "numpy"},
    "fourdc_jax/sparse": {"flax", "jax", "jaxtyping", "numpy"},
    "fourdc_jax/models": {"flax", "jax", "jaxtyping", "numpy"},
    "fourdc_jax/losses": {"jax", "jaxtyping"},
    "fourdc_jax/data": {"absl", "jaxtyping", "numpy", "plyfile", "scipy", "tqdm", "trimesh"},
    "fourdc_jax/evaluation": {"jaxtyping", "numpy"},
    "fourdc_jax/train": {
        *("absl", "flax", "jax", "jaxtyping", "ml_collections", "numpy", "optax"),
        *("tensorboardX", "tqdm"),
    },
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
    "triton": ["kernels/triton_call.py"],
    "triton.language": ["kernels/triton_call.py", "kernels/*/triton*.py"],
    "jax.pmap": ["fourdc_jax/train/parallel.py"],
    "importlib.import_module": [],  # no module is chosen by a string
}


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


def violations(path: str, source: str) -> list[str]:
    """One line for each import of the file at `path` (relative, posix) that is not allowed."""
    layer = max((k for k in PROJECT if path.startswith(k + "/")), key=len, default=None)
    if layer is None:
        return [] if path in ("fourdc_jax/__init__.py",) else [f"{path} belongs to no layer"]
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
        elif name.split(".")[0] in ("fourdc_jax", "kernels", "configs", "experiments", "tests"):
            if not any(within(name, package) for package in PROJECT[layer]):
                found.append(f"{where}: {layer} may import {sorted(PROJECT[layer])}")
        elif not allowed_outside(name, layer):
            found.append(f"{where}: {layer} may import {sorted(OUTSIDE[layer])}")
    return found


def allowed_outside(name: str, layer: str) -> bool:
    """Whether a layer may import a name from outside the project."""
    package = name.split(".")[0]
    if package in sys.stdlib_module_names or OUTSIDE[layer] is None:
        return True
    return package in OUTSIDE[layer]


def source_files() -> list[Path]:
    """Every Python file of the packages, the configs and the experiments."""
    folders = ("kernels", "fourdc_jax", "configs", "experiments")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_every_import_follows_the_layers():
    files = source_files()
    assert len(files) > 10
    found = [
        line
        for path in files
        for line in violations(path.relative_to(ROOT).as_posix(), path.read_text())
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("kernels/sparse_conv/api.py", "from fourdc_jax.sparse import maps"),
        ("kernels/sparse_conv/api.py", "import flax"),
        ("kernels/sparse_conv/api.py", "import triton"),
        ("kernels/sparse_conv/xla.py", "import triton.language as tl"),
        ("kernels/sparse_conv/triton.py", "import jax_triton as jt"),
        ("fourdc_jax/data/trajectory.py", "import jax"),
        ("fourdc_jax/data/trajectory.py", "import jax.numpy as jnp"),
        ("fourdc_jax/data/trajectory.py", "import kernels"),
        ("fourdc_jax/data/trajectory.py", "def f():\n    from flax import linen"),
        ("fourdc_jax/data/batches.py", "import grain"),
        ("fourdc_jax/data/batches.py", "from grain.python import MapDataset"),
        ("fourdc_jax/sparse/layers.py", "from fourdc_jax.models import unet"),
        ("fourdc_jax/sparse/layers.py", "from fourdc_jax import models"),
        ("fourdc_jax/models/unet.py", "import kernels"),
        ("fourdc_jax/models/unet.py", "from fourdc_jax.data.scan import Scan"),
        ("fourdc_jax/losses/simsiam.py", "import kernels"),
        ("fourdc_jax/losses/simsiam.py", "from fourdc_jax.sparse import norm"),
        ("fourdc_jax/losses/simsiam.py", "from fourdc_jax.train import state"),
        ("fourdc_jax/train/loop.py", "from fourdc_jax.models.unet import SparseUNet"),
        ("fourdc_jax/train/loop.py", "from fourdc_jax.losses import simsiam"),
        ("fourdc_jax/train/loop.py", "from fourdc_jax.data import loader"),
        ("fourdc_jax/train/loop.py", "from fourdc_jax.tasks import pretrain"),
        ("fourdc_jax/train/loop.py", "import orbax.checkpoint as ocp"),
        ("fourdc_jax/train/step.py", "import jax\nstep = jax.pmap(f)"),
        ("fourdc_jax/train/step.py", "from jax import pmap"),
        ("fourdc_jax/evaluation/detection.py", "import jax"),
        ("fourdc_jax/evaluation/detection.py", "import scipy"),
        ("fourdc_jax/viz/render.py", "import jax"),
        ("fourdc_jax/viz/render.py", "from fourdc_jax.data import scan"),
        ("fourdc_jax/tasks/pretrain.py", "import importlib\nimportlib.import_module(name)"),
        ("fourdc_jax/tasks/pretrain.py", "__import__(name)"),
        ("fourdc_jax/tasks/pretrain.py", "from . import detection"),
        ("fourdc_jax/tasks/pretrain.py", "import grain"),
        ("configs/pretrain.py", "import jax"),
        ("configs/pretrain.py", "from fourdc_jax.models import unet"),
        ("experiments/pretrain.py", "from configs import pretrain"),
        ("experiments/pretrain.py", "from orbax import checkpoint"),
        ("fourdc_jax/utils.py", "import numpy"),
    ],
)
def test_a_forbidden_import_is_found(path, source):
    assert len(violations(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("kernels/triton_call.py", "import triton\nimport jax_triton as jt\nimport jax"),
        ("kernels/sparse_conv/triton.py", "import triton.language as tl"),
        ("kernels/sparse_conv/triton.py", "from triton import language as tl"),
        ("fourdc_jax/sparse/layers.py", "import kernels\nfrom flax import linen as nn"),
        ("fourdc_jax/models/unet.py", "from fourdc_jax.sparse.layers import Conv"),
        ("fourdc_jax/data/loader.py", "import grain.python as grain"),
        ("fourdc_jax/train/checkpoints.py", "import orbax.checkpoint as ocp"),
        ("fourdc_jax/train/parallel.py", "import jax\nstep = jax.pmap(f)"),
        ("fourdc_jax/tasks/pretrain.py", "from fourdc_jax.data import loader\nimport kernels"),
        ("experiments/bench.py", "import torch\nfrom fourdc_jax.viz import render"),
        ("configs/pretrain.py", "from ml_collections import ConfigDict"),
    ],
)
def test_an_allowed_import_passes(path, source):
    assert violations(path, source) == []
