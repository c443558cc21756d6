"""One page that shows a finished run: summary, pictures, config. Plain HTML beside its pictures."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from fourdc_jax.files import write_atomically

STYLE = """
:root { --ink: #23252b; --muted: #6b7080; --line: #e4e6eb; --paper: #ffffff; --ground: #f6f7f9; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 30px; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 20px; margin: 44px 0 12px; }
p { margin: 0 0 12px; } .muted { color: var(--muted); }
pre { font-size: 13px; line-height: 1.4; overflow-x: auto; margin: 8px 0 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(170px, 1fr)); gap: 12px;
  margin: 24px 0 0; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
  padding: 12px 16px; overflow-wrap: anywhere; }
.card b { display: block; font-size: 20px; font-weight: 600; } .card span { color: var(--muted);
  font-size: 13px; }
figure { margin: 0 0 20px; background: #ffffff; border: 1px solid var(--line); border-radius: 10px;
  padding: 12px; }
figure img { width: 100%; height: auto; display: block; }
figcaption { color: #6b7080; font-size: 14px; padding: 10px 4px 0; }
table { border-collapse: collapse; width: 100%; background: var(--paper); font-size: 14px; }
td { border-top: 1px solid var(--line); padding: 5px 12px; vertical-align: top; }
td:first-child { color: var(--muted); white-space: nowrap; width: 1%; }
details { background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
  overflow: hidden; } summary { padding: 10px 16px; cursor: pointer; }
code, td:last-child { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaf0; --muted: #9aa0b0; --line: #33363f;
    --paper: #1d1f25; --ground: #15161a; } }
"""


@dataclass(frozen=True)
class Picture:
    """A picture of the page: its file (.png, inside the page's folder), heading and caption."""

    path: Path
    heading: str
    caption: str = ""


def write_page(
    workdir: str | Path,
    *,
    title: str,
    pictures: Sequence[Picture],
    summary: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    text: str = "",
) -> Path:
    """Write `<workdir>/report.html` and return its path.

    The page needs nothing but itself and its pictures: the folder can be moved or sent.

    Args:
      workdir: the run's folder, which must exist.
      title: heading of the page.
      pictures: in order; each lies inside `workdir` and is linked relatively.
      summary: shown as cards, such as {"steps": 200, "loss": -0.71}.
      config: nested values, shown as a table that can be opened.
      text: under the title, its lines as they are, in letters of equal width.

    Raises:
      FileNotFoundError: the folder or a picture does not exist.
      ValueError: a picture lies outside the folder.
    """
    workdir = Path(workdir)
    if not workdir.is_dir():
        raise FileNotFoundError(f"no folder {workdir} to write a report into")
    body = [f"<h1>{escape(title)}</h1>"]
    if text:
        body.append(f'<pre class="muted">{escape(text)}</pre>')
    if summary:
        cards = "".join(
            f'<div class="card"><b>{escape(show(value))}</b><span>{escape(name)}</span></div>'
            for name, value in summary.items()
        )
        body.append(f'<div class="cards">{cards}</div>')
    body.extend(_figure(workdir, picture) for picture in pictures)
    if config:
        rows = "".join(
            f"<tr><td>{escape(key)}</td><td>{escape(value)}</td></tr>"
            for key, value in flatten(config)
        )
        body.append(
            f"<h2>Config</h2><details><summary>All values</summary><table>{rows}</table></details>"
        )
    path = workdir / "report.html"
    write_atomically(
        path,
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n",
    )
    return path


def show(value: Any) -> str:
    """A value as a person would write it: four significant digits, thousands apart."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    return f"{value:.4g}"


def flatten(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested values as (dotted key, value) rows, in order."""
    rows = []
    for key, value in config.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", repr(value)))
    return rows


def _figure(workdir: Path, picture: Picture) -> str:
    """HTML of one picture, linked relative to the page."""
    path = Path(picture.path)
    path = path if path.is_absolute() or path.is_file() else workdir / path
    if not path.is_file():
        raise FileNotFoundError(f"no picture {path} for the report")
    link = os.path.relpath(path.resolve(), workdir.resolve())
    if link.startswith(".."):
        raise ValueError(f"picture {path} lies outside {workdir}: the report could not be moved")
    return (
        f"<h2>{escape(picture.heading)}</h2>\n"
        f'<figure><img src="{escape(Path(link).as_posix())}" alt="{escape(picture.heading)}">'
        + (f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else "")
        + "</figure>"
    )
