from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.testing import assert_close

from echocli.models.finetune import FitConfig
from echocli.models.folds import deal_patients
from echocli.models.logistic import FIT, Coefficients, basis_of, minimise
from echocli.models.readout import PooledReadout
from echocli.models.tasks.classification import (
    AttentiveClassifier,
    LinearClassifier,
    balanced_weights,
    class_loss,
    linear_part,
)
from echocli.models.vit import VisionTransformer, ViTConfig

ONES = torch.ones(3)


def data(clips: int, dim: int, classes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Features of unlike scales, with overlapping and unlike frequent classes."""
    generator = torch.Generator().manual_seed(clips + dim)
    hidden = torch.randn(clips, dim, generator=generator)
    pull = torch.randn(dim, classes, generator=generator) / dim**0.5
    noise = 0.7 * torch.randn(clips, classes, generator=generator)
    targets = (hidden @ pull + noise + torch.arange(classes) * 0.4).argmax(dim=1)
    features = hidden * torch.logspace(-2, 2, dim) + 3
    return features, targets, torch.arange(clips) // 2


def standard(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    mean = np.average(x, axis=0, weights=weights)
    return (x - mean) / np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weights))


@pytest.mark.parametrize(("clips", "dim"), [(120, 6), (30, 50)])
@pytest.mark.parametrize("alpha", [0.01, 1.0, 300.0])
@pytest.mark.parametrize("balanced", [False, True])
def test_probabilities_equal_sklearn_tall_and_wide(
    clips: int, dim: int, alpha: float, balanced: bool
) -> None:
    x, y, patients = data(clips, dim)
    weights = balanced_weights(y, 3) if balanced else ONES
    probe = LinearClassifier([alpha]).fit(x, y, patients, torch.Generator(), weights)
    ours = probe.logits(x).softmax(dim=1)
    rows = weights[y].double().numpy()
    z = standard(x.double().numpy(), rows)
    theirs = LogisticRegression(C=1 / alpha, tol=1e-10, max_iter=20_000)
    expected = theirs.fit(z, y.numpy(), sample_weight=rows).predict_proba(z)
    assert_close(ours, torch.from_numpy(expected), atol=1e-6, rtol=0)


def test_two_classes_are_sklearns_with_half_the_penalty() -> None:
    # Softmax has two opposite slopes where the logistic curve has one of twice the length.
    x, y, patients = data(80, 5, classes=2)
    probe = LinearClassifier([4.0]).fit(x, y, patients, torch.Generator(), torch.ones(2))
    z = standard(x.double().numpy(), np.ones(80))
    theirs = LogisticRegression(C=1 / 2.0, tol=1e-10, max_iter=20_000).fit(z, y.numpy())
    expected = torch.from_numpy(theirs.predict_proba(z))
    assert_close(probe.logits(x).softmax(dim=1), expected, atol=1e-6, rtol=0)


def test_several_fits_at_once_are_each_their_own() -> None:
    x, y, _ = data(60, 8)
    basis = basis_of(x.double(), torch.ones(60, dtype=torch.float64))
    weights = (torch.rand(4, 60, generator=torch.Generator().manual_seed(0)) > 0.3).double()
    zero = torch.zeros(4, 3, basis.rows.shape[1], dtype=torch.float64)
    start = Coefficients(zero, torch.zeros(4, 3, dtype=torch.float64))
    together = minimise(basis, y, weights, start, 0.5, FIT)
    for index, own in enumerate(weights):
        one = Coefficients(zero[:1], start.offsets[:1])
        alone = minimise(basis, y, own[None], one, 0.5, FIT)
        assert_close(together.slopes[index], alone.slopes[0], atol=1e-5, rtol=0)
        # At the least the gradient is zero.
        logits = basis.rows @ alone.slopes[0].T + alone.offsets[0]
        off = (logits.softmax(1) - torch.eye(3).double()[y]) * own[:, None]
        gradient = off.T @ basis.rows + 0.5 * alone.slopes[0]
        assert gradient.abs().max() < 1e-4


def test_a_fold_far_from_the_mean_of_all_is_fitted_to_the_end() -> None:
    generator = torch.Generator().manual_seed(0)
    middles = torch.tensor([1.0] * 300 + [-10.0] * 30)[:, None]
    x = (middles + 0.1 * torch.randn(330, 3, generator=generator)).double()
    y = torch.randint(2, (330,), generator=generator)
    basis = basis_of(x, torch.ones(330, dtype=torch.float64))
    own = (middles[:, 0] < 0).double()
    fit = minimise(basis, y, own[None], Coefficients.zero(1, 2, basis), 10.0, FIT)
    off = basis.rows @ fit.slopes[0].T + fit.offsets[0]
    off = (off.softmax(1) - torch.eye(2).double()[y]) * own[:, None]
    assert (off.T @ basis.rows + 10.0 * fit.slopes[0]).abs().max() < 1e-4
    assert off.sum(dim=0).abs().max() < 1e-4


def test_the_penalty_is_the_best_of_a_slow_loop_over_patient_folds() -> None:
    x, y, patients = data(60, 20)
    alphas = [1e3, 1e2, 10.0, 1.0, 0.1]
    probe = LinearClassifier(alphas, folds=4)
    probe.fit(x, y, patients, torch.Generator().manual_seed(3), ONES)
    fold = deal_patients(patients, 4, torch.Generator().manual_seed(3)).numpy()
    z = standard(x.double().numpy(), np.ones(60))
    expected = []
    for alpha in alphas:
        losses = np.zeros(60)
        for held in range(4):
            model = LogisticRegression(C=1 / alpha, tol=1e-9, max_iter=20_000)
            model.fit(z[fold != held], y.numpy()[fold != held])
            said = model.predict_log_proba(z[fold == held])
            losses[fold == held] = -said[np.arange(len(said)), y.numpy()[fold == held]]
        expected.append(losses.mean())
    assert probe.losses_ == pytest.approx(expected[: len(probe.losses_)], rel=5e-3)
    assert probe.alpha_ == alphas[int(np.argmin(expected))]


def test_noise_is_shrunk_to_the_shares_of_the_classes() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(90, 30, generator=generator)
    y = torch.arange(90) % 3
    probe = LinearClassifier().fit(x, y, torch.arange(90), generator, ONES)
    assert probe.alpha_ >= 100
    assert (probe.logits(x).softmax(dim=1) - 1 / 3).abs().max() < 0.25


def test_a_feature_that_never_varies_gets_no_say_and_nan_is_refused() -> None:
    x, y, patients = data(30, 5)
    with_constant = torch.cat([x, torch.full((30, 1), 1e6)], dim=1)
    probe = LinearClassifier().fit(with_constant, y, patients, torch.Generator(), ONES)
    assert probe.slopes_[:, 5].abs().max() == 0
    with pytest.raises(ValueError, match="finite"):
        LinearClassifier().fit(x * torch.nan, y, patients, torch.Generator(), ONES)
    with pytest.raises(ValueError, match="strongest first"):
        LinearClassifier([1.0, 10.0])


def test_balanced_weights_make_classes_weigh_the_same() -> None:
    y = torch.tensor([0] * 6 + [1] * 3 + [2])
    weights = balanced_weights(y, 3)
    sums = torch.zeros(3, dtype=torch.float64).index_add(0, y, weights[y])
    assert_close(sums, torch.full((3,), 10 / 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="no clip"):
        balanced_weights(y, 4)


def marked(clips: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens of which one, anywhere, tells the class; their mean hardly does."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(clips, 2, 10, 8, generator=generator)
    answer = torch.randint(3, (clips,), generator=generator)
    for clip in range(clips):
        for window in range(2):
            place = int(torch.randint(10, (1,), generator=generator))
            tokens[clip, window, place, answer[clip]] = 8
    return tokens, answer, torch.arange(clips) // 2


def test_an_attentive_probe_finds_the_token_that_tells_and_comes_back_the_same() -> None:
    tokens, answer, patients = marked(160)
    config = FitConfig(least_steps=150, epochs=1, lr=5e-3, checks=3)
    probe = AttentiveClassifier(2, config=config)
    probe.fit(tokens, answer, patients, torch.Generator().manual_seed(0), ONES)
    unseen, truth, _ = marked(60, seed=9)
    found = probe.logits(unseen)
    assert (found.argmax(dim=1) == truth).float().mean() > 0.8
    again = AttentiveClassifier.from_state(probe.state())
    assert torch.equal(again.logits(unseen), found)


def test_class_weights_reach_the_loss() -> None:
    said, wanted = torch.randn(4, 3), torch.tensor([0, 1, 2, 2])
    plain = class_loss(ONES)(said, wanted)
    heavy = class_loss(torch.tensor([1.0, 1.0, 4.0]))(said, wanted)
    assert_close(heavy, plain * torch.tensor([1.0, 1.0, 4.0, 4.0]))


def test_the_linear_part_of_a_network_says_what_the_network_says() -> None:
    shape = ViTConfig(frames=4, size=32, tubelet=(2, 8, 8), dim=32, depth=1, heads=2)
    encoder = VisionTransformer(shape, torch.Generator().manual_seed(0))
    network = PooledReadout(encoder, "mean", 3)
    video = torch.randn(6, 1, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    network(video)
    torch.nn.init.normal_(network.readout.weight)
    network.eval()
    features = encoder.embed(video)[1].mean(dim=1)
    said = linear_part(network).logits(features.detach())
    assert_close(said.float(), network(video).detach(), atol=1e-4, rtol=1e-4)
