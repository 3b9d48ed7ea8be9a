"""Puts modelwright, with its dist-info, and the functions' handlers beside the libraries of the image.

Run by the Dockerfile: ``assemble.py SOURCE TARGET``.
"""

import sys
from pathlib import Path

from modelwright.local.packaging import Sources, copy_tree, install, precompile, strip


def assemble(source: Path, target: Path) -> None:
    """Fill ``target``, which holds the libraries, strip it of tests, and compile it ahead.

    All functions share the image; each is told its handler by ``ImageConfig.Command`` in the template.
    """
    sources = Sources.at(source, source / "src" / "modelwright")
    install(sources, target)
    for handler in sorted(sources.functions.glob("*/handler.py")):
        copy_tree(handler.parent, target / handler.parent.name)
    strip(target)
    precompile(target)


if __name__ == "__main__":
    assemble(Path(sys.argv[1]), Path(sys.argv[2]))
