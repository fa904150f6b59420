"""Every error the suite raises on purpose; each child carries the exit code it ends a command with."""

from __future__ import annotations


class PerfError(Exception):
    """Base of the suite's own errors: the text is one line that says what, where and what to do next."""

    exit_code = 2


class SettingsError(PerfError):
    """A mistake in `thresholds.toml`, in a `PERF_*` variable or on the command line."""


class ServiceUnavailableError(PerfError):
    """Something outside the suite that must be there is not: khive, a Redis server, a model endpoint."""


class NotOfferedError(PerfError):
    """The installed khive build lacks what an operation would measure; it is reported, never passed over."""


class KnownFaultError(NotOfferedError):
    """The installed khive build has the operation, and it fails in a way its binding knows; it is reported as such."""


class UnreadableRunError(PerfError):
    """A saved run is missing, truncated, foreign, or of a format version this suite does not know."""


class SaveError(PerfError):
    """A run could not be saved; nothing half-written is left behind."""


class MeasurementError(PerfError):
    """A measurement was asked for in a way that cannot give a true figure."""


class NoHistoryError(PerfError):
    """There is nothing yet to compare with: no saved run, no earlier one, no promoted baseline."""

    exit_code = 3


class AlertError(PerfError):
    """An alert could not be sent; the text never holds the URL."""
