"""Cells that are hidden first, so that what fills them can be compared with what they were."""

import dataclasses
from typing import Any

import numpy as np

from mnar_ebm import data, metrics
from mnar_ebm.nets.convolution import image_shape

from .systems import Completed

PARTS = ("lower_half", "upper_half")
FEWEST_DRAWS = 19
"""Least number of draws whose ends are the ends of an interval of 90 %."""


def mask_of(part: str, csv: data.Csv) -> np.ndarray:
    """Return which pixels are shown, of rows that are square images. [N, D].

    Raises:
        ValueError: the columns are not the pixels of such images.
    """
    height, *rest = image_shape(len(csv.columns))
    shown = np.ones((height, int(np.prod(rest))), bool)
    half = slice(height // 2, None) if part == "lower_half" else slice(None, height // 2)
    shown[half] = False
    return np.broadcast_to(shown.ravel(), csv.x.shape)


def mask_from(path: str, csv: data.Csv) -> np.ndarray:
    """Return which cells a mask file shows: 1, or 0 where they are hidden. [N, D].

    It has one row for all rows, or one for each.

    Raises:
        ValueError: there are other columns, other numbers of rows, or other values.
    """
    mask = data.align(data.read_csv(path), csv.columns).x
    if len(mask) not in (1, len(csv.x)):
        raise ValueError(f"{path}: expected 1 row or {len(csv.x)}, got {len(mask)}")
    if not np.isin(mask, (0, 1)).all():
        raise ValueError(f"{path}: expected 1 where a cell is shown and 0 where it is hidden")
    return np.broadcast_to(mask == 1, csv.x.shape)


def hide(csv: data.Csv, mask: np.ndarray) -> data.Csv:
    """Return the file with gaps where the mask hides a cell; gaps that it had stay."""
    text = np.where(mask, csv.text, "")
    return dataclasses.replace(csv, text=text, x=np.where(mask, csv.x, np.nan))


def compare(before: data.Csv, after: Completed) -> dict[str, Any]:
    """Return how near to hidden cells their fillings are: of means, and of draws if enough.

    The peak of the signal-to-noise ratio is from the least to the largest value of the file.
    """
    is_hidden = ~np.isnan(before.x) & np.isnan(after.csv.x)
    truth = before.x[is_hidden]
    error = after.mean[is_hidden] - truth
    mean_square = float((error**2).mean())
    peak = float(np.nanmax(before.x) - np.nanmin(before.x))
    found = {
        "cells": int(is_hidden.sum()),
        "rmse": mean_square**0.5,
        "psnr": 10 * np.log10(peak**2 / mean_square) if mean_square else np.inf,
    }
    if len(after.draws) >= FEWEST_DRAWS:
        draws, filled = np.moveaxis(after.draws, 0, 1), np.where(is_hidden, before.x, 0.0)
        found["coverage"] = metrics.interval_coverage(draws, filled, ~is_hidden)
    return found
