"""What `configs/segmentation.py` says, as parameters, for training and for prediction."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from fourdc_jax.data.scenes.from_config import DataParams
from fourdc_jax.models.segmenter import Segmenter, SegmenterParams, make_segmenter
from fourdc_jax.params import read_params
from fourdc_jax.tasks.shared.validation import EvaluationParams


@dataclass(frozen=True)
class SegmentationParams:
    """The parts of the config that are not the training loop's."""

    data: DataParams
    model: SegmenterParams
    eval: EvaluationParams
    implementation: str

    def make_model(
        self, num_classes: int, capacities: tuple[int, ...], axis_name: str | None
    ) -> Segmenter:
        """The network, for batches of so many rows at the five levels.

        Raises:
          ValueError: as `make_segmenter`.
        """
        make = partial(make_segmenter, self.model, num_classes, capacities)
        return make(axis_name=axis_name, implementation=self.implementation)


def read_segmentation_params(config: Mapping[str, Any]) -> SegmentationParams:
    """The parameters of plain values, a config's or those of config.json.

    Raises:
      ValueError: a key is missing or unknown, or a value is of the wrong type or impossible.
    """
    return SegmentationParams(
        data=read_params(DataParams, config["data"], "config.data"),
        model=read_params(SegmenterParams, config["model"], "config.model"),
        eval=read_params(EvaluationParams, config["eval"], "config.eval"),
        implementation=config["implementation"],
    )
