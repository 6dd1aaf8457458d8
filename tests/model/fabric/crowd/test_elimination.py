from __future__ import annotations

import numpy as np
import pytest

from topoprobe.model.fabric.crowd import elimination
from topoprobe.model.fabric.crowd.elimination import eliminate


@pytest.mark.parametrize("num_dense", [1, 400])
@pytest.mark.parametrize("seed", range(20))
def test_unknowns_are_found_where_the_determinant_is_above_zero(
    num_dense: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elimination, "NUM_DENSE", num_dense)
    rng = np.random.default_rng(seed)
    num = 60
    rows = np.concatenate((np.arange(num), rng.integers(num, size=2 * num)))
    columns = np.concatenate((np.arange(num), rng.integers(num, size=2 * num)))
    values = np.concatenate((rng.choice((-2.0, 2.0), num), rng.uniform(-1.0, 1.0, 2 * num)))
    matrix = np.zeros((num, num))
    np.add.at(matrix, (rows, columns), values)
    unknowns = rng.uniform(-5.0, 5.0, num)
    found = eliminate(rows, columns, values, matrix @ unknowns)
    if np.linalg.det(matrix) > 0.0:
        assert found == pytest.approx(unknowns)
    else:
        assert found is None


def test_of_several_solutions_a_small_one_is_found() -> None:
    rows, columns = np.divmod(np.arange(9), 3)
    matrix = np.array([[1.0, 2.0, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 4.0]])
    found = eliminate(rows, columns, matrix.ravel(), np.array([5.0, 2.5, 8.0]))
    assert found == pytest.approx(np.array([1.0, 2.0, 2.0]))
