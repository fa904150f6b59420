"""Pairs of fresh processes of two builds, measured until every operation is settled or the budget is spent."""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from perf.counting import worth_counting
from perf.errors import MeasurementError
from perf.judge.ab import DETECTABLE, LOOKS, is_open, judge_compared, judge_pairs
from perf.judge.comparison import REGRESSED
from perf.judge.culprits import grown
from perf.measure import duet
from perf.measure.instructions import absent, count_instructions
from perf.measure.profiles import own_times
from perf.record.ab import (
    BLOCKS,
    BROKEN,
    FAILED,
    MISSING,
    NEW,
    NOT_OFFERED,
    TURNS,
    Cause,
    Compared,
    Instructions,
    Pair,
    PairedRun,
    Sentinels,
    Side,
    TurnFigure,
    Unpaired,
)
from perf.record.ab_store import FOLDER
from perf.record.summary import Operation, build_in_words
from perf.services.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from perf.judge.comparison import Comparison

BASELINE, CURRENT, AGAIN = "baseline", "current", "baseline-again"
SLOWED = "slowed"

_LONGER = 2.0
_SENTINELS = 3
"""Operations that watch together: one by itself differs too much between processes to vouch for 1 %."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be compared, and how.

    `specs` is what was asked for of each side, `pythons` the interpreter of its environment; `selection` are pytest's
    arguments; `budget` and `patience` (with a worker that says nothing) are seconds. `asked` is how many comparisons
    share the error that the confidence allows, None for all of this run. `instructions` asks for their count too.
    """

    root: Path
    profile: str
    specs: Mapping[str, str]
    pythons: Mapping[str, str]
    selection: Sequence[str]
    tolerance: float
    confidence: float
    budget: float
    patience: float = duet.PATIENCE_SECONDS
    asked: int | None = None
    instructions: bool = False


def compare_builds(request: Request, environ: Mapping[str, str], say: Callable[[str], None]) -> PairedRun:
    """Return what pairs of fresh processes of the two builds measured.

    A fault of one test is noted and the rest goes on; MeasurementError when there is nothing to compare.
    """
    with scratch_folder(prefix="khive-perf-ab-") as folder:
        return _Pairing(request, environ, say, folder).run()


@dataclass
class _Test:
    """A test that both builds have, and how it is compared."""

    operation: Operation
    by: str
    quick: bool
    selected: bool


