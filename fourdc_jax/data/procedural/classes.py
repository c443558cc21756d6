"""The 20 semantic classes of ScanNet's benchmark, in the order of its train ids."""

from fourdc_jax.data.label_sets import IGNORE_LABEL, SCANNET20

CLASSES = SCANNET20.names
CLUTTER = "clutter"  # class name of what gets IGNORE_LABEL

# Fixed parts of a room, and what covers its openings: no furniture.
BUILDING_CLASSES = frozenset(
    {"wall", "floor", "door", "window", "picture", "curtain", "shower curtain"}
)
# Classes without instances.
STUFF_CLASSES = frozenset({"wall", "floor", CLUTTER})


def label_of(name: str) -> int:
    """Train id of a class name, `IGNORE_LABEL` for clutter."""
    return IGNORE_LABEL if name == CLUTTER else CLASSES.index(name)
