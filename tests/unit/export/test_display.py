"""Samples as a screen shows them are those of pydicom's own window and modality transformations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.pixels import apply_modality_lut, apply_windowing, convert_color_space

from airflow_provider_healthimaging.exceptions import UnsupportedPixelsError
from airflow_provider_healthimaging.export.contents import Display
from airflow_provider_healthimaging.export.display import to_8_bits

NOTHING = Display(None, None, None, None)


@given(
    samples=st.lists(st.integers(-2048, 2047), min_size=1, max_size=30),
    slope=st.sampled_from([None, 1, 2.5, 0.1]),
    intercept=st.sampled_from([None, 0, -1024, 7.5]),
    centre=st.integers(-3000, 3000),
    width=st.integers(1, 5000),
)
def test_a_window_is_applied_to_rescaled_samples_as_pydicom_applies_it(samples, slope, intercept, centre, width):
    array = np.array([samples], np.int16)
    attributes = Dataset()
    attributes.PhotometricInterpretation, attributes.BitsStored, attributes.PixelRepresentation = "MONOCHROME2", 12, 1
    attributes.RescaleSlope, attributes.RescaleIntercept = slope or 1, intercept or 0
    attributes.WindowCenter, attributes.WindowWidth = centre, width
    windowed = apply_windowing(apply_modality_lut(array, attributes), attributes)
    # pydicom stretches the window over all values that are possible, be they rescaled.
    least, most = (bound * (slope or 1) + (intercept or 0) for bound in (-2048, 2047))

    shown = to_8_bits(array, "MONOCHROME2", 12, Display(slope, intercept, centre, width))

    assert shown.dtype == np.uint8
    assert np.abs(shown - (windowed - least) / (most - least) * 255).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("display", [NOTHING, Display(None, None, 40.0, None), Display(2.0, -1.0, 40.0, 0.0)])
def test_without_a_window_the_smallest_sample_is_black_and_the_largest_white(display):
    samples = np.array([[-100, 0, 155]], np.int16)

    assert to_8_bits(samples, "MONOCHROME2", 16, display).tolist() == [[0, 100, 255]]
    assert to_8_bits(samples, "MONOCHROME1", 16, display).tolist() == [[255, 155, 0]]


def test_a_frame_of_one_value_is_drawn():
    assert to_8_bits(np.full((2, 2), 7), "MONOCHROME2", 16, NOTHING).shape == (2, 2)


def test_colours_are_rgb_of_8_bits():
    colours = np.random.default_rng(1).integers(0, 256, (4, 5, 3), dtype=np.uint8)

    assert np.array_equal(to_8_bits(colours, "RGB", 8, NOTHING), colours)
    assert np.array_equal(to_8_bits(colours.astype(np.uint16) << 4, "RGB", 12, NOTHING), colours)
    assert np.array_equal(to_8_bits(colours, "YBR_FULL", 8, NOTHING), convert_color_space(colours, "YBR_FULL", "RGB"))


def test_indices_into_a_palette_are_not_shown_as_shades():
    with pytest.raises(UnsupportedPixelsError, match="apply_color_lut"):
        to_8_bits(np.zeros((2, 2), np.uint8), "PALETTE COLOR", 8, NOTHING)
