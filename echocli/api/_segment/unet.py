"""A U-Net on single frames, from MONAI: what labels teach a network that knows nothing else.

It is no part of echocli: a baseline is worth something when others keep it. Of the libraries
that have one, MONAI asks for PyTorch and NumPy alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from echocli.api._finetune import TuneConfig, summary_of, train_whole
from echocli.api._segment.frames import CLASSES, crop_labels
from echocli.api._segment.tokens import LabelledFrame, frame_masks
from echocli.api._splits import patient_numbers
from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet
from echocli.clips.windows import to_video
from echocli.config import Layer, resolve
from echocli.console import Reporter
from echocli.device import Device
from echocli.errors import EchoError, MachineError
from echocli.models.augment import augment, draw_changes
from echocli.models.finetune import Example
from echocli.models.tasks.segmentation import IMPOSSIBLE, mask_loss

UNET = "unet"
"""What it is called on the command line, in the place of a preset."""
LIBRARY = "monai"
FEATURES = (32, 32, 64, 128, 256, 32)
"""Channels of its five levels and of what it draws from: MONAI's own choice, 2.0 million
weights."""
STEPS_DOWN = 16
"""Its lowest level has this many times fewer rows and columns, and needs two of each."""


class FrameUNet(nn.Module):
    """A network from a frame to the classes of its pixels, and which of those can be.

    Args:
        network: Takes frames of one channel and returns a channel a class.
    """

    possible: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("possible", torch.ones(CLASSES, dtype=torch.bool))

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits, ``(frames, classes, size, size)``; frames have one channel."""
        logits: Tensor = self.network(frames)
        return logits.masked_fill(~self.possible[:, None, None], IMPOSSIBLE)


@dataclass(frozen=True)
class UNet:
    """A U-Net with what it expects to see: one frame, at the size at which clips are kept."""

    network: FrameUNet
    data: DataConfig
    folder: Path
    """Of its head, where it stands."""
    clip_size: int
    """Side at which sources must be read."""
    method: str = UNET
    sha256: str = ""
    """It is no encoder, whose features a head would read."""
    tubelet: None = None
    """Frames are all that it knows."""

    @property
    def least(self) -> DataConfig:
        """What a loop must fill at least: one frame."""
        return self.data

    def logits(
        self,
        clips: ClipSet,
        row: int,
        windows: Sequence[NDArray[np.intp]],
        place: Device,
    ) -> Tensor:
        """Return logits; see ``Network``."""
        frames = torch.from_numpy(clips.frames(row)[np.stack(windows)]).to(place.torch)
        network = self.network.to(place.torch)
        bf16 = place.precision == "bf16"
        with torch.inference_mode(), torch.autocast(place.torch.type, torch.bfloat16, bf16):
            logits: Tensor = network(to_video(frames, self.data)[:, :, 0])
        return logits.float()[:, None]

    def state(self) -> dict[str, Tensor]:
        """Return its weights."""
        return self.network.state_dict()


def blank_unet(clips: ClipSet, out: Path, seed: int) -> UNet:
    """Return a U-Net with random weights.

    Args:
        clips: What it will be trained on; their size is the one that it will see.
        out: Folder of its head.
        seed: Start of the weights.

    Raises:
        MachineError: If the library is missing.
    """
    kept = max(int(clips.manifest[name].max()) for name in ("height", "width"))
    least = max(2, -(-kept // STEPS_DOWN)) * STEPS_DOWN
    data = DataConfig(frames=1, stride=1, size=least, sector_tokens=False)
    with torch.random.fork_rng(devices=[]):  # the library draws from the global generator
        torch.manual_seed(seed)
        return UNet(FrameUNet(_from_library(FEATURES)), data, out, kept)


def load_unet(tensors: Mapping[str, Tensor], config: Mapping[str, Any], head: Path) -> UNet:
    """Return the U-Net of a head.

    Args:
        tensors: Its weights.
        config: Of the head.
        head: Folder of the head.

    Raises:
        MachineError: If the library is missing.
        EchoError: If the library's U-Net is no longer the one that was trained.
    """
    about = config[UNET]
    network = FrameUNet(_from_library(about["features"]))
    try:
        network.load_state_dict(tensors)
    except RuntimeError:
        raise EchoError(
            f"The U-Net in {head} was made with {LIBRARY} {about[LIBRARY]}; that of "
            f"{LIBRARY} {version(LIBRARY)} has other weights.",
            f"Run: pip install {LIBRARY}=={about[LIBRARY]}.",
        ) from None
    data = resolve(DataConfig(), [Layer("config.json", config["data"])]).value
    whole = network.eval().requires_grad_(False)
    return UNet(whole, data, head, about["clip_size"])


def train_unet(
    unet: UNet,
    clips: ClipSet,
    rows: Sequence[int],
    tune: TuneConfig,
    generator: torch.Generator,
    place: Device,
    reporter: Reporter,
) -> tuple[Tensor, dict[str, Any]]:
    """Train a U-Net on every labelled frame of some clips, varied as a trained encoder's are.

    Args:
        unet: Changed in place.
        clips: The clips.
        rows: Those to train on.
        tune: How.
        generator: Orders and varies the frames.
        place: Where to compute.
        reporter: Who watches.

    Returns:
        The masks that it was trained on, and what describes it for the head's config.

    Raises:
        EchoError: If there are too few patients, or the loss is never a number.
    """
    frames = [
        LabelledFrame(row, mask, np.array([frame]), 0)
        for row in rows
        for mask, frame in enumerate(clips.mask_frames(row))
    ]
    masks = frame_masks(clips, frames, unet.data).to(place.torch)
    network = unet.network.to(place.torch)

    def look(wanted: Tensor, draw: torch.Generator | None) -> Example:
        chosen = [frames[index] for index in wanted.tolist()]
        pixels = [torch.from_numpy(clips.frames(f.row)[f.indices])[None] for f in chosen]
        video = torch.cat([to_video(one.to(place.torch), unet.data) for one in pixels])
        if draw is None:
            return (video[:, :, 0],), masks[wanted]
        changes = draw_changes(len(video), tune.augment, draw)
        return (augment(video, changes)[:, :, 0],), crop_labels(masks[wanted], changes.boxes)

    patients = patient_numbers(clips.manifest["patient_id"])[[f.row for f in frames]]
    reporter.say(f"training a U-Net on {len(frames)} labelled frames")
    trained = train_whole(network, look, mask_loss, patients, tune, generator, place, reporter)
    network.possible[list(set(range(CLASSES)) - set(torch.unique(masks).tolist()))] = False
    about = {"features": FEATURES, "clip_size": unet.clip_size, LIBRARY: version(LIBRARY)}
    return masks, {"probe": UNET, UNET: about, "end_to_end": summary_of(tune, trained)}


def _from_library(features: Sequence[int]) -> nn.Module:
    if find_spec(LIBRARY) is None:
        raise MachineError(
            "A U-Net needs MONAI, which is not installed.", f"Run: pip install {LIBRARY}."
        )
    networks = importlib.import_module("monai.networks.nets")
    network: nn.Module = networks.BasicUNet(
        spatial_dims=2, in_channels=1, out_channels=CLASSES, features=tuple(features)
    )
    return network
