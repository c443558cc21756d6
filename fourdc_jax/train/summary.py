"""The end of a run in one screen: summary.json, and the same for people."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fourdc_jax.files import write_atomically

FILE = "summary.json"


def summarize(history: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """First and last values of what was logged.

    Args:
      history: lines of metrics.jsonl.
      names: of the total loss, its terms and the metrics to tell.

    Returns:
      {"samples_per_second": median, "values": {name: {"first", "last"}}}; first and last are means
      over the first and the last tenth of the lines that hold the name.
    """
    values = {}
    for name in names:
        course = [line[name] for line in history if line.get(name) is not None]
        if course:
            tenth = max(1, len(course) // 10)
            first, last = statistics.fmean(course[:tenth]), statistics.fmean(course[-tenth:])
            values[name] = {"first": first, "last": last}
    rates = [r for line in history if (r := line.get("samples_per_second")) is not None]
    return {"samples_per_second": statistics.median(rates) if rates else None, "values": values}


def write_summary(workdir: Path, summary: dict[str, Any]) -> None:
    """Writes summary.json."""
    write_atomically(Path(workdir) / FILE, json.dumps(summary, indent=2) + "\n")


def describe_summary(summary: dict[str, Any], unit: str) -> str:
    """A few lines for people.

    Args:
      summary: as written to summary.json.
      unit: what a batch consists of, plural.
    """
    rate = summary["samples_per_second"]
    lines = [
        f"{summary['task']}: {summary['step']} steps, {summary['parameters']:,} parameters, "
        f"{summary['devices']} device{'s' * (summary['devices'] > 1)}"
        + ("" if rate is None else f", {rate:.3g} {unit}/s")
    ]
    width = max((len(name) for name in summary["values"]), default=0)
    for name, value in summary["values"].items():
        lines.append(f"  {name:<{width}}  {value['first']:>10.4g} -> {value['last']:.4g}")
    for name, count in summary["alarms"].items():
        if count:
            lines.append(f"  ALARM: {name} was too low in {count} logged steps")
    lines.append(f"  checkpoint: {summary['checkpoint']}")
    return "\n".join(lines)
