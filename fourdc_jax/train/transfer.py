"""Start a model from another run's weights; every difference must be named.

A forgotten layer that silently keeps its random initialisation costs days. So each array that is
only in the checkpoint, only in the model, or in both with another shape must match a pattern;
otherwise nothing is loaded and the error lists both sides (after big_vision's `merge_params`).
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flax import traverse_util

from fourdc_jax.train.checkpoints import FOLDER, load_variables


def find_workdir(source: Path) -> Path:
    """The workdir of a workdir, or of one of its checkpoints/<step>.

    Raises:
      FileNotFoundError: it holds no checkpoints.
    """
    workdir = source.parent.parent if source.parent.name == FOLDER else source
    if not (workdir / FOLDER).is_dir():
        raise FileNotFoundError(
            f"config.init={source} holds no checkpoint; name the workdir of an earlier run, or one "
            f"of its {FOLDER}/<step> folders"
        )
    return workdir


class Transfer(NamedTuple):
    """Names ("params/encoder_3d/...") by what happened to them.

    Attributes:
      loaded: taken from the checkpoint.
      skipped: in the checkpoint (under its name after renaming), not loaded.
      new: in the model, as initialised.
    """

    loaded: list[str]
    skipped: list[str]
    new: list[str]

    def describe(self, source: Path) -> str:
        """Three lines: how many arrays of which modules were loaded, skipped, and are new."""
        lines = (
            f"{word} {len(names)} arrays{': ' if names else ''}{group(names)}"
            for word, names in zip(("loaded", "skipped", "new"), self)
        )
        return f"From {source}:\n  " + "\n  ".join(lines)


def transfer(
    variables: dict[str, Any],
    source: Path,
    *,
    skip: Sequence[str] = (),
    new: Sequence[str] = (),
    rename: Sequence[str] = (),
) -> tuple[dict[str, Any], Transfer]:
    """Replaces a model's fresh variables by those of a checkpoint.

    Patterns are regular expressions that must match a whole path without its collection, such as
    "predictor_3d/.*", and so name parameters and running statistics alike.

    Args:
      variables: parameters and collections, nested dicts, freshly initialised.
      source: a workdir, or one `<workdir>/checkpoints/<step>`.
      skip: paths of the checkpoint (after renaming) to leave out.
      new: paths of the model that stay as initialised. An array that changed its shape may be named
        by either.
      rename: "old=new", prefixes of whole path components; the first that fits is used.

    Returns:
      variables like those given, and what happened to which array.

    Raises:
      FileNotFoundError: if `source` holds no checkpoint.
      ValueError: if a difference is not named, or a rename fits nothing; lists them.
    """
    here = traverse_util.flatten_dict(variables, sep="/")
    there = rename_prefixes(traverse_util.flatten_dict(load_variables(source), sep="/"), rename)
    left_out = {name for name in there if matches(name, skip)}
    kept = {name for name in here if matches(name, new)}
    same = {name for name in here.keys() & there.keys() if kind(here[name]) == kind(there[name])}
    changed = (here.keys() & there.keys()) - same - left_out - kept
    unnamed = (
        changed | (there.keys() - here.keys() - left_out) | (here.keys() - there.keys() - kept)
    )
    if unnamed:
        raise ValueError(differences(source, sorted(unnamed), here, there))
    loaded = same - left_out - kept
    merged = here | {name: there[name] for name in loaded}
    result = Transfer(sorted(loaded), sorted(there.keys() - loaded), sorted(here.keys() - loaded))
    return {**variables, **traverse_util.unflatten_dict(merged, sep="/")}, result


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern fits the whole path behind the collection."""
    path = name.split("/", 1)[1]
    return any(re.fullmatch(pattern, path) for pattern in patterns)


def kind(array: Any) -> str:
    """ "float32[3, 4]"."""
    return f"{array.dtype}{list(array.shape)}"


def rename_prefixes(arrays: dict[str, Any], rename: Sequence[str]) -> dict[str, Any]:
    """Applies "old=new" behind the collection: "params/old/..." becomes "params/new/..."."""
    pairs = [tuple(pair.split("=", 1)) for pair in rename]
    if malformed := [pair for pair in rename if pair.count("=") != 1]:
        raise ValueError(f"config.init.rename: {malformed} must read 'old/prefix=new/prefix'")
    used = Counter()
    renamed = {}
    for name, array in arrays.items():
        collection, path = name.split("/", 1)
        for old, new in pairs:
            if f"{path}/".startswith(f"{old}/"):
                path = new + path[len(old) :]
                used[old] += 1
                break
        renamed[f"{collection}/{path}"] = array
    if idle := [old for old, _ in pairs if not used[old]]:
        raise ValueError(f"config.init.rename: the checkpoint has nothing below {idle}")
    if len(renamed) != len(arrays):
        raise ValueError(f"config.init.rename: {list(rename)} gives two arrays the same name")
    return renamed


def differences(source: Path, names: list[str], here: dict[str, Any], there: dict[str, Any]) -> str:
    """The error of `transfer`: both sides, one array a line."""
    checkpoint = [f"    {n} {kind(there[n])}" for n in names if n not in here]
    model = [f"    {n} {kind(here[n])}" for n in names if n not in there]
    shapes = [
        f"    {n} {kind(there[n])} there, {kind(here[n])} here"
        for n in names
        if n in here and n in there
    ]
    parts = [
        f"{source} does not fit this model; name each difference in config.init.skip (leave the "
        "checkpoint's out), config.init.new (keep the model's as initialised) or config.init.rename"
    ]
    for title, lines in (
        ("only in the checkpoint", checkpoint),
        ("only in the model", model),
        ("of another shape", shapes),
    ):
        if lines:
            parts += [f"  {title}:", *lines]
    return "\n".join(parts)


def group(names: list[str]) -> str:
    """ "params/encoder_3d (180), ..." by the first two components."""
    counts = Counter("/".join(name.split("/")[:2]) for name in names)
    return ", ".join(f"{prefix} ({count})" for prefix, count in counts.items())
