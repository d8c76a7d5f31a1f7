"""Fidelity ``release`` against the numbers of the published code, one whole step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from echocli.models.clusters import cosines, harden, sinkhorn
from echocli.models.methods import discovr
from echocli.models.methods.base import Draws, StepOutput
from echocli.models.vit import ViTConfig
from echocli.models.weights.base import KeysError
from echocli.models.weights.discovr import published_names

FIXTURE = Path(__file__).parents[3] / "shared" / "fixtures" / "discovr_micro"
pytestmark = pytest.mark.skipif(
    not FIXTURE.exists(), reason="The parity fixtures are not here."
)
SHAPE = ViTConfig(frames=8, size=64, channels=3, tubelet=(2, 16, 16), dim=48, depth=2, heads=3)
CONFIG = discovr.Config(
    fidelity="release",
    pairing="released",
    targets="hard",
    head_hidden=64,
    head_bottleneck=32,
    head_outputs=128,
    prototypes=32,
    centre_momentum=0.8,
    decoder_depth=2,
    decoder_dim=24,
    decoder_heads=3,
)
FEATURES = {"rtol": 0, "atol": 2e-5}
FRAMES = 16


def numbers(file: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(FIXTURE / f"{file}.safetensors"))


def weights() -> dict[str, Tensor]:
    file = FIXTURE / "checkpoint-weights-only.pth"
    found: dict[str, Tensor] = torch.load(file, weights_only=True)["model"]
    return found


def visible(hidden: Tensor) -> Tensor:
    """Return the ids that masks leave, row by row."""
    return torch.stack([(~row).nonzero()[:, 0] for row in hidden])


def masks(io: dict[str, Tensor]) -> Draws:
    """Return the published draws as ours."""
    kinds = ["global", *(f"local{view}" for view in range(4))]
    clips = torch.stack([io[f"mask.{kind}"] for kind in kinds], dim=1).flatten(0, 1)
    hidden = io["image_mask_idx"].flatten(0, 1)
    frames = torch.zeros(len(hidden), 16, dtype=torch.bool).scatter(1, hidden, True)
    return {"video": visible(clips), "image": visible(frames)}


@pytest.fixture(scope="module")
def io() -> dict[str, Tensor]:
    return numbers("io")


@pytest.fixture(scope="module")
def method() -> discovr.DISCOVR:
    made = discovr.build(SHAPE, CONFIG, torch.Generator().manual_seed(0))
    made.load_published(weights())
    return made


@pytest.fixture(scope="module")
def output(method: discovr.DISCOVR, io: dict[str, Tensor]) -> StepOutput:
    found = method(io["clip"], masks(io))
    found.loss.backward()
    return found


def as_published(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Return one of our tensors under its published names."""
    names = published_names(name)
    parts = tensor.chunk(len(names)) if names else ()
    return {theirs: part for theirs, part in zip(names, parts, strict=True) if theirs}


def test_every_loss_agrees(output: StepOutput) -> None:
    step: dict[str, Any] = json.loads((FIXTURE / "step.json").read_text(encoding="utf-8"))
    losses, near = step["losses"], {"rel": 1e-5}
    ours = {name: value.item() for name, value in output.metrics.items()}
    assert ours["video"] == pytest.approx(losses["video"], **near)
    assert ours["image"] * 256 / FRAMES == pytest.approx(losses["image"], **near)
    both = losses["scd"] + losses["scd_constant_term"]
    assert ours["cluster"] == pytest.approx(both, **near)
    assert output.loss.item() == pytest.approx(losses["total"], **near)


def test_every_gradient_agrees(method: discovr.DISCOVR, output: StepOutput) -> None:
    expected = numbers("grads")
    assert output.loss.requires_grad
    for name, parameter in method.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None
            continue
        assert parameter.grad is not None, name
        for theirs, ours in as_published(name, parameter.grad).items():
            wanted = expected.pop(theirs)
            apart = (ours.reshape(wanted.shape) - wanted).norm()
            assert apart <= 1e-4 * wanted.norm(), theirs
    assert not expected


def test_teachers_prototypes_and_centres_move_as_published(io: dict[str, Tensor]) -> None:
    expected = numbers("after_forward")
    method = discovr.build(SHAPE, CONFIG, torch.Generator().manual_seed(0))
    method.load_published(weights())
    state = method(io["clip"], masks(io)).state
    moved = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    method.after_step(0.0, state)  # the students stand still, the centres move
    for centre in ("video.centre", "image.centre"):
        moved[centre] = method.state_dict()[centre]
    found: dict[str, Tensor] = {}
    for name, tensor in moved.items():
        found |= as_published(name, tensor)
    tables = {name for name in expected if name.endswith("pos_embed")}
    for name in expected.keys() - tables:
        wanted = expected[name]
        assert_close(found[name].reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-7)


def test_features_of_all_four_encoders_agree(io: dict[str, Tensor]) -> None:
    # The numbers were taken before the step moved the teachers.
    method = discovr.build(SHAPE, CONFIG, torch.Generator().manual_seed(0))
    method.load_state_dict(discovr.published_state(weights(), method.state_dict()))
    clip = io["clip"]
    frames = clip.transpose(1, 2).flatten(0, 1).unsqueeze(2)
    some = visible(io["mask.global"])
    cases = [
        ("encoder.full", method.video.student, clip, None),
        ("encoder.masked_global", method.video.student, clip, some),
        ("video_teacher.full", method.video.teacher, clip, None),
        ("video_teacher.masked_global", method.video.teacher, clip, some),
        ("image_student.frames", method.image.student, frames, None),
        ("image_teacher.frames", method.image.teacher, frames, None),
    ]
    for name, encoder, video, ids in cases:
        cls, tokens = encoder.embed(video, ids)
        assert cls is not None
        assert_close(torch.cat([cls[:, None], tokens], dim=1), io[name], **FEATURES)


def test_scores_and_assignments_agree(
    method: discovr.DISCOVR, io: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    sides: list[Tensor] = []
    whole = method.cluster_losses

    def spy(decoded: Tensor, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sides.extend([images.detach(), decoded.detach()])
        return whole(decoded, images)

    monkeypatch.setattr(method, "cluster_losses", spy)
    method(io["clip"], masks(io))
    for number, tokens in enumerate(sides, 1):
        scores = cosines(tokens, method.prototypes.detach())
        assert_close(scores.reshape(2, 64, 32), io[f"scd.scores{number}"], **FEATURES)
        wanted = io[f"scd.q{number}"].flatten(0, 1)
        shares = sinkhorn(scores, 0.05, 10)
        assert_close(shares, wanted, rtol=1e-3, atol=1e-5)
        assert torch.equal(harden(shares).argmax(dim=1), wanted.argmax(dim=1))


def test_a_name_missing_too_many_or_of_another_shape_is_refused(
    method: discovr.DISCOVR,
) -> None:
    changed = weights()
    changed["prototypes"] = changed["prototypes"][:-1]
    changed["new_head.weight"] = changed.pop("mask_token")
    with pytest.raises(KeysError) as refused:
        method.load_published(changed)
    assert refused.value.missing == ["mask_token"]
    assert refused.value.unexpected == ["new_head.weight"]
    assert "prototypes" in str(refused.value)
