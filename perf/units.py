"""Seconds, bytes and rates inside; milliseconds, mebibytes and other units only at the edges."""

from __future__ import annotations

MILLISECOND = 1e-3
KIB = 1024.0
MIB = KIB * KIB

_SCALES: dict[str, tuple[tuple[float, str], ...]] = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "B": ((MIB * 1024, "GiB"), (MIB, "MiB"), (1024.0, "KiB"), (1.0, "B")),
    "1/s": ((1e6, "M/s"), (1e3, "k/s"), (1.0, "/s")),
}


def format_quantity(value: float, unit: str) -> str:
    """Return `value` with four significant digits in the scale a person would choose.

    `unit` is "s", "B", "1/s", "%" or "1" (a bare number). Four digits are enough for a printed figure to
    stand on the same side of a printed limit as the raw one, except within 0.05 % of it.
    """
    if unit == "%":
        return f"{_four_digits(value)} %"
    scales = _SCALES.get(unit)
    if scales is None:
        return _four_digits(value)
    size, name = next((scale for scale in scales if abs(value) >= scale[0]), scales[-1])
    return f"{_four_digits(value / size)} {name}"


def _four_digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1e4 else f"{value:.4g}"  # noqa: PLR2004 - where .4g turns to exponents
