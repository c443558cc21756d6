"""Triangle meshes: OFF with all its variants, whatever else trimesh reads, and surface sampling."""

import re
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float32, Float64, Int64

from fourdc_jax.data.readers.raw_points import finite_rows, reading

SUFFIXES = (".off", ".obj", ".ply", ".stl", ".glb", ".gltf", ".dae", ".3mf")
# OFF, COFF, NOFF, STOFF, ...: the prefixes announce columns after x y z, which are not read.
OFF_MAGIC = re.compile(r"\s*(?:ST)?C?N?OFF")


def load_mesh(path: Path) -> trimesh.Trimesh:
    """Load a mesh file as one triangle mesh.

    Raises:
      ValueError: naming the file, if it is damaged, holds no triangle, or no triangle with an area.
    """
    with reading(path, f"{path.suffix} mesh"):
        if path.suffix.lower() == ".off":
            vertices, faces = parse_off(path.read_text(encoding="latin-1"))
        else:
            loaded = trimesh.load_mesh(str(path), process=False)
            vertices, faces = np.asarray(loaded.vertices), np.asarray(loaded.faces)
        if not len(faces):
            raise ValueError("it has no faces")
        if vertices.shape[1:] != (3,) or faces.shape[1:] != (3,):
            raise ValueError(f"it has vertices {vertices.shape} and faces {faces.shape}")
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise ValueError(f"a face uses vertex {faces.max()} of {len(vertices)}")
        mesh = trimesh.Trimesh(vertices, faces, process=False)
        if not finite_rows(mesh.triangles.reshape(-1, 3)).all():
            raise ValueError("it has coordinates that are not finite")
        if not mesh.area_faces.sum() > 0:
            raise ValueError("all its faces have area 0")
        return mesh


def sample_surface(
    mesh: trimesh.Trimesh, num_points: int, generator: np.random.Generator
) -> Float32[np.ndarray, "p 3"]:
    """Points drawn uniformly from the surface: faces by area, then uniformly within the face."""
    points, _ = trimesh.sample.sample_surface(mesh, num_points, seed=generator)
    return np.asarray(points, np.float32)


def check_mesh(path: Path) -> None:
    """Check that the file is not empty and, for OFF, that its header is one."""
    with reading(path, f"{path.suffix} mesh"):
        if path.suffix.lower() == ".off":
            with path.open(encoding="latin-1") as file:
                _off_counts(_content_lines(file.read(4096))[:2])


def parse_off(text: str) -> tuple[Float64[np.ndarray, "v 3"], Int64[np.ndarray, "f 3"]]:
    """Vertices and triangles of an OFF file; polygons become fans, points and edges are dropped.

    Many files of ModelNet40 have the counts glued to the magic word (`OFF2258 2436 0`).
    """
    lines = _content_lines(text)
    num_vertices, num_faces, start = _off_counts(lines[:2])
    end = start + num_vertices + num_faces
    if len(lines) < end:
        raise ValueError(
            f"it ends after {len(lines) - start} of {num_vertices} vertices and {num_faces} faces"
        )
    if not num_vertices or not num_faces:
        raise ValueError(f"it has {num_vertices} vertices and {num_faces} faces")
    vertices = np.loadtxt(lines[start : start + num_vertices], usecols=(0, 1, 2), ndmin=2)
    rows = [line.split() for line in lines[start + num_vertices : end]]
    triangles = [(row[1], row[i], row[i + 1]) for row in rows for i in range(2, _polygon_size(row))]
    return vertices, np.array(triangles, np.int64).reshape(-1, 3)


def _polygon_size(row: list[str]) -> int:
    size = int(row[0])
    if len(row) < size + 1:
        raise ValueError(f"a face of {size} vertices has the row {' '.join(row)!r}")
    return size


def _content_lines(text: str) -> list[str]:
    """Lines without comments and blank lines."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def _off_counts(head: list[str]) -> tuple[int, int, int]:
    """Number of vertices, number of faces, and the index of the line after them."""
    magic = OFF_MAGIC.match(head[0]) if head else None
    if magic is None:
        raise ValueError(
            f"its first line is {head[0][:40]!r} instead of OFF" if head else "no line"
        )
    glued = head[0][magic.end() :].split()
    counts = glued or (head[1].split() if len(head) > 1 else [])
    if len(counts) < 2:
        raise ValueError(f"its header has the counts {counts} instead of vertices, faces, edges")
    return int(counts[0]), int(counts[1]), 1 if glued else 2
