"""What `modelwright init` adds to a new project: a sample, and the workflow that tries pull requests on it."""

from importlib.resources import files
from pathlib import Path

from modelwright.demo import sample

WORKFLOW = Path(".github") / "workflows" / "modelwright.yml"
SAMPLE = "sample"


def scaffold(folder: Path) -> None:
    """Write both into a project's folder."""
    sample.write(folder / SAMPLE)
    workflow = folder / WORKFLOW
    workflow.parent.mkdir(parents=True, exist_ok=True)
    workflow.write_text(files(__package__).joinpath("workflow.yml").read_text(encoding="utf-8"), encoding="utf-8")
