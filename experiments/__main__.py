"""The commands of this folder as `fourdc-jax <command> ...`, for those without a checkout of it."""

import ast
import difflib
import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
USAGE = """usage: fourdc-jax <command> [flags]

{commands}

fourdc-jax <command> --help lists the flags. Configs that come with the package are found by name,
--config pretrain:demo for example; a file of that name in the current folder comes first.
"""


def find_commands() -> dict[str, str]:
    """Name of every script -> the first line of its docstring."""
    return {
        path.stem: ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]
        for path in sorted(FOLDER.glob("[!_]*.py"))
    }


def main() -> None:
    """Runs the script that the first argument names, with the others."""
    commands = find_commands()
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "help"):
        width = max(map(len, commands))
        lines = (f"  {command:{width}s}  {doc}" for command, doc in commands.items())
        print(USAGE.format(commands="\n".join(lines)), end="")
        return
    name = name.replace("-", "_")
    if name not in commands:
        similar = difflib.get_close_matches(name, commands, 1)
        hint = f"did you mean {similar[0]}?" if similar else "fourdc-jax --help lists them"
        sys.exit(f"error: there is no command {name!r}; {hint}")
    script = str(FOLDER / f"{name}.py")
    sys.path.insert(0, str(FOLDER))  # as Python does for a script
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
