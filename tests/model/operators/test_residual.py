"""Kriging: through the points where there is no noise, to their mean far from all of them."""

from __future__ import annotations

import numpy as np
import pytest

from topoprobe.model.calibration.residual_fit import _slope, fit_residual
from topoprobe.model.operators.residual import likeness, squared_distances

RANDOM = np.random.default_rng(7)
POINTS = RANDOM.uniform(0, 10, (300, 2))


def wave(points: np.ndarray) -> np.ndarray:
    return 0.3 * np.sin(points[:, 0]) + 0.05 * points[:, 1]


def test_distances_are_those_of_the_definition() -> None:
    a, b = RANDOM.normal(size=(5, 3)), RANDOM.normal(size=(4, 3))
    expected = np.square(a[:, None] - b[None]).sum(axis=2)
    assert squared_distances(a, b) == pytest.approx(expected)


def test_likeness_falls_from_one() -> None:
    values = likeness(np.array([0.0, 0.1, 1.0, 100.0]))
    assert values[0] == 1.0
    assert (np.diff(values) < 0).all()
    assert values[-1] < 1e-5


def test_residual_goes_through_noiseless_points_and_between_them() -> None:
    residual = fit_residual(POINTS, wave(POINTS), seed=0)
    assert residual.at(POINTS) == pytest.approx(wave(POINTS), abs=2e-3)
    others = RANDOM.uniform(1, 9, (200, 2))
    assert np.abs(residual.at(others) - wave(others)).mean() < 0.02


def test_residual_takes_noise_for_noise() -> None:
    noisy = wave(POINTS) + RANDOM.normal(0, 0.05, len(POINTS))
    residual = fit_residual(POINTS, noisy, seed=0)
    errors = residual.at(POINTS) - wave(POINTS)
    assert np.sqrt(np.square(errors).mean()) < 0.04


def test_residual_far_from_all_points_is_their_mean() -> None:
    residual = fit_residual(POINTS, wave(POINTS), seed=0)
    assert residual.at(np.array([[1e6, 1e6]]))[0] == pytest.approx(wave(POINTS).mean())


def test_residual_ignores_an_axis_without_spread() -> None:
    flat = np.hstack([POINTS, np.full((len(POINTS), 1), 3.0)])
    residual = fit_residual(flat, wave(POINTS), seed=0)
    assert residual.at(flat) == pytest.approx(wave(POINTS), abs=2e-3)


def test_slope_is_that_of_the_likelihood() -> None:
    points, values = POINTS[:30], wave(POINTS[:30])
    parameters = np.array([-1.0, 0.3, -0.2, -4.0])

    def negative_log_likelihood(parameters: np.ndarray) -> float:
        scaled = points / np.exp(parameters[1:-1])
        covariance = np.exp(parameters[0]) * likeness(squared_distances(scaled, scaled))
        covariance += (np.exp(parameters[-1]) + 1e-8 * np.exp(parameters[0])) * np.eye(len(points))
        _, logarithm = np.linalg.slogdet(covariance)
        return 0.5 * float(values @ np.linalg.solve(covariance, values) + logarithm)

    numeric = [
        (negative_log_likelihood(parameters + shift) - negative_log_likelihood(parameters - shift))
        / 2e-6
        for shift in 1e-6 * np.eye(4)
    ]
    assert _slope(parameters, points, values) == pytest.approx(numeric, rel=1e-4, abs=1e-5)
