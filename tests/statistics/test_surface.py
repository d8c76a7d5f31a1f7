from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from echocli.statistics.surface import distances, outline

SPACING = (0.4, 0.7)


def blob(seed: int) -> NDArray[np.bool_]:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(40, 36)), 5)
    return np.asarray(noise > np.quantile(noise, 0.7))


def edge_points(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return where a mask's pixels have a neighbour outside it, pixel by pixel."""
    height, width = mask.shape
    points = []
    for row, column in np.argwhere(mask):
        around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        inside = [0 <= r < height and 0 <= c < width and mask[r, c] for r, c in around]
        if not all(inside):
            points.append((row * SPACING[0], column * SPACING[1]))
    return np.array(points)


@pytest.mark.parametrize("seed", range(6))
def test_distances_equal_those_of_every_pair_of_points(seed: int) -> None:
    ours, theirs = blob(seed), blob(seed + 100)
    pairs = cdist(edge_points(ours), edge_points(theirs))
    there, back = pairs.min(axis=1), pairs.min(axis=0)
    found = distances(ours, theirs, SPACING)
    assert found.hausdorff == pytest.approx(max(there.max(), back.max()), abs=1e-9)
    far = max(np.percentile(there, 95), np.percentile(back, 95))
    assert found.hd95 == pytest.approx(far, abs=1e-9)
    mean = (there.sum() + back.sum()) / (len(there) + len(back))
    assert found.assd == pytest.approx(mean, abs=1e-9)
    assert found == pytest.approx(distances(theirs, ours, SPACING))


@pytest.mark.filterwarnings("ignore:monai.metrics:FutureWarning")
def test_distances_equal_monais() -> None:
    monai = pytest.importorskip("monai.metrics", reason="MONAI is an optional judge")
    torch = pytest.importorskip("torch")
    for seed in range(6):
        ours, theirs = blob(seed), blob(seed + 100)
        maps = [
            torch.from_numpy(np.stack([~m, m])[None].astype(np.float32)) for m in (ours, theirs)
        ]
        found = distances(ours, theirs, SPACING)
        far = monai.compute_hausdorff_distance(*maps, percentile=95, spacing=SPACING)
        furthest = monai.compute_hausdorff_distance(*maps, spacing=SPACING)
        mean = monai.compute_average_surface_distance(*maps, symmetric=True, spacing=SPACING)
        judged = (far.item(), furthest.item(), mean.item())
        assert found == pytest.approx(judged, rel=1e-6, abs=1e-6)


def test_a_shift_is_its_own_distance() -> None:
    square = np.zeros((30, 30), np.bool_)
    square[8:16, 8:16] = True
    found = distances(square, np.roll(square, 3, axis=1), (1.0, 0.5))
    assert found.hausdorff == pytest.approx(1.5)
    assert distances(square, square) == (0, 0, 0)


def test_empty_masks_follow_the_stated_rule() -> None:
    none, some = np.zeros((30, 40), np.bool_), np.zeros((30, 40), np.bool_)
    some[3, 4] = True
    assert all(map(math.isnan, distances(none, none)))
    assert distances(none, some) == distances(some, none) == (50.0, 50.0, 50.0)
    with pytest.raises(ValueError, match=r"\(30, 40\)"):
        distances(none, some[:10])


def test_the_border_of_the_frame_is_outside() -> None:
    assert outline(np.ones((4, 5), np.bool_)).sum() == 14
