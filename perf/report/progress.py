"""One line of the terminal that tells how far a long test is, and is gone when the test ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest


class ProgressLine:
    """Draws where somebody looks: on a terminal, and not in CI, which sets the variable CI."""

    def __init__(self, config: pytest.Config, environ: Mapping[str, str]) -> None:
        self._reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._capture: Any = config.pluginmanager.get_plugin("capturemanager")
        self._quiet = not self._reporter or not self._capture or not self._reporter.isatty or "CI" in environ
        self._drawn = False

    def draw(self, text: str) -> None:
        """Draw `text` in place of what was drawn last."""
        if self._quiet:
            return
        with self._capture.global_and_fixture_disabled():
            if not self._drawn:
                self._reporter.ensure_newline()
            self._reporter.rewrite(text, erase=True)
            self._reporter.flush()
        self._drawn = True

    def erase(self, test: str) -> None:
        """Leave the line as if nothing had been drawn: pytest's, on which it writes the result of `test`."""
        if not self._drawn:
            return
        self.draw("")
        self._drawn = False
        self._reporter.rewrite("")
        self._reporter.currentfspath = None
        if self._reporter.showfspath and not self._reporter.showlongtestinfo:
            self._reporter.write_fspath_result(test, "")
