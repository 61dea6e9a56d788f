"""Samples as a screen shows them: 8 bits, dark to bright, or red, green and blue. Needs the extra ``pixels``.

Source: DICOM PS3.3, C.11.1.1.2 (modality transformation) and C.11.2.1.2.1 (linear window).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_healthimaging.exceptions import UnsupportedPixelsError

if TYPE_CHECKING:
    import numpy as np

    from airflow_provider_healthimaging.export.contents import Display

_COLOUR_DIMENSIONS = 3
_SCREEN_BITS = 8


def to_8_bits(
    samples: np.ndarray[Any, Any], photometric: str, bits_stored: int, display: Display
) -> np.ndarray[Any, Any]:
    """Return the samples as unsigned 8 bit numbers, for colours as RGB.

    Grey samples are rescaled and windowed; without a window, the smallest sample is black and the largest is white.

    :raises UnsupportedPixelsError: for samples that are indices into a palette.
    """
    import numpy as np

    if photometric == "PALETTE COLOR":
        raise UnsupportedPixelsError(
            "Samples of PALETTE COLOR are indices into a palette, which is not applied here. Apply the palette of the "
            "DICOM file, with pydicom.pixels.apply_color_lut."
        )
    if samples.ndim == _COLOUR_DIMENSIONS:
        colours = (samples >> max(0, bits_stored - _SCREEN_BITS)).astype(np.uint8)
        if not photometric.startswith("YBR"):
            return colours
        from pydicom.pixels.processing import convert_color_space

        return convert_color_space(colours, "YBR_FULL", "RGB")
    values = samples * (display.rescale_slope or 1.0) + (display.rescale_intercept or 0.0)
    centre, width = display.window_center, display.window_width
    if centre is None or width is None or width < 1:
        low, high = float(values.min()), float(values.max())
    else:
        low, high = (centre - 0.5 + sign * (width - 1) / 2 for sign in (-1, 1))
    shades = [255, 0] if photometric == "MONOCHROME1" else [0, 255]
    return np.rint(np.interp(values, [low, high], shades)).astype(np.uint8)
