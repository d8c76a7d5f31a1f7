"""Encoders trained on labels from random weights: the row that pretraining is to beat.

One training a task, with the encoder, clips, windows and augmentation of the pretrainings; what
is said of a patient is the mean over the same windows that judge frozen features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from learning_clips import labelled_windows, window
from learning_figures import STARTS, Judge, Values
from torch import Tensor, nn

from echocli.api._finetune import SUPERVISED, Sight, scratch_fit
from echocli.api._pretrain.settings import Settings
from echocli.api._sector import share_to_train
from echocli.api._segment.frames import crop_labels
from echocli.checkpoint import LoadedModel
from echocli.clips.store import ClipSet
from echocli.models.augment import AugmentConfig
from echocli.models.finetune import Example, RowLoss, hold_out, train_on_labels
from echocli.models.readout import PooledReadout
from echocli.models.tasks.classification import balanced_weights, class_loss
from echocli.models.tasks.lvef import PooledRegressor, ef_loss
from echocli.models.tasks.segmentation import FrameSegmenter, mask_loss
from echocli.models.vit import VisionTransformer

POOL = "mean_std"
CLASSES = 4
FIT = scratch_fit()
"""As ``--from-scratch`` has it: 20 looks at every row, 600 steps of 16 at least."""


def see(settings: Settings, judge: Judge, clips: ClipSet, seed: int) -> Sight:
    """Return fresh weights, and how they look at some clips."""
    vit = settings.encoder.vit(settings.data)
    encoder = VisionTransformer(vit, torch.Generator().manual_seed(seed))
    model = LoadedModel(encoder, settings.data, SUPERVISED, "", {}, Path())
    share = share_to_train(judge.known, range(len(judge.known)), settings.data, judge.grid)
    return Sight(model, clips, share, settings.augment, torch.device("cpu"))


def train(
    network: nn.Module,
    look: Callable[[Tensor, torch.Generator | None], Example],
    loss: RowLoss,
    patients: Tensor,
    generator: torch.Generator,
) -> None:
    """Train until the patients held out say that nothing gets better."""
    held_out = hold_out(patients, FIT.held_out, generator)
    for check in train_on_labels(
        network, look, loss, held_out, FIT, generator, precision="bf16"
    ):
        if check.best:
            print(f"  {check.step}/{check.steps}: {check.held_out_loss:.3f}", flush=True)


def of_clips(settings: Settings, judge: Judge, task: str, chosen: Tensor, seed: int) -> Values:
    """Train on the chosen of the known patients; return what is said of every judge.

    Args:
        settings: Whose encoder, input and augmentation.
        judge: The patients.
        task: ``ef``, or ``abnormal``, whose answer is a logit.
        chosen: Rows of the known patients whose labels are used.
        seed: Of weights and training.
    """
    generator = torch.Generator().manual_seed(seed)
    sight = see(settings, judge, judge.known, seed)
    encoder = sight.model.encoder
    network: PooledReadout
    if task == "ef":
        labels = torch.tensor(judge.known.manifest["ef_percent"].to_numpy(np.float32))
        network = PooledRegressor(encoder, POOL, labels[chosen])
        centre, spread, loss = network.centre, network.spread, ef_loss
        wanted = (labels - centre) / spread
    else:
        wanted = torch.tensor(~judge.known.manifest["normal"].to_numpy(bool)).long()
        network = PooledReadout(encoder, POOL, 2)
        centre, spread = 0.0, 1.0
        loss = class_loss(balanced_weights(wanted[chosen], 2))

    def look(rows: Tensor, draw: torch.Generator | None) -> Example:
        starts = torch.full((len(rows),), 0.5)
        if draw is not None:
            starts = torch.rand(len(rows), generator=draw)
        clips = chosen[rows].tolist()
        cut = [
            window(judge.known, clip, settings.data, start)
            for clip, start in zip(clips, starts.tolist(), strict=True)
        ]
        seen = sight(clips, cut, draw)
        return (seen.video, seen.keep), wanted[chosen[rows]]

    train(network, look, loss, torch.arange(len(chosen)), generator)
    said = said_of(network, judge, sight)
    return (said[:, 1] - said[:, 0] if task == "abnormal" else said * spread + centre).numpy()


@torch.no_grad()
def said_of(network: nn.Module, judge: Judge, trained: Sight) -> Tensor:
    """Return the mean over a judge's windows of what a network says."""
    sight = Sight(trained.model, judge.judges, trained.share, AugmentConfig(), trained.device)
    found = []
    for rows in torch.arange(len(judge.judges)).split(16):
        of_windows = []
        for start in STARTS:
            cut = [window(judge.judges, row, judge.data, start) for row in rows.tolist()]
            seen = sight(rows.tolist(), cut, None)
            of_windows.append(network(seen.video, seen.keep).double())
        found.append(torch.stack(of_windows).mean(dim=0))
    return torch.cat(found)


def of_frames(settings: Settings, judge: Judge, chosen: Tensor, seed: int) -> Values:
    """Train on labelled frames of the chosen known patients; return every judge's Dice."""
    generator = torch.Generator().manual_seed(seed)
    sight = see(settings, judge, judge.known, seed)
    wanted = set(chosen.tolist())
    frames = [one for one in labelled_windows(judge.known, judge.data) if one.clip in wanted]
    masks = torch.stack([one.mask for one in frames])
    network = FrameSegmenter(sight.model.encoder, CLASSES, generator)

    def look(rows: Tensor, draw: torch.Generator | None) -> Example:
        some = [frames[row] for row in rows.tolist()]
        cut = [judge.known.frames(one.clip)[one.indices] for one in some]
        seen = sight([one.clip for one in some], cut, draw)
        true = masks[rows] if seen.boxes is None else crop_labels(masks[rows], seen.boxes)
        return (seen.video, torch.tensor([one.position for one in some]), seen.keep), true

    train(network, look, mask_loss, torch.tensor([one.clip for one in frames]), generator)
    return dice_of(network, judge, sight)


@torch.no_grad()
def dice_of(network: FrameSegmenter, judge: Judge, trained: Sight) -> Values:
    """Return the mean Dice of every judge."""
    sight = Sight(trained.model, judge.judges, trained.share, AugmentConfig(), trained.device)
    asked = labelled_windows(judge.judges, judge.data)
    maps = []
    for first in range(0, len(asked), 16):
        some = asked[first : first + 16]
        cut = [judge.judges.frames(one.clip)[one.indices] for one in some]
        seen = sight([one.clip for one in some], cut, None)
        positions = torch.tensor([one.position for one in some])
        maps.append(network(seen.video, positions, seen.keep).argmax(dim=1))
    return judge.dice_of(
        torch.cat(maps),
        torch.stack([one.mask for one in asked]),
        np.array([one.clip for one in asked]),
    )


TASKS: Mapping[str, Callable[[Settings, Judge, Tensor, int], Values]] = {
    "ef": lambda *given: of_clips(given[0], given[1], "ef", *given[2:]),
    "abnormal": lambda *given: of_clips(given[0], given[1], "abnormal", *given[2:]),
    "dice": of_frames,
}
"""From settings, patients, known rows and a seed to what is said of every judge."""
