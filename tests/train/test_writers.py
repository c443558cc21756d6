"""metrics.jsonl holds each step once, whatever was interrupted; TensorBoard gets the same."""

import json
import math
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event

from fourdc_jax.train.writers import MetricsFile, TensorBoard, read_history


def write_steps(workdir, resumed_step, steps):
    file = MetricsFile(workdir, resumed_step)
    for step in steps:
        file.write({"step": step, "total": step / 2})
    file.close()


def test_lines_after_the_resumed_step_are_written_again(tmp_path):
    write_steps(tmp_path, 0, [1, 2, 3, 4, 5])
    write_steps(tmp_path, 3, [4, 5, 6])
    assert read_history(tmp_path) == [{"step": s, "total": s / 2} for s in range(1, 7)]


def test_a_torn_last_line_is_dropped(tmp_path):
    write_steps(tmp_path, 0, [1, 2])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "to')
    assert [line["step"] for line in read_history(tmp_path)] == [1, 2]
    write_steps(tmp_path, 2, [3])
    assert [line["step"] for line in read_history(tmp_path)] == [1, 2, 3]


def test_a_fresh_run_starts_an_empty_file(tmp_path):
    assert read_history(tmp_path) == []
    write_steps(tmp_path, 0, [1, 2])
    write_steps(tmp_path, 0, [])
    assert read_history(tmp_path) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_what_json_cannot_hold_is_null(tmp_path, value):
    file = MetricsFile(tmp_path, 0)
    file.write({"step": 1, "value": value})
    file.close()
    text = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"step": 1, "value": None}


def read_events(path):
    """The events of a TensorBoard file: uint64 length, crc, the message, crc."""
    data, events = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        events.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return events


def test_tensorboard_gets_every_finite_number(tmp_path):
    writer = TensorBoard(tmp_path, 4)
    writer.write({"step": 5, "total": 1.5, "empty": math.nan, "samples_per_second": None})
    writer.close()
    (path,) = (tmp_path / "tensorboard").iterdir()
    events = read_events(path)
    values = [(e.step, v.tag, v.simple_value) for e in events for v in e.summary.value]
    assert values == [(5, "total", 1.5)]
    assert [e.step for e in events if e.HasField("session_log")] == [5]  # hides older events
