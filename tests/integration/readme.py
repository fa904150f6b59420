"""The README's code blocks, as text."""

from __future__ import annotations

import re

from .clone import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    """Return the commands of a block, a line each, without their comments."""
    lines = (re.sub(r"\s{2,}#.*$", "", line) for line in block.splitlines())
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


FIRST_BLOCK = commands(blocks("bash")[0])
