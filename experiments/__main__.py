"""The commands of this folder as `fourdc-jax <command> ...`, for who has no checkout of it."""

import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> None:
    """Runs the script that the first argument names, with the others."""
    commands = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(f"usage: fourdc-jax <command> ...\ncommands: {', '.join(commands)}")
    script = FOLDER / f"{sys.argv[1]}.py"
    sys.path.insert(0, str(FOLDER))
    sys.argv = [str(script), *sys.argv[2:]]
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
