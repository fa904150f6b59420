"""`python -m evaluation [--data DIR] [--markdown] [--quick]`: print every table, those on real data with `--data`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from evaluation import histories, pairs


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evaluation")
    parser.add_argument("--data", type=Path, help="the folder with the real benchmark data")
    parser.add_argument("--markdown", action="store_true", help="write tables as in docs/detection.md")
    parser.add_argument("--quick", action="store_true", help="few trials, for a look")
    asked = parser.parse_args()
    data = asked.data if asked.data and asked.data.is_dir() else None
    if data is None:
        place = f"{asked.data} is not there" if asked.data else "--data was not given"
        print(f"Real data skipped: {place}. Simulated data only.")
    for source in (pairs, histories):
        for table in source.tables(data, quick=asked.quick):
            print(f"\n{table.render('github' if asked.markdown else 'simple')}", flush=True)
            print(f"… {table.title}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