@dataclass
class _Pairing:
    """A comparison under way: what was measured so far, and what is still to be."""

    request: Request
    environ: Mapping[str, str]
    say: Callable[[str], None]
    folder: Path
    began: float = field(default_factory=time.monotonic)
    tests: dict[str, _Test] = field(default_factory=dict)
    compared: dict[tuple[Operation, str], Compared] = field(default_factory=dict)
    unpaired: dict[str, Unpaired] = field(default_factory=dict)
    blocks: dict[str, list[duet.Block]] = field(default_factory=dict)
    sentinels: list[str] = field(default_factory=list)
    watched: dict[int, tuple[Pair, Pair]] = field(default_factory=dict)
    sides: dict[str, Side] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def run(self) -> PairedRun:
        cpus = self._cpus()
        for number in range(LOOKS[-1]):
            start = time.monotonic()
            whole = self._pair(number, cpus[number % len(cpus)])
            seconds = time.monotonic() - start
            if not whole:
                self.notes.append(f"the budget of {self.request.budget:.0f} s was spent before all was settled")
                break
            if not self._report(number + 1, seconds):
                break
        causes = self._causes(cpus[0])
        instructions = self._instructions() if self.request.instructions else []
        return self._result(causes, instructions)

    def _cpus(self) -> Sequence[int | None]:
        """Return the CPUs that pairs are kept on in turn, or None in their place where that cannot be had."""
        try:
            cpus = os.sched_getaffinity(0)
            os.sched_setaffinity(0, cpus)
        except (AttributeError, OSError) as error:
            self.notes.append(
                f"no process could be kept on one CPU ({error}), so pairs differ more and less is settled"
            )
            return [None]
        return sorted(cpus)

    def _pair(self, number: int, cpu: int | None) -> bool:
        """Measure a pair of fresh processes; where one is lost, go on with new ones and without the test that lost it.

        False when the budget was spent before its end.
        """
        done: set[str] = set()
        while True:
            with self._started(number) as workers:
                test = ""
                try:
                    self._meet(workers, first=not self.tests)
                    plan = self._plan(done)
                    for worker in workers.values():
                        worker.tell(run=list(plan[worker.name]))
                    for test in self._in_order(plan):
                        if time.monotonic() - self.began > self.request.budget:
                            return False
                        done.add(test)
                        taking_part = {name: worker for name, worker in workers.items() if test in plan[name]}
                        self._measure(test, taking_part, number, cpu)
                except duet.WorkerLostError as lost:
                    self._lose(lost, test)
                    continue
            return True

    @contextmanager
    def _started(self, number: int, names: Sequence[str] = ()) -> Iterator[dict[str, duet.Worker]]:
        """Start fresh processes, those called `names` or all that are needed, with a hash seed for this pair."""
        names = names or [BASELINE, CURRENT, *([AGAIN] if self._watching() else [])]
        pythons = {**self.request.pythons, AGAIN: self.request.pythons[BASELINE]}
        commands = {name: self._command(pythons[name]) for name in names}
        environment = {**self.environ, "PYTHONHASHSEED": str(number + 1)}
        with duet.started(commands, self.folder, environment, self.request.patience) as workers:
            yield workers

    def _command(self, python: str) -> list[str]:
        return [
            *(python, "-m", "pytest", "benchmarks"),
            *("-q", "--disable-warnings", "--no-header", "-p", "no:cacheprovider"),
            *("--perf-profile", self.request.profile, *self.request.selection),
        ]

    def _meet(self, workers: Mapping[str, duet.Worker], *, first: bool) -> None:
        """Hear what each worker could run, which is what there is to compare."""
        collected = {name: worker.hear() for name, worker in workers.items()}
        if not first:
            return
        found: dict[str, dict[str, _Test]] = {}
        for name in (BASELINE, CURRENT):
            environment = collected[name]["environment"]
            build = build_in_words(environment["khive"])
            self.sides[name] = Side(spec=self.request.specs[name], build=build, environment=environment)
            tests = msgspec.convert(collected[name]["tests"], list[_Test])
            found[name] = {one.operation.test: one for one in tests}
        self._take(found[BASELINE], found[CURRENT])

    def _take(self, old: Mapping[str, _Test], new: Mapping[str, _Test]) -> None:
        self.tests = {test: one for test, one in new.items() if test in old and one.by}
        for tests, others, kind in ((old, new, MISSING), (new, old, NEW)):
            for test in [test for test in tests if test not in others]:
                reason = f"a test of the {'baseline' if kind == MISSING else 'current build'} alone"
                self.unpaired[test] = Unpaired(operation=tests[test].operation, kind=kind, reason=reason)
        untimed = [one.operation.name for one in new.values() if not one.by and one.selected]
        if untimed:
            self.left_out.append(f"measure no time: {', '.join(sorted(untimed))}")
        in_blocks = [test for test, one in self.tests.items() if one.by == BLOCKS]
        selected = [test for test in in_blocks if self.tests[test].selected]
        self.sentinels = sorted(selected or in_blocks, key=lambda test: not self.tests[test].quick)
        if not any(one.selected for one in self.tests.values()):
            raise MeasurementError("nothing to compare: no benchmark is selected, change -k or -m")

    def _plan(self, done: set[str]) -> dict[str, set[str]]:
        """Return which tests each worker is still to run in this pair."""
        still = {test for test, one in self.tests.items() if one.selected and self._open(test)} - done
        watched = set(self.sentinels[:_SENTINELS] if self._watching() else ()) - done
        return {BASELINE: still | watched, CURRENT: still, AGAIN: watched}

    def _in_order(self, plan: Mapping[str, set[str]]) -> list[str]:
        wanted = set().union(*plan.values())
        return [test for test in self.tests if test in wanted]

    def _open(self, test: str) -> bool:
        """Whether more pairs could settle what a test measures."""
        if test in self.unpaired:
            return False
        mine = [one for one in self.compared.values() if one.operation.test == test]
        return not mine or any(is_open(self._judged(one), len(one.pairs)) for one in mine)

    def _judged(self, one: Compared) -> Comparison:
        request = self.request
        asked = request.asked or len(self.compared)
        return judge_compared(one, tolerance=request.tolerance, confidence=request.confidence, asked=asked)

    def _watching(self) -> bool:
        """Whether more pairs could settle the sentinels."""
        same, slowed = self._watched()
        request = self.request
        return any(
            is_open(judge_pairs(pairs, tolerance=request.tolerance, confidence=request.confidence), len(pairs))
            for pairs in (same, slowed)
        )

    def _watched(self) -> tuple[list[Pair], list[Pair]]:
        return [same for same, _ in self.watched.values()], [slowed for _, slowed in self.watched.values()]

    def _measure(self, test: str, workers: Mapping[str, duet.Worker], number: int, cpu: int | None) -> None:
        """Measure one test in all workers that take part."""
        told = duet.measure(
            list(workers.values()), self._contests(workers), cpu, seconds=self._seconds(), turned=bool(number % 2)
        )
        if AGAIN in workers:
            self._watch(test, told, number)
        if CURRENT not in workers:
            return
        faults = {name: told.faults[name] for name in (BASELINE, CURRENT) if name in told.faults}
        if faults:
            self._note(test, faults)
        elif told.blocks:
            self.blocks[test] = [block for stream in told.blocks[CURRENT] for block in stream]
            self._add(self.tests[test].operation, ("median", "s", "lower"), BLOCKS, _pair(told, CURRENT))
        else:
            self._take_turns(test, told)

    def _seconds(self) -> float:
        """Return how long a test is measured in this pair: what is settled leaves its time to the others."""
        selected = [test for test, one in self.tests.items() if one.selected]
        still = sum(map(self._open, selected))
        return duet.PAIR_SECONDS * min(len(selected) / max(still, 1), _LONGER)

    def _contests(self, workers: Mapping[str, duet.Worker]) -> dict[str, duet.Contest]:
        old = duet.Stream(worker=workers[BASELINE])
        contests = {CURRENT: (old, duet.Stream(worker=workers[CURRENT]))} if CURRENT in workers else {}
        if AGAIN in workers:
            contests[AGAIN] = (old, duet.Stream(worker=workers[AGAIN]))
            contests[SLOWED] = (old, duet.Stream(worker=workers[AGAIN], slowed=self._slower))
        return contests

    @property
    def _slower(self) -> float:
        return (1 + self.request.tolerance) * (1 + DETECTABLE) - 1

    def _watch(self, test: str, told: duet.Told, number: int) -> None:
        """Note what the sentinel came to; where its test fails, the next candidate is taken."""
        if AGAIN in told.faults or BASELINE in told.faults or not told.blocks:
            self._replace_sentinel(test)
            return
        for pair, contest in zip(
            self.watched.setdefault(number, (Pair([], []), Pair([], []))), (AGAIN, SLOWED), strict=True
        ):
            found = _pair(told, contest)
            usual = median(found.baseline)
            pair.baseline.extend(one / usual for one in found.baseline)
            pair.current.extend(one / usual for one in found.current)

    def _replace_sentinel(self, test: str) -> None:
        """Take the next candidate in the place of a sentinel that fails, and begin anew."""
        if test in self.sentinels[:_SENTINELS]:
            self.watched = {}
        self.sentinels = [one for one in self.sentinels if one != test]

    def _note(self, test: str, faults: Mapping[str, tuple[str, str]]) -> None:
        """Note why a test gave no comparison; what it measured before is not used."""
        reason = "; ".join(f"{name}: {reason}" for name, (_, reason) in faults.items())
        kinds = {name: kind for name, (kind, _) in faults.items()}
        self.unpaired[test] = Unpaired(operation=self.tests[test].operation, kind=_kind(kinds), reason=reason)
        self.compared = {key: one for key, one in self.compared.items() if one.operation.test != test}

    def _take_turns(self, test: str, told: duet.Told) -> None:
        found = {
            name: {(one.operation, one.metric): one for one in msgspec.convert(told.figures[name], list[TurnFigure])}
            for name in (BASELINE, CURRENT)
        }
        both = found[BASELINE].keys() & found[CURRENT].keys()
        if not both:
            self._note(test, {CURRENT: ("failed", "it recorded no figure that both builds have")})
        for key in both:
            old, new = found[BASELINE][key], found[CURRENT][key]
            self._add(new.operation, (new.metric, new.unit, new.better), TURNS, Pair([old.value], [new.value]))

    def _add(self, operation: Operation, figure: tuple[str, str, str], by: str, pair: Pair) -> None:
        metric, unit, better = figure
        known = self.compared.get((operation, metric))
        pairs = [*known.pairs, pair] if known else [pair]
        self.compared[operation, metric] = Compared(
            operation=operation, metric=metric, unit=unit, better=better, by=by, pairs=pairs
        )

    def _lose(self, lost: duet.WorkerLostError, test: str) -> None:
        """Note the test in which a worker was lost; MeasurementError where it was lost before any."""
        if not test:
            raise MeasurementError(f"{lost.name} could not begin: {lost.reason}")
        self._replace_sentinel(test)
        if lost.name != AGAIN:
            self._note(test, {lost.name: ("failed", lost.reason)})
        self.say(f"{self.tests[test].operation.name}: {lost.name} {lost.reason}; the rest goes on")

    def _report(self, pairs: int, seconds: float) -> bool:
        """Say how far this is; whether anything is left to settle."""
        open_tests = sum(one.selected and self._open(test) for test, one in self.tests.items())
        if not open_tests and not self._watching():
            self.say(f"pair {pairs}: all is settled, after {time.monotonic() - self.began:.0f} s")
            return False
        spent = time.monotonic() - self.began
        most = min((LOOKS[-1] - pairs) * seconds, self.request.budget - spent)
        selected = sum(one.selected for one in self.tests.values())
        self.say(
            f"pair {pairs} of at most {LOOKS[-1]}: {open_tests} of {selected} tests to settle, "
            f"{spent:.0f} s spent, at most {max(most, 0):.0f} s left"
        )
        return True

    def _causes(self, cpu: int | None) -> list[Cause]:
        """Profile both builds in the operations that regressed, and return in which functions the time went."""
        regressed = {
            one.operation.test
            for one in self.compared.values()
            if one.by == BLOCKS and self._judged(one).verdict == REGRESSED
        }
        if not regressed:
            return []
        self.say(f"profiling what regressed: {len(regressed)} tests")
        folder = self.request.root / FOLDER / "profiles" / re.sub(r"\D", "", datetime.now(UTC).isoformat()[:19])
        folder.mkdir(parents=True, exist_ok=True)
        causes = []
        with self._started(0, (BASELINE, CURRENT)) as workers:
            test = ""
            try:
                self._meet(workers, first=False)
                for worker in workers.values():
                    worker.tell(run=list(regressed))
                for test in [test for test in self.tests if test in regressed]:
                    causes += self._profiled(test, workers, folder, cpu)
            except duet.WorkerLostError as lost:
                self.notes.append(f"not all causes were sought: {lost.name} {lost.reason}, in {test}")
        return causes

    def _profiled(self, test: str, workers: Mapping[str, duet.Worker], folder: Path, cpu: int | None) -> list[Cause]:
        operation = self.tests[test].operation
        paths = {name: folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', operation.name)}.{name}.prof" for name in workers}
        old, new = (duet.Stream(worker=workers[name], profile=str(paths[name])) for name in (BASELINE, CURRENT))
        told = duet.measure(list(workers.values()), {CURRENT: (old, new)}, cpu)
        if told.faults or not told.blocks:
            return []
        before, after = (own_times(paths[name]) for name in (BASELINE, CURRENT))
        kept = [str(path.relative_to(self.request.root)) for path in paths.values()]
        return [Cause(operation=operation, grown=grown(before, after, old.worker.calls), profiles=kept)]

    def _instructions(self) -> list[Instructions]:
        """Count what can be counted of what was compared in blocks, and note the rest."""
        if reason := absent(self.environ):
            self.notes.append(reason)
            return []
        in_blocks = [one for one in self.compared.values() if one.by == BLOCKS]
        verdicts = {one.operation: self._judged(one).verdict for one in in_blocks}
        operations, left_out = worth_counting(verdicts, self.blocks)
        self.notes += left_out
        if not operations:
            return []
        self.say(f"Counting the instructions of {len(operations)} operations under valgrind …")
        commands = {name: self._command(self.request.pythons[name]) for name in (BASELINE, CURRENT)}
        counted = count_instructions(commands, [one.test for one in operations], self.folder, self.environ)
        self.notes += counted.notes
        return [
            Instructions(
                operation=one, before=counted.per_call[one.test][BASELINE], after=counted.per_call[one.test][CURRENT]
            )
            for one in operations
            if one.test in counted.per_call
        ]

    def _result(self, causes: list[Cause], instructions: list[Instructions]) -> PairedRun:
        same, slowed = self._watched()
        operations = [self.tests[test].operation.name for test in self.sentinels[:_SENTINELS]]
        sentinels = Sentinels(operations=operations, slowed_by=self._slower, same=same, slowed=slowed)
        return PairedRun(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            profile=self.request.profile,
            tolerance=self.request.tolerance,
            confidence=self.request.confidence,
            baseline=self.sides[BASELINE],
            current=self.sides[CURRENT],
            compared=list(self.compared.values()),
            unpaired=list(self.unpaired.values()),
            sentinels=sentinels if same else None,
            seconds=time.monotonic() - self.began,
            left_out=self.left_out,
            notes=self.notes,
            causes=causes,
            instructions=instructions,
        )


def _pair(told: duet.Told, contest: str) -> Pair:
    old, new = told.blocks[contest]
    return Pair(
        [block.per_call for block in old],
        [block.per_call for block in new],
        sum(block.seconds for block in (*old, *new)),
    )


def _kind(kinds: Mapping[str, str]) -> str:
    """Return what it means that one side, or both, gave nothing: see `Unpaired`."""
    if BASELINE not in kinds:
        return BROKEN if kinds[CURRENT] == "failed" else MISSING
    if "failed" in kinds.values():
        return FAILED
    return NOT_OFFERED if CURRENT in kinds else NEW
