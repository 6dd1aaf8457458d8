from __future__ import annotations

import numpy as np
import pytest

from topoprobe.measure.devices.cuda.floats import FLOAT_TYPES, FloatType
from topoprobe.measure.devices.cuda.pattern import pattern_words

TYPES = pytest.mark.parametrize("float_type", list(FLOAT_TYPES))


@TYPES
def test_word_of_ones_decodes_to_ones(float_type: FloatType) -> None:
    layout = FLOAT_TYPES[float_type]
    ones = layout.decode(np.array([layout.one_word], dtype=np.uint64))
    np.testing.assert_array_equal(ones, np.ones(8 // layout.num_bytes))


@TYPES
def test_mantissa_word_spans_from_one_to_just_below_two(float_type: FloatType) -> None:
    layout = FLOAT_TYPES[float_type]
    word = np.array([layout.one_word | layout.mantissa_word], dtype=np.uint64)
    np.testing.assert_array_equal(layout.decode(word), 2.0 - 2.0**-layout.mantissa_bits)


@TYPES
def test_numbers_encoded_and_decoded_are_the_same(float_type: FloatType) -> None:
    layout = FLOAT_TYPES[float_type]
    bits = pattern_words(3, 0, 64) & np.uint64(layout.mantissa_word) | np.uint64(layout.one_word)
    numbers = layout.decode(bits)
    np.testing.assert_array_equal(layout.encode(numbers).view(np.uint64), bits)


@pytest.mark.parametrize(
    ("float_type", "argument"),
    [
        ("fp32", np.float32(3)),
        ("fp64", np.float64(3)),
        ("fp16", np.uint32(0x42004200)),
        ("bf16", np.uint32(0x40404040)),
    ],
)
def test_argument_of_a_kernel_has_the_bits_of_the_type(
    float_type: FloatType, argument: np.generic
) -> None:
    found = FLOAT_TYPES[float_type].argument(3.0)
    assert (type(found), found) == (type(argument), argument)
