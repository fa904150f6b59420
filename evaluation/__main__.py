"""`python -m evaluation [--data DIR] [--markdown] [--quick]`: print every table, those on real data with `--data`.

`--ab` prints instead what comparisons of two builds of khive in lockstep come to, which takes over an hour.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation import builds, histories, leaks, pairs, suites

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evaluation.table import Table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evaluation")
    parser.add_argument("--data", type=Path, help="the folder with the real benchmark data")
    parser.add_argument("--markdown", action="store_true", help="write tables as in docs/detection.md")
    parser.add_argument("--quick", action="store_true", help="few trials, for a look")
    parser.add_argument("--ab", action="store_true", help="two builds in lockstep, for an hour and more")
    asked = parser.parse_args()
    if asked.ab:
        _show(builds.tables(quick=asked.quick), markdown=asked.markdown)
        return
    data = asked.data if asked.data and asked.data.is_dir() else None
    if data is None:
        place = f"{asked.data} is not there" if asked.data else "--data was not given"
        print(f"Real data skipped: {place}. Simulated data only.")
    for source in (pairs, histories, suites, leaks):
        try:
            _show(source.tables(data, quick=asked.quick), markdown=asked.markdown)
        except FileNotFoundError as error:
            sys.exit(f"--data {asked.data}: {error.filename} is not there; name the folder that holds all of the data")


def _show(tables: Iterable[Table], *, markdown: bool) -> None:
    for table in tables:
        print(f"\n{table.render('github' if markdown else 'simple')}", flush=True)
        print(f"… {table.title}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
