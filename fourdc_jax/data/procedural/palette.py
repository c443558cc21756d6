"""Plausible colours and reflectivities of materials, drawn with a little variation."""

import numpy as np
from jaxtyping import Float64

# Probability of a depth return of surfaces that structured light sees badly.
GLASS = 0.25
MIRROR = 0.3
SCREEN = 0.45
POLISHED = 0.8
BLACK = 0.85

_MATERIALS = {
    "wood": [(0.55, 0.38, 0.22), (0.42, 0.27, 0.15), (0.72, 0.56, 0.37), (0.80, 0.68, 0.50)],
    "paint": [(0.92, 0.91, 0.88), (0.85, 0.85, 0.83), (0.35, 0.36, 0.38), (0.60, 0.70, 0.72)],
    "fabric": [
        (0.30, 0.34, 0.42),
        (0.55, 0.50, 0.44),
        (0.60, 0.22, 0.20),
        (0.25, 0.40, 0.33),
        (0.78, 0.74, 0.66),
        (0.22, 0.22, 0.25),
    ],
    "linen": [(0.90, 0.89, 0.86), (0.70, 0.75, 0.82), (0.75, 0.62, 0.58), (0.55, 0.60, 0.52)],
    "metal": [(0.62, 0.63, 0.65), (0.25, 0.25, 0.27), (0.75, 0.74, 0.72)],
    "plastic": [(0.15, 0.15, 0.17), (0.85, 0.85, 0.85), (0.20, 0.35, 0.60), (0.75, 0.30, 0.15)],
    "ceramic": [(0.95, 0.95, 0.94), (0.90, 0.89, 0.84)],
    "stone": [(0.40, 0.39, 0.38), (0.70, 0.67, 0.62), (0.20, 0.20, 0.21)],
    "wall": [(0.90, 0.88, 0.82), (0.85, 0.86, 0.87), (0.80, 0.76, 0.66), (0.72, 0.78, 0.74)],
    "floor": [(0.50, 0.38, 0.26), (0.62, 0.50, 0.36), (0.45, 0.45, 0.46), (0.60, 0.57, 0.53)],
    "leaf": [(0.20, 0.38, 0.16), (0.28, 0.45, 0.20)],
    "dark": [(0.06, 0.06, 0.07), (0.10, 0.10, 0.11)],
}
_BRIGHTNESS, _TINT = 0.05, 0.012  # standard deviations


def pick(rng: np.random.Generator, material: str) -> Float64[np.ndarray, "3"]:
    """RGB in [0, 1] of one piece of the material."""
    choices = np.array(_MATERIALS[material])
    color = choices[rng.integers(len(choices))]
    color = color * (1 + _BRIGHTNESS * rng.standard_normal()) + _TINT * rng.standard_normal(3)
    return np.clip(color, 0, 1)


def vivid(rng: np.random.Generator, count: int) -> Float64[np.ndarray, "n 3"]:
    """Colours of book spines, toys, prints: anything goes, none neon."""
    return 0.15 + 0.65 * rng.random((count, 3))
