"""What became of a repository of Feast's, said plainly: taken, changed, left."""

from dataclasses import dataclass, field


@dataclass
class Notes:
    """A report, line by line.

    Attributes:
        taken: by kind, the names of what is declared now.
        changed: what is there and is not the same.
        left: what is not there.
    """

    taken: dict[str, list[str]] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def take(self, kind: str, name: str) -> None:
        """Say that something is declared."""
        self.taken.setdefault(kind, []).append(name)

    def change(self, line: str) -> None:
        """Say once that something is not the same."""
        if line not in self.changed:
            self.changed.append(line)

    def leave(self, line: str) -> None:
        """Say once that something is not there."""
        if line not in self.left:
            self.left.append(line)

    def told(self) -> str:
        """Return the report as text."""
        lines = ["taken:", *(f"  {_plural(kind)}: {', '.join(names)}" for kind, names in self.taken.items())]
        for title, said in (("changed:", self.changed), ("left out:", self.left)):
            lines += [title, *(f"  {line}" for line in said)] if said else []
        return "\n".join(lines if self.taken else ["nothing was taken", *lines[1:]]) + "\n"


def _plural(kind: str) -> str:
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
