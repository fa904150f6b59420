"""Compare two khive builds in lockstep, each in an environment of its own: what `nox -s ab` runs. Wiring only."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from perf.errors import PerfError
from perf.judge.ab import judge_sentinels
from perf.judging import judgement_of_builds
from perf.measure.duet import PATIENCE_SECONDS
from perf.pairing import BASELINE, CURRENT, Request, compare_builds
from perf.record import store
from perf.record.ab_store import FOLDER, save_paired
from perf.report.ab import tables_of
from perf.report.judgement import render_text
from perf.report.tables import plain
from perf.settings import read_settings
from perf.sides import prepare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECONDS = 900.0
"""How long pairs of processes are measured, unless another budget is given; installing comes before."""

TOLERANCE = 0.02
_LARGEST = 10.0


def main() -> None:
    """Compare two builds as the command line says, print the report, and exit with the code of its verdict."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(_compare(sys.argv[1:], os.environ))
    except PerfError as error:
        print(error, file=sys.stderr)
        print("verdict: none")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted: nothing was judged, nothing was saved", file=sys.stderr)
        sys.exit(130)


def _compare(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    options = _options(arguments)
    root = Path.cwd()
    settings = read_settings(root, environ, options.profile)
    specs = {BASELINE: options.baseline, CURRENT: options.current}
    with store.claim(root / store.FOLDER):
        pythons = prepare(root, options.environments, settings, specs, _say)
        request = Request(
            root=root,
            profile=settings.profile,
            specs=specs,
            pythons=pythons,
            selection=_selection(options),
            tolerance=options.tolerance,
            confidence=settings.regression["confidence"].value,
            budget=options.budget,
            patience=PATIENCE_SECONDS + 10 * settings.measure["stress_duration_sec"].value,
            instructions=options.instructions,
        )
        run = compare_builds(request, environ, _say)
        judgement = judgement_of_builds(run)
        run = msgspec.structs.replace(run, verdict=judgement.verdict.word)
        path = save_paired(run, root / FOLDER)
    said = [f"Wrote the comparison to {os.path.relpath(path)}"]
    print(render_text(judgement, tables=tables_of(run, judge_sentinels(run)), notes=said))
    return judgement.verdict.exit_code


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="nox -s ab --", description="Compare two khive builds in lockstep.", allow_abbrev=False
    )
    spec = 'one or more pip requirements: khive==0.4.0, a path, a git URL, "khive==0.4.0 lionagi==0.15.9"'
    parser.add_argument("--baseline", required=True, metavar="SPEC", help=spec)
    parser.add_argument("--current", required=True, metavar="SPEC", help="the same")
    parser.add_argument("-k", dest="expression", metavar="EXPR", help="compare only what matches, as pytest's -k")
    parser.add_argument("-m", dest="markers", metavar="EXPR", help="the same, of markers (default: not slow)")
    parser.add_argument("--profile", default="dev", help="whose dependencies and effort to use (default: dev)")
    parser.add_argument("--tolerance", type=_share, default=TOLERANCE, help="what is no regression (default: 0.02)")
    parser.add_argument("--budget", type=_seconds, default=SECONDS, metavar="SECONDS", help="default: 900")
    parser.add_argument("--instructions", action="store_true", help="count instructions too, by valgrind's callgrind")
    parser.add_argument("--environments", type=Path, default=Path(sys.prefix).parent, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _share(text: str) -> float:
    value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    if not 0 < value < _LARGEST:
        raise argparse.ArgumentTypeError(f"{text}: must be a share such as 0.02, or 2%")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: must be a number of seconds, such as 900")
    return value


def _selection(options: argparse.Namespace) -> list[str]:
    selection = ["-k", options.expression] if options.expression else []
    markers = options.markers or (None if options.expression else "not slow")
    return [*selection, "-m", markers] if markers else selection


def _say(text: str) -> None:
    print(plain(text), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
