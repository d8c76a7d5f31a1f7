"""How a segmentation head is fitted: on frozen tokens, or with blocks of the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from echocli.api._finetune import (
    FEWEST,
    TuneConfig,
    sight_of,
    summary_of,
    train_whole,
    tuned_model,
)
from echocli.api._sector import grid_of
from echocli.api._segment.frames import CLASSES, crop_labels, one_tubelet
from echocli.api._segment.networks import Network, TokenNetwork
from echocli.api._segment.tokens import (
    LabelledFrame,
    encode_frames,
    encode_windows,
    frame_masks,
    labelled_frames,
)
from echocli.api._segment.unet import UNET, UNet, train_unet
from echocli.api._splits import check_fraction, patient_numbers
from echocli.api._tokens import token_file
from echocli.checkpoint import LoadedModel
from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.device import Device
from echocli.errors import EchoError, UsageError
from echocli.models.finetune import Example, FitConfig
from echocli.models.tasks.dense_segmentation import DenseSegmenter
from echocli.models.tasks.segmentation import (
    FrameSegmenter,
    LinearSegmenter,
    SegmentationConfig,
    mask_loss,
)
from echocli.statistics.bootstrap import DRAWS

LINEAR, DENSE = "linear", "dense"
PART = "part"
"""Setting ``short`` of heads that draw what short loops fill of a window; others leave them
out."""


@dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """How the head is fitted."""

    windows: int = 2
    """Windows a labelled frame, in which it stands half a window apart."""
    head: SegmentationConfig = field(default_factory=SegmentationConfig)
    """How a linear layer is fitted on frozen tokens."""
    probe: str = LINEAR
    """``linear``, or ``dense``: a dense attentive probe on a frozen encoder."""
    dense: FitConfig = field(default_factory=FitConfig)
    """How a dense probe is fitted."""
    tune: TuneConfig | None = None
    """How the encoder is trained with a linear layer; it stays frozen if left out. From
    scratch, ``unet`` in the place of a preset is a U-Net on single frames."""
    label_fraction: float = 1.0
    """Share of the training patients whose masks are used; a smaller share is part of a
    greater one."""
    seed: int = 0
    """Start of all random numbers."""
    draws: int = DRAWS
    """Bootstrap samples."""

    def __post_init__(self) -> None:
        if self.probe not in (LINEAR, DENSE):
            raise UsageError(f"There is no head {self.probe}.", f"Choose {LINEAR} or {DENSE}.")
        check_fraction(self.label_fraction)
        if self.probe == DENSE and self.tune is not None:
            raise UsageError(
                "A dense head is fitted on a frozen encoder.",
                "Leave --head out, or --from-scratch and --finetune-blocks.",
            )
        if self.is_unet and self.windows != SegmentConfig.windows:
            raise UsageError("--windows is not for a U-Net: it sees frames.", "Leave it out.")
        if self.is_unet and self.tune is not None and self.tune.fit.layer_decay != 1:
            raise UsageError("A U-Net has no blocks in a row.", "Leave --layer-decay out.")

    @property
    def is_unet(self) -> bool:
        """Whether a U-Net takes the place of encoder and head."""
        return self.tune is not None and self.tune.scratch == UNET


class Fitted(NamedTuple):
    """A fitted head."""

    network: Network
    masks: Tensor
    """What it was fitted on, at the model's size."""
    settings: dict[str, Any]
    """What describes it, for the head's config."""
    model: LoadedModel | None = None
    """The encoder, if it was trained with the head."""


def least_of(begun: LoadedModel | UNet, config: SegmentConfig) -> DataConfig:
    """Return what a loop must fill at least for a head to be fitted on it.

    An encoder that is trained looks at whole windows; one that stays frozen was made to leave
    tokens out.
    """
    if isinstance(begun, UNet) or config.tune is not None:
        return begun.data
    return one_tubelet(begun.data, begun.encoder.config.tubelet[0])


def fit_head(
    begun: LoadedModel | UNet,
    clips: ClipSet,
    rows: Sequence[int],
    config: SegmentConfig,
    generator: torch.Generator,
    near: Path,
    place: Device,
    reporter: Reporter,
) -> Fitted:
    """Fit the head that was asked for.

    Args:
        begun: The encoder, or the U-Net that takes its place.
        clips: The clips.
        rows: Those whose masks to fit on.
        config: How.
        generator: Start of all that is drawn.
        near: Folder that may hold large files meanwhile.
        place: Where to compute.
        reporter: Who watches.
    """
    how = (generator, place, reporter)
    if isinstance(begun, UNet):
        assert config.tune is not None
        return Fitted(begun, *train_unet(begun, clips, rows, config.tune, *how))
    part = config.tune is None
    frames = labelled_frames(begun, clips, rows, config.windows, generator, part=part)
    if config.tune is not None:
        return fit_end_to_end(begun, clips, frames, config.tune, *how)
    if config.probe == DENSE:
        return fit_dense(begun, clips, frames, config.dense, generator, near, *how[1:])
    return fit_on_frozen(begun, clips, frames, config.head, *how)


