"""A table in Markdown, as every report writes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], rule: Sequence[str] | None = None) -> list[str]:
    """The lines of a table: its head, the rule below it, and a line a row. Cells are written as they are.

    rule   of each column "---", or "--:" where numbers stand to the right (None: "---" for all)

    ValueError where a row or the rule has not as many cells as the head.
    """
    rule = ["---"] * len(head) if rule is None else rule
    lines = ["|" + "|".join(f" {cell} " if cell else " " for cell in head) + "|", "|" + "|".join(rule) + "|"]
    for cells in (rule, *rows):
        if len(cells) != len(head):
            raise ValueError(f"A table of {len(head)} columns has no place for {len(cells)} cells: {' | '.join(cells)}")
        if cells is not rule:
            lines.append("| " + " | ".join(cells) + " |")
    return lines
