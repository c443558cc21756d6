"""What a run on labelled scenes leaves for prediction."""

import json

import pytest

from fourdc_jax.data.label_sets import LabelSet
from fourdc_jax.tasks.shared.record import SceneRecord, read_scene_record

RECORD = SceneRecord("file", LabelSet(("a", "b"), ((9, 9, 200), (1, 2, 3))), (64, 32, 8, 8, 8))


def test_a_record_is_read_as_it_was_written(tmp_path):
    (tmp_path / "segmentation.json").write_text(json.dumps(RECORD.as_values()))
    assert read_scene_record(tmp_path, "segmentation") == RECORD


@pytest.mark.parametrize("content", ["{", '{"label_set": "file"}', '{"classes": 1}'])
def test_a_damaged_record_is_named(tmp_path, content):
    (tmp_path / "segmentation.json").write_text(content)
    with pytest.raises(ValueError, match=r"segmentation\.json"):
        read_scene_record(tmp_path, "segmentation")
