from __future__ import annotations

import random

import numpy as np
import pytest

from topoprobe.model.fabric.elimination import NUM_FEW, eliminate


@pytest.mark.parametrize("num", [1, 2, 5, NUM_FEW, 3 * NUM_FEW])
@pytest.mark.parametrize("seed", range(10))
def test_unknowns_are_found_where_the_determinant_is_above_zero(num: int, seed: int) -> None:
    rng = random.Random(seed)
    matrix = np.zeros((num, num))
    for _ in range(3 * num):
        matrix[rng.randrange(num), rng.randrange(num)] = rng.uniform(-1.0, 1.0)
    order = rng.sample(range(num), num)
    matrix[np.arange(num), order] += rng.choice((-2.0, 2.0))
    unknowns = np.array([rng.uniform(-5.0, 5.0) for _ in range(num)])
    rows = [{int(at): float(row[at]) for at in np.flatnonzero(row)} for row in matrix]
    found = eliminate(rows, [float(each) for each in matrix @ unknowns])
    if np.linalg.det(matrix) > 0.0:
        assert found == pytest.approx(unknowns.tolist(), rel=1e-6, abs=1e-6)
    else:
        assert found is None


def test_equations_that_repeat_each_other_have_no_one_solution() -> None:
    assert eliminate([{0: 1.0, 1: 2.0}, {0: 0.5, 1: 1.0}], [3.0, 1.5]) is None


def test_unknown_that_no_equation_has_is_not_found() -> None:
    assert eliminate([{0: 1.0}, {0: 2.0}], [1.0, 2.0]) is None
