"""V-JEPA, one token and one pair at a time.

Bardes et al. 2024 (arXiv 2404.08471), V-JEPA 2.1 (arXiv 2603.14482), Ellis et al. 2025
(arXiv 2507.18424). Ids count through a grid of tubelets: time, then rows, then columns.
"""

from __future__ import annotations

import math

Grid = tuple[int, int, int]
Vector = list[float]


def places_in(grid: Grid) -> list[tuple[int, int, int]]:
    """Return time, row and column of every id, by counting."""
    found = []
    for t in range(grid[0]):
        for i in range(grid[1]):
            for j in range(grid[2]):
                found.append((t, i, j))
    return found


def block_size(
    grid: Grid, scale: float, duration: float, aspects: tuple[float, float], draw: float
) -> Grid:
    """Return duration, height and width of a block (section 3.2 of V-JEPA).

    Args:
        grid: Tubelets of the clip.
        scale: Share of a frame that a block hides.
        duration: Share of the clip that it lasts.
        aspects: Range of height over width.
        draw: Where in this range, from 0 to 1.
    """
    aspect = aspects[0] + draw * (aspects[1] - aspects[0])
    area = math.floor(grid[1] * grid[2] * scale)
    height = round(math.sqrt(area * aspect))
    width = round(math.sqrt(area / aspect))
    return max(1, math.floor(grid[0] * duration)), min(grid[1], height), min(grid[2], width)


def hidden_by(corners: list[list[int]], size: Grid, grid: Grid) -> set[int]:
    """Return the ids inside at least one of the blocks that begin at some corners."""
    hidden = set()
    for number, place in enumerate(places_in(grid)):
        for corner in corners:
            inside = [
                first <= where < first + length
                for where, first, length in zip(place, corner, size, strict=True)
            ]
            if all(inside):
                hidden.add(number)
    return hidden


def cut_to_equal_length(rows: list[set[int]]) -> list[list[int]]:
    """Return ids ascending, the ends of longer rows cut off, as the published code does."""
    shortest = min(len(row) for row in rows)
    return [sorted(row)[:shortest] for row in rows]


def normalised(vector: Vector) -> Vector:
    """Return a vector of mean 0 and variance 1, as LayerNorm without weights does."""
    mean = sum(vector) / len(vector)
    variance = sum((x - mean) ** 2 for x in vector) / len(vector)
    return [(x - mean) / math.sqrt(variance + 1e-5) for x in vector]


def target(feature: Vector, levels: int) -> Vector:
    """Return what is to be predicted of a token: each of its levels, normalised."""
    width = len(feature) // levels
    return [x for k in range(levels) for x in normalised(feature[k * width : (k + 1) * width])]


def feature_error(
    predicted: list[list[Vector]],
    features: list[list[Vector]],
    ids: list[list[int]],
    *,
    levels: int = 1,
    exponent: float = 1.0,
    weights: list[list[float]] | None = None,
) -> float:
    """Return the mean error of predicted tokens (equation 1 of V-JEPA).

    Args:
        predicted: A vector for each id.
        features: The target encoder's, for every token of the grid.
        ids: Of the predicted tokens.
        levels: How many vectors are side by side in one feature.
        exponent: Of the error.
        weights: Of the tokens.
    """
    total, count = 0.0, 0
    for clip, row in enumerate(ids):
        for number, token in enumerate(row):
            true = target(features[clip][token], levels)
            weight = 1.0 if weights is None else weights[clip][number]
            for z, h in zip(predicted[clip][number], true, strict=True):
                total += weight * abs(z - h) ** exponent / exponent
                count += 1
    return total / count


def context_weights(context: list[int], targets: list[int], grid: Grid) -> list[float]:
    """Return the weights of visible tokens: 1 / sqrt(distance to the nearest hidden one)."""
    places = places_in(grid)
    weights = []
    for seen in context:
        nearest = min(math.dist(places[seen], places[hidden]) for hidden in targets)
        weights.append(1 / math.sqrt(nearest))
    return weights


def offset(first: int, second: int, grid: Grid) -> Vector:
    """Return where the first token lies, seen from the second, as shares of the grid's sides.

    ``((t1 - t2) / t, (i1 - i2) / i, (j1 - j2) / j)`` in Ellis et al.
    """
    places = places_in(grid)
    sides = zip(places[first], places[second], grid, strict=True)
    return [(one - two) / side for one, two, side in sides]


def localisation(
    guesses: list[list[Vector]], pairs: list[list[tuple[int, int]]], grid: Grid
) -> float:
    """Return ``1 / (R B) sum ||F(e1, e2) - delta||^2`` over the pairs of all clips.

    Args:
        guesses: F's answer to each pair.
        pairs: Ids of the first and the second token.
        grid: Tubelets of the clip.
    """
    total, count = 0.0, 0
    for answers, asked in zip(guesses, pairs, strict=True):
        for guess, (first, second) in zip(answers, asked, strict=True):
            true = offset(first, second, grid)
            total += sum((g - d) ** 2 for g, d in zip(guess, true, strict=True))
            count += 1
    return total / count
