"""Write docs/reliability.md from what was tried: ``python reliability.py KILLS.json FUZZ.json ...``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
TEMPLATE = Path(__file__).with_name("reliability.md")


def table(rows: Mapping[str, Mapping[str, int]], columns: Sequence[str], first: str) -> list[str]:
    """Lines of a table with a sum below."""
    lines = [f"| {first} | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    lines += [f"| {name} | {' | '.join(str(row.get(c, 0)) for c in columns)} |" for name, row in rows.items()]
    total = Counter({c: sum(row.get(c, 0) for row in rows.values()) for c in columns})
    return [*lines, f"| **all** | {' | '.join(f'**{total[c]}**' for c in columns)} |", ""]


def main(kills: Path, fuzz: Sequence[Path]) -> None:
    """Write the page."""
    killed = json.loads(kills.read_text())
    found: dict[str, Counter[str]] = {}
    for file in fuzz:
        for kind, row in json.loads(file.read_text()).items():
            name = kind.replace("segments/../", "")
            found.setdefault(f"`{name}`" if "option" not in name else name, Counter()).update(row)
    lines = table(killed, ("kills", "landed", "lost", "signals", "faults"), "command")
    inputs = table(dict(sorted(found.items())), ("tried", "refused", "right", "faults"), "input")
    text = TEMPLATE.read_text().replace("{kills}", "\n".join(lines)).replace("{inputs}", "\n".join(inputs))
    PAGE.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
