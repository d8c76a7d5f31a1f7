from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.testing import assert_close

from echocli.models.finetune import FitConfig
from echocli.models.folds import deal_patients
from echocli.models.tasks.lvef import AttentiveProbe, RidgeProbe, ridge_path


def data(clips: int, dim: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(clips)
    scale = torch.logspace(-2, 2, dim)
    x = torch.randn(clips, dim, generator=generator) * scale + 3
    weight = torch.randn(dim, generator=generator) / scale
    y = 55 + x @ weight + torch.randn(clips, generator=generator)
    return x, y, torch.arange(clips) // 2


@pytest.mark.parametrize(("clips", "dim"), [(40, 6), (20, 50)])
@pytest.mark.parametrize("alpha", [0.1, 30.0, 1e5])
def test_closed_form_equals_sklearn_tall_and_wide(clips: int, dim: int, alpha: float) -> None:
    x, y, _ = data(clips, dim)
    theirs = make_pipeline(StandardScaler(), Ridge(alpha=alpha)).fit(
        x.double().numpy(), y.double().numpy()
    )
    coefficients, intercepts = ridge_path(x.double(), y.double(), [alpha])
    ours = x.double() @ coefficients[0] + intercepts[0]
    assert_close(ours, torch.from_numpy(theirs.predict(x.double().numpy())))


def test_the_penalty_is_the_best_of_a_slow_loop_over_patient_folds() -> None:
    x, y, patients = data(24, 40)
    alphas = [0.1, 1.0, 10.0, 100.0, 1000.0, 1e6]
    generator = torch.Generator().manual_seed(0)
    probe = RidgeProbe(alphas, folds=12).fit(x, y, patients, generator)  # a fold a patient
    errors = []
    for alpha in alphas:
        squares = []
        for train, test in LeaveOneGroupOut().split(x, y, patients):
            model = make_pipeline(StandardScaler(), Ridge(alpha=alpha)).fit(
                x[train].double().numpy(), y[train].double().numpy()
            )
            predicted = model.predict(x[test].double().numpy())
            squares.extend((predicted - y[test].double().numpy()) ** 2)
        errors.append(sum(squares) / len(squares))
    assert_close(probe.errors_, torch.tensor(errors, dtype=torch.float64), rtol=1e-6, atol=0)
    assert probe.alpha_ == alphas[errors.index(min(errors))]


def test_noise_is_shrunk_to_the_mean() -> None:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(60, 30, generator=generator), torch.randn(60, generator=generator) + 55
    probe = RidgeProbe().fit(x, y, torch.arange(60), generator)
    assert probe.alpha_ >= 100
    assert probe.predict(x).std() < 0.5 * y.std()


def test_clips_of_a_patient_share_a_fold_and_folds_are_even() -> None:
    patients = torch.randint(0, 33, (200,), generator=torch.Generator().manual_seed(2))
    fold = deal_patients(patients, 5, torch.Generator().manual_seed(3))
    for patient in patients.unique():
        assert len(fold[patients == patient].unique()) == 1
    sizes = [len(patients[fold == f].unique()) for f in range(5)]
    assert max(sizes) - min(sizes) <= 1
    other = deal_patients(patients, 5, torch.Generator().manual_seed(4))
    assert not torch.equal(fold, other)


def test_a_feature_that_never_varies_gets_no_say() -> None:
    x, y, patients = data(30, 5)
    with_constant = torch.cat([x, torch.full((30, 1), 1e6)], dim=1)
    plain = RidgeProbe().fit(x, y, patients, torch.Generator().manual_seed(0))
    probe = RidgeProbe().fit(with_constant, y, patients, torch.Generator().manual_seed(0))
    assert probe.coefficients_[5] == 0
    assert_close(probe.predict(with_constant), plain.predict(x))


def test_saved_state_predicts_the_same() -> None:
    x, y, patients = data(30, 5)
    probe = RidgeProbe().fit(x, y, patients, torch.Generator().manual_seed(0))
    again = RidgeProbe.from_state(probe.state())
    assert torch.equal(again.predict(x), probe.predict(x))
    assert again.alpha_ == probe.alpha_


def test_one_patient_and_nan_are_refused() -> None:
    x, y, patients = data(30, 5)
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match="two patients"):
        RidgeProbe().fit(x, y, torch.zeros_like(patients), generator)
    with pytest.raises(ValueError, match="finite"):
        RidgeProbe().fit(x, y.index_fill(0, torch.tensor(3), torch.nan), patients, generator)


