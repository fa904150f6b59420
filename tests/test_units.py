from __future__ import annotations

import pytest

from perf.units import MIB, MILLISECOND, format_quantity

SCALES = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9, "GiB": 1024.0**3, "MiB": 1024.0**2, "KiB": 1024.0, "B": 1.0}
SCALES |= {"M/s": 1e6, "k/s": 1e3, "/s": 1.0}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (100 * MILLISECOND, "s", "100 ms"),
        (1.0, "s", "1 s"),
        (0.0012345, "s", "1.234 ms"),
        (0.000005, "s", "5 µs"),
        (9e-9, "s", "9 ns"),
        (12345.0, "s", "12345 s"),
        (50 * MIB, "B", "50 MiB"),
        (1024 * MIB, "B", "1 GiB"),
        (1023.0, "B", "1023 B"),
        (-2048.0, "B", "-2 KiB"),
        (0.0, "B", "0 B"),
        (999.0, "1/s", "999 /s"),
        (1000.0, "1/s", "1 k/s"),
        (2.5e6, "1/s", "2.5 M/s"),
        (12.34, "%", "12.34 %"),
        (100.0, "1", "100"),
        (0.71, "1", "0.71"),
    ],
)
def test_a_quantity_is_printed_in_the_scale_a_person_would_choose(value: float, unit: str, text: str) -> None:
    """Each figure is printed with its unit in the largest scale that leaves it 1 or more."""
    assert format_quantity(value, unit) == text


@pytest.mark.parametrize("unit", ["s", "B", "1/s"])
def test_a_printed_figure_is_true_to_four_digits(unit: str) -> None:
    """What is printed, read back, differs from the figure by 0.05 % at most, over fifteen orders of magnitude."""
    figures = [sign * 1.2345678 * 10 ** (exponent / 7) for exponent in range(-6, 84) for sign in (1, -1)]

    for figure in figures:
        number, scale = format_quantity(figure, unit).split()
        assert float(number) * SCALES[scale] == pytest.approx(figure, rel=0.0005)


@pytest.mark.parametrize(("count", "text"), [(12345, "12345"), (100_000, "100000"), (2_000_000, "2000000")])
def test_a_count_is_printed_without_an_exponent(count: int, text: str) -> None:
    """A bare number of five digits or more is printed as a person writes it."""
    assert format_quantity(count, "1") == text


def test_a_share_above_nothing_never_prints_as_nothing() -> None:
    """One failure in five thousand is not printed as none."""
    assert format_quantity(0.02, "%") != format_quantity(0.0, "%")