def fit_on_frozen(
    model: LoadedModel,
    clips: ClipSet,
    frames: Sequence[LabelledFrame],
    config: SegmentationConfig,
    generator: torch.Generator,
    place: Device,
    reporter: Reporter,
) -> Fitted:
    """Fit a linear layer on frozen tokens."""
    known = encode_frames(model, clips, frames, place, reporter)
    head = LinearSegmenter(model.encoder.config.tubelet, CLASSES, config)
    reporter.say(f"fitting a linear head on {len(frames)} views of labelled frames")
    head.fit(known.tokens, known.slots, known.masks, generator)
    settings = {"probe": LINEAR, "short": PART, "head": asdict(config)}
    return Fitted(TokenNetwork(model, head, part=True), known.masks, settings)


def fit_dense(
    model: LoadedModel,
    clips: ClipSet,
    frames: Sequence[LabelledFrame],
    config: FitConfig,
    generator: torch.Generator,
    near: Path,
    place: Device,
    reporter: Reporter,
) -> Fitted:
    """Fit a dense attentive probe on frozen tokens, kept in a file near to the head."""
    encoder = model.encoder.config
    patients = patient_numbers(clips.manifest["patient_id"])[[f.row for f in frames]]
    if len(set(patients.tolist())) < FEWEST:
        raise EchoError(
            f"{len(set(patients.tolist()))} patient(s) with masks are in the training split; "
            f"a dense head needs {FEWEST}, one of them held out.",
            "Label more patients, or use --head linear.",
        )
    masks = frame_masks(clips, frames, model.data).to(place.torch)
    positions = torch.tensor([f.position for f in frames], device=place.torch)
    times, slots = positions // encoder.tubelet[0], positions % encoder.tubelet[0]
    network = DenseSegmenter(
        encoder.dim, encoder.heads, encoder.tubelet, CLASSES, generator
    ).to(place.torch)
    network.begin_with(masks)
    shape = (len(frames), *grid_of(model.encoder, model.data), encoder.dim)
    remedy = "Free some space, give --windows 1, or use --head linear."
    what = f"{len(frames)} view(s) of labelled frames"
    with token_file(shape, what, near, remedy, reporter) as kept:
        for index, found in encode_windows(model, clips, frames, place, reporter):
            kept[index] = found.half().cpu().numpy()

        def look(rows: Tensor, _: torch.Generator | None) -> Example:
            given = torch.from_numpy(kept[rows.cpu().numpy()]).to(place.torch).float()
            return (given, times[rows], slots[rows]), masks[rows]

        reporter.say(f"fitting a dense attentive head on {what}")
        tune = TuneConfig(fit=config)
        trained = train_whole(
            network, look, mask_loss, patients, tune, generator, place, reporter
        )
    network.never_call(set(range(CLASSES)) - set(torch.unique(masks).tolist()))
    settings = {
        "probe": DENSE,
        "short": PART,
        "fit": asdict(config),
        "step": trained.best.step,
        "steps": trained.best.steps,
    }
    return Fitted(TokenNetwork(model, network, part=True), masks, settings)


def fit_end_to_end(
    model: LoadedModel,
    clips: ClipSet,
    frames: Sequence[LabelledFrame],
    tune: TuneConfig,
    generator: torch.Generator,
    place: Device,
    reporter: Reporter,
) -> Fitted:
    """Train some or all blocks of an encoder with a linear layer on its tokens."""
    sight = sight_of(model, clips, sorted({f.row for f in frames}), tune, place)
    network = FrameSegmenter(model.encoder, CLASSES, generator)
    masks = frame_masks(clips, frames, model.data).to(place.torch)
    positions = torch.tensor([f.position for f in frames], device=place.torch)

    def look(rows: Tensor, draw: torch.Generator | None) -> Example:
        chosen = [frames[index] for index in rows.tolist()]
        windows = [clips.frames(f.row)[f.indices] for f in chosen]
        seen = sight([f.row for f in chosen], windows, draw)
        wanted = masks[rows] if seen.boxes is None else crop_labels(masks[rows], seen.boxes)
        return (seen.video, positions[rows], seen.keep), wanted

    patients = patient_numbers(clips.manifest["patient_id"])[[f.row for f in frames]]
    reporter.say(f"training on {len(frames)} views of labelled frames")
    trained = train_whole(network, look, mask_loss, patients, tune, generator, place, reporter)
    network.head.never_call(set(range(CLASSES)) - set(torch.unique(masks).tolist()))
    settings = {"probe": LINEAR, "end_to_end": summary_of(tune, trained)}
    tuned = tuned_model(model, tune, trained)
    return Fitted(TokenNetwork(tuned, network.head), masks, settings, tuned)
