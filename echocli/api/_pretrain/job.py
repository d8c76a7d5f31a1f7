"""What a pretraining run trains, on what, where."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.optim import Optimizer

from echocli.api._pretrain.clock import Clock
from echocli.api._pretrain.feed import Fed, Feed
from echocli.api._pretrain.settings import Settings
from echocli.api._pretrain.stages import Stage
from echocli.api._sector import grid_of, share_to_train
from echocli.clips.batches import Batch, Batches
from echocli.clips.readers import usual_readers
from echocli.clips.store import ClipSet
from echocli.clips.windows import to_video
from echocli.console import SILENT, Reporter
from echocli.device import Device, keep_compiled, keep_freed_memory
from echocli.distributed import ONE, Ranks
from echocli.errors import EchoError
from echocli.models.methods.base import Method, load
from echocli.models.optim import OptimConfig, build_optimizer
from echocli.models.sector import Scan
from echocli.models.shapes import Grid, Video
from echocli.models.spreading import gathered, load_whole, shard
from echocli.models.training import StepRecord, train
from echocli.models.vit import VisionTransformer

GENTLER = 1 / 3
"""Share of the learning rate that is left each time a run goes back to an earlier state."""
SHARDED_FROM = 250_000_000
"""Trained numbers from which on several GPUs hold shares of them: ViT-L has 304 million."""


@dataclass
class Job:
    """What a run trains, on what, where.

    A stage begins as a run goes on: with a method built for its input, and the state of the
    one before.
    """

    settings: Settings
    clips: ClipSet
    device: Device
    readers: int = field(default_factory=usual_readers)
    """Threads that read clips ahead; what is computed does not depend on them."""
    reporter: Reporter = SILENT
    """Who is told how clips are read."""
    ranks: Ranks = ONE
    """This process among those that take the steps together."""
    stages: list[tuple[Stage, Batches]] = field(init=False)
    """Each with its clips: a longer window leaves out more of them."""
    at: int = field(init=False, default=0)
    """The stage that ``method`` is built for."""
    method: Method = field(init=False)
    optimizer: Optimizer = field(init=False)
    retry: int = field(init=False, default=0)
    """How often the run has gone back to an earlier state, to go on more gently."""
    sharded: bool = field(init=False, default=False)
    """Whether each process holds a share of the weights only."""

    def __post_init__(self) -> None:
        if self.settings.compiled and shutil.which(os.environ.get("CXX", "c++")) is None:
            raise EchoError(
                "Compiling steps needs a C++ compiler, and none is on the path.",
                "Install one, such as g++ or clang, or --set compiled=false.",
            )
        if self.settings.compiled:
            keep_compiled()
        keep_freed_memory()
        seed, short = self.settings.seed, self.settings.feed.short
        self.stages = [
            (stage, Batches(self.clips, stage.data, stage.batch, seed, short))
            for stage in self.settings.course
        ]
        for stage, _ in self.stages:
            self.ranks.check_shares(stage.batch, self.settings.optim.parts)
        self.build()

    @property
    def stage(self) -> Stage:
        """The stage that ``method`` is built for."""
        return self.stages[self.at][0]

    @property
    def optim(self) -> OptimConfig:
        """How to optimise, more gently after every time that the run has gone back."""
        optim, share = self.settings.optim, GENTLER**self.retry
        rates = {name: getattr(optim, name) * share for name in ("lr", "start_lr", "min_lr")}
        return replace(optim, **rates)

    @property
    def batches(self) -> Batches:
        """Where the windows of this stage come from."""
        return self.stages[self.at][1]

    def build(self) -> None:
        """Make method and optimiser, for the input of the stage, with fresh weights."""
        settings = self.settings
        generator = torch.Generator().manual_seed(settings.seed)
        vit = settings.encoder.vit(self.stage.data)
        built = load(settings.method).build(vit, settings.method_config, generator)
        self.method = built.to(self.device.torch)
        if self.sharded:
            shard(self.method, self.ranks.team)
        self.optimizer = build_optimizer(self.method, settings.optim)

    def share_out(self) -> None:
        """Let each process hold a share of the weights, if they are many or it is wished.

        All processes must do so at once, and have the same weights.
        """
        trained = sum(p.numel() for p in self.method.parameters() if p.requires_grad)
        wish = self.settings.sharded
        many = trained >= SHARDED_FROM and self.device.torch.type == "cuda"
        many = many and not self.settings.compiled
        if self.ranks.size > 1 and (many if wish is None else wish):
            state = self.state(0)
            self.sharded = True
            shard(self.method, self.ranks.team)
            self.optimizer = build_optimizer(self.method, self.settings.optim)
            self.load(state)

    def exported(self) -> VisionTransformer:
        """Return the network to use after training, whole; all processes must ask at once."""
        encoder = self.method.export_encoder()
        if not self.sharded:
            return encoder
        whole = VisionTransformer(encoder.config, None)
        whole.load_state_dict(gathered(encoder.state_dict()), assign=True)
        return whole.requires_grad_(False)

    def enter(self, at: int) -> None:
        """Go to a stage with the weights, teachers and moments as they are."""
        if at != self.at:
            state = self.state(self.stages[at][0].first)
            self.at = at
            self.build()
            self.load(state)

    def load(self, state: dict[str, Any]) -> None:
        """Give method and optimiser a state."""
        load_whole(self.method, self.optimizer, state)

    @property
    def rows(self) -> list[int]:
        """Rows of the clip set that any stage uses."""
        return sorted({row for _, batches in self.stages for row in batches.rows})

    @property
    def patients(self) -> int:
        """How many patients these are."""
        return int(self.clips.manifest["patient_id"].iloc[self.rows].nunique())

    @property
    def grid(self) -> Grid:
        """Tubelets of a window of this stage."""
        return grid_of(self.method.encoder, self.stage.data)

    @property
    def share(self) -> float | None:
        """Of the grid's columns, what the method sees in this stage; ``None`` if it is all."""
        return share_to_train(self.clips, self.batches.rows, self.stage.data, self.grid)

    @property
    def tokens(self) -> int:
        """Tokens of a window that the method sees in this stage."""
        frames, height, width = self.grid
        return frames * math.ceil(height * width * (self.share or 1.0))

    def state(self, step: int) -> dict[str, Any]:
        """Return all that a run needs to go on after so many steps.

        Order, windows, masks and augmentation follow from the seed and the step. It is whole,
        however many processes hold shares of it; all of them must ask at once.
        """
        return {
            "step": step,
            "retry": self.retry,
            "method": gathered(self.method.state_dict()),
            "optimizer": gathered(self.optimizer.state_dict()),
        }

    def restore(self, state: dict[str, Any]) -> int:
        """Go back to a state; return the steps that are done."""
        done = int(state["step"])
        self.retry = int(state.get("retry", 0))
        self.enter(sum(stage.end < done for stage, _ in self.stages))
        self.load(state)
        return done

    def steps(self, start: int, clock: Clock, until: int | None = None) -> Iterator[StepRecord]:
        """Train from a step on and yield the record of each."""
        settings = self.settings
        stop = settings.optim.steps if until is None else until
        for at, (stage, _) in enumerate(self.stages):
            first, end = max(start, stage.first), min(stop, stage.end)
            if first >= end:
                continue
            self.enter(at)
            share = self.share
            yield from train(
                self.method,
                self.inputs(first, end, clock, sectors=share is not None),
                self.optim,
                torch.Generator().manual_seed(settings.seed),
                start=first,
                optimizer=self.optimizer,
                augmentation=settings.augment,
                precision=self.device.precision,
                share=share or 1.0,
                compiled=settings.compiled,
                team=self.ranks.team,
            )

    def inputs(
        self, first: int, end: int, clock: Clock, *, sectors: bool
    ) -> Iterator[Video | Scan]:
        """Yield what the network sees in some steps of the stage, with or without sectors."""
        feed = Feed(
            self.batches,
            self.device.torch,
            self.readers,
            sectors=sectors,
            rank=self.ranks.rank,
            ranks=self.ranks.size,
            reporter=self.reporter,
        )
        for fed in clock.waiting(feed.stream(first, end), self.device.torch):
            video = self.to_device(fed)
            yield video if fed.sectors is None else Scan(video, fed.sectors)

    def to_device(self, batch: Batch | Fed) -> Video:
        """Send pixels to the device as bytes, if they are not there, and normalise them."""
        return to_video(
            torch.as_tensor(batch.pixels, device=self.device.torch), self.stage.data
        )
