"""First and last values of a run."""

from fourdc_jax.train.summary import describe_summary, summarize


def test_means_over_the_first_and_last_tenth():
    history = [
        {"step": i, "total": float(i), "spread": None, "samples_per_second": i if i else None}
        for i in range(20)
    ]
    history[5]["spread"] = 0.25
    summary = summarize(history, ["total", "spread", "absent"])
    assert summary["values"]["total"] == {"first": 0.5, "last": 18.5}
    assert summary["values"]["spread"] == {"first": 0.25, "last": 0.25}
    assert "absent" not in summary["values"]
    assert summary["samples_per_second"] == 10
    assert summarize([], ["total"]) == {"samples_per_second": None, "values": {}}


def test_the_summary_for_people():
    text = describe_summary(
        {
            "task": "toy",
            "step": 8,
            "parameters": 12345,
            "devices": 2,
            "checkpoint": "w/checkpoints/8",
            "alarms": {"spread": 3, "other": 0},
            "samples_per_second": 1.5,
            "values": {"total": {"first": -0.1, "last": -0.9}},
        },
        "sequences",
    )
    assert text.splitlines() == [
        "toy: 8 steps, 12,345 parameters, 2 devices, 1.5 sequences/s",
        "  total        -0.1 -> -0.9",
        "  ALARM: spread was too low in 3 logged steps",
        "  checkpoint: w/checkpoints/8",
    ]
