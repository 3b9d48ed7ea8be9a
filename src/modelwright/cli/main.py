"""The command ``modelwright``: the stack on this machine, a team's project, and the log."""

import sys

from modelwright.errors import ModelwrightError


def run() -> None:
    """Run the command; an error of ours is one line and exit status 1."""
    try:
        from modelwright.cli.commands import app
    except ModuleNotFoundError as error:
        sys.exit(f'modelwright: {error.name} is not installed: pip install "modelwright[local]"')
    try:
        app()
    except ModelwrightError as error:
        sys.exit(f"modelwright: {error}")


if __name__ == "__main__":
    run()
