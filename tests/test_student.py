"""Student's t, held against scipy's."""

from __future__ import annotations

import pytest
from scipy.special import stdtr, stdtrit

from perf.judge.student import t_cdf, t_quantile

FREEDOMS = [0.5, 1.0, 2.0, 2.5, 4.0, 5.0, 9.0, 14.5, 23.0, 98.0, 500.0]


@pytest.mark.parametrize("freedom", FREEDOMS)
@pytest.mark.parametrize("t", [-1e6, -40.0, -9.0, -3.1, -1.0, -1e-3, 0.0, 1e-3, 0.7, 2.0, 5.0, 30.0])
def test_the_chance_is_scipys(t: float, freedom: float) -> None:
    """The distribution agrees to ten digits, in the lower tail as well, where regressions are told apart."""
    assert t_cdf(t, freedom) == pytest.approx(float(stdtr(freedom, t)), rel=1e-10, abs=1e-300)


@pytest.mark.parametrize("freedom", FREEDOMS)
@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.6, 0.9, 0.95, 0.99, 0.9975, 1 - 0.0025 / 60])
def test_the_quantile_is_scipys(p: float, freedom: float) -> None:
    """The quantile agrees to nine digits at every confidence that is used, many comparisons asked at once included."""
    assert t_quantile(p, freedom) == pytest.approx(float(stdtrit(freedom, p)), rel=1e-9, abs=1e-12)
