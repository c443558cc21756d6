"""The field's sparse residual U-Nets by name: planes and blocks of every stage.

Res16UNet is SpatioTemporalSegmentation's family (also PointContrast's and CSC's), MinkUNet that of
MinkowskiEngine's examples. They differ in the decoder planes of the variants without a letter.
"""

from typing import Literal, NamedTuple

BlockType = Literal["basic", "bottleneck"]

_ENCODER = (32, 64, 128, 256)
_DEEP = (2, 3, 4, 6, 2, 2, 2, 2)


class Architecture(NamedTuple):
    """Residual blocks of the eight stages: four going down, four going up."""

    block: BlockType
    planes: tuple[int, ...]
    layers: tuple[int, ...]


def _basic(layers: tuple[int, ...], *decoder: int) -> Architecture:
    return Architecture("basic", _ENCODER + decoder, layers)


def _bottleneck(layers: tuple[int, ...], *decoder: int) -> Architecture:
    return Architecture("bottleneck", _ENCODER + decoder, layers)


_LETTERED = {
    "14A": _basic((1,) * 8, 128, 128, 96, 96),
    "14B": _basic((1,) * 8, 128, 128, 128, 128),
    "14C": _basic((1,) * 8, 192, 192, 128, 128),
    "14D": _basic((1,) * 8, 384, 384, 384, 384),
    "18A": _basic((2,) * 8, 128, 128, 96, 96),
    "18B": _basic((2,) * 8, 128, 128, 128, 128),
    "18D": _basic((2,) * 8, 384, 384, 384, 384),
    "34A": _basic(_DEEP, 256, 128, 64, 64),
    "34B": _basic(_DEEP, 256, 128, 64, 32),
    "34C": _basic(_DEEP, 256, 128, 96, 96),
}

ARCHITECTURES: dict[str, Architecture] = {
    "Res16UNet14": _basic((1,) * 8, 256, 256, 256, 256),
    "Res16UNet18": _basic((2,) * 8, 256, 256, 256, 256),
    "Res16UNet34": _basic(_DEEP, 256, 256, 256, 256),
    "Res16UNet50": _bottleneck(_DEEP, 256, 256, 256, 256),
    "Res16UNet101": _bottleneck((2, 3, 4, 23, 2, 2, 2, 2), 256, 256, 256, 256),
    "Res16UNet14A2": _basic((1, 1, 1, 1, 2, 2, 2, 2), 128, 128, 96, 96),
    "Res16UNet14B2": _basic((1, 1, 1, 1, 2, 2, 2, 2), 128, 128, 128, 128),
    "Res16UNet14B3": _basic((2, 2, 2, 2, 1, 1, 1, 1), 128, 128, 128, 128),
    "MinkUNet14": _basic((1,) * 8, 256, 128, 96, 96),
    "MinkUNet18": _basic((2,) * 8, 256, 128, 96, 96),
    "MinkUNet34": _basic(_DEEP, 256, 128, 96, 96),
    "MinkUNet50": _bottleneck(_DEEP, 256, 128, 96, 96),
    "MinkUNet101": _bottleneck((2, 3, 4, 23, 2, 2, 2, 2), 256, 128, 96, 96),
    **{f"Res16UNet{variant}": architecture for variant, architecture in _LETTERED.items()},
    **{f"MinkUNet{variant}": architecture for variant, architecture in _LETTERED.items()},
}


def find_architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
      ValueError: there is none; the message lists those there are.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"no U-Net is called {name!r}; there are {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name]
