"""Rows as images: values from 0 to 1, grey or on and off."""

import numpy as np

from mnar_ebm import data
from mnar_ebm.data.datasets.labelled import Labelled, Parts
from mnar_ebm.nets.convolution import image_shape

KINDS = ("grey", "drawn", "halved")
"""What a value is made of: as it is, on with its probability, or on above one half."""

SEED = 20161205
"""Of the one draw that all runs share."""


def of_parts(parts: Parts, kind: str) -> Parts:
    """Return images to train on and to test with, divided by the largest value if that is above 1.

    Args:
        parts: images.
        kind: one of ``KINDS``.
    """
    largest = max(float(parts.train.x.max()), 1.0)
    return Parts(
        *(
            Labelled(_made(part.x / largest, kind, SEED + number), part.label)
            for number, part in enumerate(parts)
        )
    )


def of_table(table: data.Table, kind: str) -> data.Table:
    """Return a table of images: complete where the truth is known; gaps of others stay.

    Args:
        table: rows.
        kind: one of ``KINDS``.

    Raises:
        ValueError: a value is not from 0 to 1.
    """
    x = table.x if table.truth is None else table.truth
    outside = x[(x < 0) | (x > 1)]
    if outside.size:
        raise ValueError(f"{table.name}: expected pixels from 0 to 1, got {outside[0]:g}")
    return data.make_table(table.name, table.columns, _made(x, kind, SEED))


def _made(x: np.ndarray, kind: str, seed: int) -> np.ndarray:
    """Return pixels of a kind; what is missing stays so. [N, D]."""
    if kind == "grey":
        return x
    is_on = np.random.default_rng(seed).random(x.shape) < x if kind == "drawn" else x > 0.5
    return np.where(np.isnan(x), np.nan, is_on)


def shape(num_columns: int) -> tuple[int, ...]:
    """Return the shape of an image: a square, grey or of three colours, or else a strip."""
    try:
        *sides, colours = image_shape(num_columns)
    except ValueError:
        return (1, num_columns)
    return tuple(sides) if colours == 1 else (*sides, colours)


def tile(rows: np.ndarray, num_across: int) -> np.ndarray:
    """Return one image of many, row by row, with a thin frame of NaN around each. [N, D]."""
    height, width, *colours = shape(rows.shape[1])
    num_down = -(-len(rows) // num_across)
    framed = np.full((num_down * num_across, height + 1, width + 1, *colours), np.nan)
    framed[: len(rows), :height, :width] = rows.reshape(-1, height, width, *colours)
    grid = framed.reshape(num_down, num_across, *framed.shape[1:]).swapaxes(1, 2)
    return grid.reshape(num_down * (height + 1), num_across * (width + 1), *colours)[:-1, :-1]
