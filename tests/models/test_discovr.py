"""DISCOVR: a step equals its equations view by view; each part learns from its own loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracles import discovr as oracle
from torch import Tensor
from torch.testing import assert_close

from echocli.models.methods.discovr import DISCOVR, Config

MakeMethod = Callable[..., DISCOVR]
MakeBlobs = Callable[..., Tensor]
RELEASED = {
    "fidelity": "release",
    "image_frames": "all",
    "pairing": "released",
    "targets": "hard",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "one": {"image_frames": "one"},
    "subset": {"image_frames": "subset", "image_subset": 1},
    "separate": {"separate_prototypes": True},
    "hard": {"targets": "hard"},
    "misaligned": {"pairing": "released"},
    "raw": {"standardised": False},
    "koleo": {"koleo_weight": 0.1},
    "release": RELEASED,
}
PLACES = torch.tensor([[1, 4, 5, 6, 9, 10], [2, 4, 6, 8, 12, 15]])


@pytest.fixture(params=OPTIONS)
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Every option in turn."""
    return OPTIONS[request.param]


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def moved(method: DISCOVR) -> DISCOVR:
    """Take teachers away from their students and centres from zero."""
    with torch.no_grad():
        for name, weight in method.named_parameters():
            if "teacher" in name:
                weight += 0.05 * torch.randn(weight.shape, generator=seeded(len(name)))
        for branch in (method.video, method.image):
            branch.centre.copy_(0.1 * torch.randn(branch.centre.shape, generator=seeded(3)))
            branch.centred.fill_(True)
    return method


def alone(encoder: Any, clip: Tensor, ids: Tensor | None) -> tuple[Tensor, Tensor]:
    """Encode one view of one clip."""
    cls, tokens = encoder.embed(clip[None], None if ids is None else ids[None])
    return cls[0], tokens[0]


