"""What is made of the series of a results document."""

from __future__ import annotations

import pytest

from tests.model.calibration.samples import TOOL, results, series
from topoprobe.errors import InputError
from topoprobe.model.calibration.build import calibrate

STEP = {"model": "tiny-llama", "dtype": "fp32", "threads": 1, "role": "fit"}


@pytest.mark.parametrize("factor", STEP)
def test_factor_that_a_series_lacks_is_named_with_the_series(factor: str) -> None:
    others = {name: value for name, value in STEP.items() if name != factor}
    with pytest.raises(InputError, match=rf"model\.step .* lacks the factor {factor}, without"):
        calibrate(results(series("model.step", 1e-3, "s", **others)), tool=TOOL)
