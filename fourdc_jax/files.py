"""Files that are whole or not there."""

import json
import os
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replaces a file at once: a reader, or a killed writer, never leaves half of it.

    Written beside it under a name of this process, so that two writers do not meet; the last one
    to finish stays. Text is UTF-8.

    Raises:
      OSError: the folder does not exist, or cannot be written to.
    """
    data = content.encode() if isinstance(content, str) else content
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
      OSError: the file cannot be read.
      ValueError: it holds something else; named.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON file: {error}") from error