class SlowStep:
    """The losses of a step, one clip, one frame, one view at a time."""

    def __init__(self, method: DISCOVR, video: Tensor, draws: dict[str, Tensor]) -> None:
        self.method, self.video, self.draws = method, video, draws
        self.config, self.grid = method.config, method.encoder.grid(video.shape)

    def places(self, clip: int) -> Tensor:
        height, width = self.grid[1:]
        return (
            self.draws["places"][clip]
            if "places" in self.draws
            else torch.arange(height * width)
        )

    def seen(self, clip: int) -> Tensor:
        height, width = self.grid[1:]
        times = range(self.grid[0])
        return torch.cat([time * height * width + self.places(clip) for time in times])

    def frames(self, clip: int) -> list[int]:
        count, tubelet = self.video.shape[2], self.method.tubelet
        if self.config.image_frames == "subset":
            return self.draws["frames"][clip].tolist()
        return list(range(0, count, tubelet if self.config.image_frames == "one" else 1))

    def dino(self, branch: Any, students: list[Any], teachers: list[Any]) -> float:
        return oracle.dino(
            students,
            teachers,
            branch.centre.tolist(),
            branch.temperature.item(),
            self.config.student_temperature,
        )

    def video_loss(self) -> float:
        branch, views = self.method.video, self.config.video_views + 1
        students, teachers = [], []
        for clip, one in enumerate(self.video):
            cls, _ = alone(branch.teacher, one, self.seen(clip))
            teachers.append(branch.teacher_head(cls[None])[0].tolist())
            ids = self.draws["video"][clip * views + 1 : (clip + 1) * views]
            tokens = [alone(branch.student, one, view)[0] for view in ids]
            students.append([branch.student_head(token[None])[0].tolist() for token in tokens])
        return self.dino(branch, students, teachers)

    def image_loss(self) -> float:
        branch, row = self.method.image, 0
        students, teachers = [], []
        for clip, one in enumerate(self.video):
            for frame in self.frames(clip):
                still = one[:, frame : frame + 1]
                cls, _ = alone(branch.teacher, still, self.places(clip))
                teachers.append(branch.teacher_head(cls[None])[0].tolist())
                ids = self.draws["image"][row : row + self.config.image_views]
                row += len(ids)
                tokens = [alone(branch.student, still, view)[0] for view in ids]
                students.append(
                    [branch.student_head(token[None])[0].tolist() for token in tokens]
                )
        assert row == len(self.draws["image"])
        return self.dino(branch, students, teachers)

    def pairs(self) -> tuple[list[list[float]], list[list[float]]]:
        method, views, tubelet = self.method, self.config.video_views + 1, self.method.tubelet
        ours, theirs = [], []
        for clip, one in enumerate(self.video):
            ids, seen = self.draws["video"][clip * views], self.seen(clip)
            _, visible = alone(method.video.student, one, ids)
            decoded = method.decoder(visible[None], ids[None], self.grid, seen[None])[
                0
            ].tolist()
            frames = []
            for frame in self.frames(clip):
                still = one[:, frame : frame + 1]
                tokens = alone(method.image.teacher, still, self.places(clip))[1].tolist()
                frames.append(
                    oracle.standardise(tokens) if self.config.standardised else tokens
                )
            if self.config.pairing == "released":
                rows = [seen.tolist().index(number) for number in ids.tolist()]
                left, right = oracle.released(decoded, frames, rows, tubelet)
            elif self.config.image_frames == "all":
                left, right = decoded, oracle.aligned(frames, tubelet)
            else:
                right = oracle.aligned(frames, 1)
                places = len(self.places(clip))
                starts = [frame // tubelet * places for frame in self.frames(clip)]
                left = [decoded[start + place] for start in starts for place in range(places)]
            ours, theirs = ours + left, theirs + right
        return ours, theirs

    def cluster_loss(self) -> float:
        config, method = self.config, self.method
        video, image = self.pairs()
        own = method.prototypes.tolist()
        separate = method.image_prototypes
        others = own if separate is None else separate.tolist()
        how: dict[str, Any] = {
            "temperature": config.cluster_temperature,
            "sharpness": config.cluster_sharpness,
            "rounds": config.cluster_rounds,
            "hard": config.targets == "hard",
        }
        forth = oracle.clusters(video, image, (own, others), **how)
        return forth + oracle.clusters(image, video, (others, own), **how)


@pytest.mark.parametrize("sector", [False, True], ids=["everything", "sector"])
def test_a_step_equals_its_equations(
    options: dict[str, Any], sector: bool, make_method: MakeMethod, make_blobs: MakeBlobs
) -> None:
    method, video = moved(make_method("discovr", **options)), make_blobs(2, 1)
    draws = method.draw(2, (2, 4, 4), seeded(), PLACES if sector else None)
    with torch.no_grad():
        output, slow = method(video, draws), SlowStep(method, video, draws)
        expected = {
            "video": slow.video_loss(),
            "image": slow.image_loss(),
            "cluster": slow.cluster_loss(),
        }
    for name, value in expected.items():
        assert output.metrics[name].item() == pytest.approx(value, rel=2e-5), name
    frames = sum(len(slow.frames(clip)) for clip in range(2))
    if options == RELEASED:
        expected["image"] *= 256 / frames
    koleo = 0.1 * output.metrics["koleo"].item() if "koleo_weight" in options else 0.0
    assert output.loss.item() == pytest.approx(sum(expected.values()) + koleo, rel=2e-5)


def test_nothing_outside_the_sector_matters(
    options: dict[str, Any], make_method: MakeMethod, make_blobs: MakeBlobs
) -> None:
    method, video = make_method("discovr", **options), make_blobs(2, 1)
    draws = method.draw(2, (2, 4, 4), seeded(), PLACES)
    outside = torch.ones(2, 16).scatter(1, PLACES, 0).reshape(2, 1, 1, 4, 4)
    pixels = outside.repeat_interleave(8, 3).repeat_interleave(8, 4)
    with torch.no_grad():
        here = method(video, draws)
        there = method(video + 100 * pixels, draws)
    assert_close(there.loss, here.loss)


def test_a_sector_of_everything_changes_nothing(
    options: dict[str, Any], make_method: MakeMethod, make_blobs: MakeBlobs
) -> None:
    method, video = make_method("discovr", **options), make_blobs(2, 1)
    everything = torch.arange(16).expand(2, -1)
    with torch.no_grad():
        whole = method.step(video, seeded(), everything)
        assert_close(method.step(video, seeded()).loss, whole.loss)


def test_a_subset_sees_other_frames_of_other_tubelets_each_time(
    make_method: MakeMethod,
) -> None:
    method = make_method("discovr", image_frames="subset", image_subset=3)
    frames = method.draw(500, (5, 4, 4), seeded())["frames"]
    assert frames.shape == (500, 3)
    assert (frames // 2).diff(dim=1).min() > 0  # no tubelet twice, in order
    share = torch.bincount(frames.flatten(), minlength=10) / 500
    assert_close(share, torch.full((10,), 0.3), atol=0.07, rtol=0)
    assert method.draw(2, (2, 4, 4), seeded())["frames"].shape == (2, 2)  # there are but two


def trained_by(method: DISCOVR, video: Tensor) -> set[str]:
    """Return the names of the parts that a method's loss trains."""
    method.step(video, seeded()).loss.backward()
    reached = {
        name
        for name, p in method.named_parameters()
        if p.grad is not None and p.grad.abs().sum() > 0
    }
    return {".".join(name.split(".")[:2]).removesuffix(".weight") for name in reached}


def test_gradient_reaches_all_that_is_trained_with_every_option(
    options: dict[str, Any], make_method: MakeMethod, make_blobs: MakeBlobs
) -> None:
    method = make_method("discovr", **options)
    method.step(make_blobs(4, 1), seeded()).loss.backward()
    for name, parameter in method.named_parameters():
        got = parameter.grad is not None and parameter.grad.abs().sum() > 0
        assert bool(got) == parameter.requires_grad, name


def test_clusters_train_video_student_decoder_and_prototypes_only(
    options: dict[str, Any], make_method: MakeMethod, make_blobs: MakeBlobs
) -> None:
    only = {"video_weight": 0.0, "image_weight": 0.0}
    method = make_method("discovr", **{**options, **only, "koleo_weight": 0.0})
    reached = trained_by(method, make_blobs(4, 1))
    prototypes = {name for name in reached if "prototypes" in name}
    assert {name.split(".")[0] for name in reached - prototypes} == {"video", "decoder"}
    assert not any(name.startswith("video.student_head") for name in reached)
    separate = options.get("separate_prototypes", False)
    assert prototypes == {"prototypes", *(["image_prototypes"] if separate else [])}


def test_the_second_loss_of_clusters_trains_prototypes_alone(
    make_method: MakeMethod, generator: torch.Generator
) -> None:
    method = make_method("discovr")
    video, image = (torch.randn(2, 6, 48, generator=generator) for _ in range(2))
    video.requires_grad_()
    _, back, _ = method.cluster_losses(video, image)
    assert method.prototypes.grad is None
    back.backward()
    assert video.grad is None
    assert method.prototypes.grad is not None
    assert method.prototypes.grad.abs().sum() > 0


@pytest.mark.parametrize("branch", ["video", "image"])
def test_each_branch_learns_from_its_own_distillation_only(
    branch: str, make_method: MakeMethod, make_blobs: MakeBlobs
) -> None:
    other = "image" if branch == "video" else "video"
    weights: dict[str, Any] = {f"{other}_weight": 0.0, "cluster_weight": 0.0}
    reached = trained_by(make_method("discovr", **weights), make_blobs(4, 1))
    assert {name.split(".")[0] for name in reached} == {branch}


def test_centre_starts_at_the_first_batch_and_then_follows_slowly(
    make_method: MakeMethod, make_blobs: MakeBlobs
) -> None:
    method, video = make_method("discovr", centre_momentum=0.9), make_blobs(4, 1)
    logits, _ = method.video.teach(video)
    state = method.step(video, seeded()).state
    assert_close(state["video"], logits.mean(dim=0))
    method.after_step(0.1, state)
    assert_close(method.video.centre, logits.mean(dim=0))
    second = {name: torch.randn(64) for name in state}
    method.after_step(0.2, second)
    assert_close(method.video.centre, 0.9 * logits.mean(dim=0) + 0.1 * second["video"])


def test_teacher_temperature_rises_then_stays(make_method: MakeMethod) -> None:
    method = make_method("discovr", teacher_warmup=0.2)
    state = {"video": torch.zeros(64), "image": torch.zeros(64)}
    temperatures = []
    for progress in (0.1, 0.2, 0.9):
        method.after_step(progress, state)
        temperatures.append(method.video.temperature.item())
    assert temperatures == pytest.approx([0.055, 0.07, 0.07])


def test_prototypes_stay_of_length_one(make_method: MakeMethod) -> None:
    method = make_method("discovr", separate_prototypes=True)
    assert method.image_prototypes is not None
    both = (method.prototypes, method.image_prototypes)
    for prototypes in both:
        assert_close(prototypes.norm(dim=1), torch.ones(16))
        prototypes.data *= 1 + torch.rand(16, 1)
    method.after_step(0.1, {"video": torch.zeros(64), "image": torch.zeros(64)})
    for prototypes in both:
        assert_close(prototypes.norm(dim=1), torch.ones(16))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fidelity": "release"}, "image_frames all|targets hard"),
        ({"pairing": "released", "image_frames": "one"}, "needs all frames"),
        ({"mask_ratio": 1.0}, "between 0 and 1"),
        ({"image_subset": 0}, "1 or more"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Config(**changes)