def looks(clips: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens of which one, anywhere, tells the answer and is marked in its first channel.

    A mean over tokens hardly sees it: the probe must look.
    """
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(clips, 2, 30, 8, generator=generator)
    tokens[..., 0] = 0
    answer = torch.randn(clips, generator=generator)
    for clip in range(clips):
        for window in range(2):
            place = int(torch.randint(30, (1,), generator=generator))
            tokens[clip, window, place, 0] = 5
            tokens[clip, window, place, 1] = answer[clip]
    return tokens, 55 + 10 * answer, torch.arange(clips) // 2


QUICK = FitConfig(least_steps=400, epochs=1, batch=32, lr=5e-3, checks=8)


@pytest.fixture(scope="module")
def attentive() -> AttentiveProbe:
    tokens, ef, patients = looks(400)
    return AttentiveProbe(2, config=QUICK).fit(
        tokens.half(), ef, patients, torch.Generator().manual_seed(0)
    )


def test_the_attentive_probe_finds_the_token_that_tells(attentive: AttentiveProbe) -> None:
    tokens, ef, _ = looks(60, seed=1)
    known, said, patients = looks(400)
    ridge = RidgeProbe().fit(
        known.mean(dim=(1, 2)), said, patients, torch.Generator().manual_seed(0)
    )
    of_ridge = (ridge.predict(tokens.mean(dim=(1, 2))) - ef).abs().mean()
    error = (attentive.predict(tokens) - ef).abs().mean()
    assert error < 0.5 * of_ridge
    assert error < 0.5 * (ef - 55).abs().mean()


def test_the_held_out_patients_alone_are_predicted_out_of_fold(
    attentive: AttentiveProbe,
) -> None:
    tokens, _, _ = looks(400)
    known = attentive.out_of_fold_.isfinite()
    assert 0 < int(known.sum()) < len(known) // 2
    assert torch.equal(known[::2], known[1::2])
    assert_close(attentive.out_of_fold_[known], attentive.predict(tokens.half()[known]))


def test_windows_are_predicted_alone_and_averaged(attentive: AttentiveProbe) -> None:
    tokens, _, _ = looks(4, seed=2)
    apart = [attentive.predict(tokens[:, w : w + 1]) for w in range(2)]
    assert_close(attentive.predict(tokens), torch.stack(apart).mean(dim=0))


def test_an_attentive_probe_comes_back_from_its_state(attentive: AttentiveProbe) -> None:
    tokens, _, _ = looks(4, seed=2)
    state = {name: tensor.clone() for name, tensor in attentive.state().items()}
    again = AttentiveProbe.from_state(state)
    assert torch.equal(again.predict(tokens), attentive.predict(tokens))


def test_tokens_may_be_mapped_from_a_file(tmp_path: Path) -> None:
    tokens, ef, patients = looks(20)
    mapped = np.memmap(tmp_path / "t", np.float16, "w+", shape=tuple(tokens.shape))
    mapped[:] = tokens.numpy()
    config = FitConfig(least_steps=5, epochs=1, checks=1)
    probes = [
        AttentiveProbe(2, 2, config).fit(x, ef, patients, torch.Generator().manual_seed(0))
        for x in (torch.from_numpy(mapped), tokens.half())
    ]
    assert torch.equal(probes[0].predict(tokens), probes[1].predict(tokens))


def test_a_target_that_is_no_number_is_refused() -> None:
    tokens, ef, patients = looks(6)
    ef[2] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        AttentiveProbe(2).fit(tokens, ef, patients, torch.Generator())
