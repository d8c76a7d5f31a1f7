"""What frozen features of an encoder are worth on patients that nothing was fitted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from learning_clips import labelled_windows, open_split, places_of, window
from numpy.typing import NDArray
from torch import Tensor, nn

from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet
from echocli.clips.windows import to_video
from echocli.models.health import health
from echocli.models.layers import cut_patches
from echocli.models.masking import tokens_at
from echocli.models.pooling import pool
from echocli.models.shapes import Grid, Places
from echocli.models.tasks.anomaly import NearestNormals
from echocli.models.tasks.lvef import AttentiveProbe, RidgeProbe
from echocli.models.tasks.segmentation import LinearSegmenter
from echocli.models.vit import VisionTransformer, ViTConfig
from echocli.statistics.agreement import mae
from echocli.statistics.bootstrap import Interval, Metric, bootstrap_intervals, divide
from echocli.statistics.classification import auroc
from echocli.statistics.overlap import overlaps

STARTS = (0.0, 0.5, 1.0)
"""Windows of a clip: their features, predictions and scores are averaged."""
FIGURES = ("ridge", "attentive", "anomaly", "whitened", "dice")
STRUCTURES = ("lv_cavity", "lv_myocardium", "left_atrium")
SEED = 0
"""Of the probes, their folds, and the bootstrap."""
AT_ONCE = 64
"""Windows that are encoded together."""
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What one encoder said of every judged patient; saved, so that any two can be compared."""

    ridge: Values
    """Predicted ejection fraction, ridge probe."""
    attentive: Values
    """The same, attentive probe."""
    anomaly: Values
    """Cosine distance to the nearest normals; nothing is fitted on any abnormal patient."""
    whitened: Values
    """The same in the whitened main directions of the normals."""
    dice: Values
    """Mean over structures and the two labelled frames, linear head."""
    rank: float
    """Effective rank of the judged patients' embeddings."""

    def save(self, path: Path) -> None:
        """Write to a file."""
        np.savez(path, **vars(self))

    @classmethod
    def read(cls, path: Path) -> Outcome:
        """Read from a file."""
        with np.load(path) as file:
            return cls(**{name: file[name] for name in file.files})


class Frames(NamedTuple):
    """Labelled frames as a linear head sees them."""

    tokens: Tensor
    """Of the tubelet that a frame stands in, ``(frames, rows, columns, dim)``; NaN outside."""
    slots: Tensor
    """Place of the frame in its tubelet."""
    masks: Tensor
    clips: Tensor
    """Which clip each is of."""

    def of(self, clips: Tensor) -> Frames:
        """Return the frames of some clips."""
        chosen = torch.isin(self.clips, clips)
        return Frames(*(part[chosen] for part in self))


class FrameByFrame(nn.Module):
    """An image encoder that is asked as a video encoder is: the first frame of each tubelet.

    Args:
        images: The encoder of single frames.
        tubelet: Frames of a tubelet, and its height and width.
    """

    def __init__(self, images: VisionTransformer, tubelet: tuple[int, int, int]) -> None:
        super().__init__()
        self.images, self.tubelet = images, tubelet

    def grid(self, shape: Sequence[int]) -> Grid:
        """Return the grid of clips of a shape."""
        times, height, width = (a // b for a, b in zip(shape[-3:], self.tubelet, strict=True))
        return times, height, width

    def forward(self, video: Tensor, keep: Tensor) -> Tensor:
        """Return the tokens of clips in the order of their ids: all times, the same places."""
        frames = video[:, :, :: self.tubelet[0]]
        clips, times = len(video), frames.shape[2]
        places = keep[:, : keep.shape[1] // times].repeat_interleave(times, dim=0)
        tokens: Tensor = self.images(frames.transpose(1, 2).flatten(0, 1)[:, :, None], places)
        return tokens.reshape(clips, keep.shape[1], -1)


Encoder = VisionTransformer | FrameByFrame


class Judge:
    """The patients that probes are fitted on, and those that judge.

    Args:
        folder: The clip set.
        split: Who judges: ``dev`` while choosing, ``test`` at the end.
        data: The input contract.
        shape: Of the encoders.
        labelled: Patients of ``train`` whose labels may be used.
        judges: Patients who judge; all if left out.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        data: DataConfig,
        shape: ViTConfig,
        labelled: int,
        judges: int | None = None,
    ) -> None:
        self.split, self.data, self.grid, self.shape = split, data, shape.grid, shape
        self.known = open_split(folder, "train", data, labelled)
        self.judges = open_split(folder, split, data, judges)
        self.places = dict(
            zip(("known", "judges"), places_of(self.both, data, self.grid), strict=True)
        )

    @property
    def both(self) -> tuple[ClipSet, ClipSet]:
        """Clips to fit on, and clips to judge."""
        return self.known, self.judges

    def __call__(self, encoder: Encoder, *, attentive: bool = True) -> Outcome:
        """Fit every probe on the encoder's frozen features and apply it to the judges."""
        known, judges = self.tokens(encoder)
        fraction = torch.tensor(self.known.manifest["ef_percent"].to_numpy(np.float32))
        normal = torch.tensor(self.known.manifest["normal"].to_numpy(bool))
        each = torch.arange(len(fraction))
        x, y = (embed(tokens, self.grid) for tokens in (known, judges))
        ridge = RidgeProbe().fit(x, fraction, each, seeded())
        said = np.full(len(y), np.nan)
        if attentive:
            probe = AttentiveProbe(self.shape.heads).fit(known, fraction, each, seeded())
            said = probe.predict(judges).double().numpy()
        return Outcome(
            ridge=ridge.predict(y).double().numpy(),
            attentive=said,
            anomaly=anomaly(x[normal], y).double().numpy(),
            whitened=whitened_anomaly(x[normal], y).double().numpy(),
            dice=self.dice(*self.frames(encoder), seeded()),
            rank=health(y).effective_rank,
        )

    def tokens(self, encoder: Encoder) -> tuple[Tensor, Tensor]:
        """Return tokens of the windows of all known clips, and of those to be judged."""
        encoder = encoder.eval()
        known, judges = (
            encode(encoder, windows_of(clips, self.data), self.places[name], self.data)
            for name, clips in zip(("known", "judges"), self.both, strict=True)
        )
        return known, judges

    def frames(self, encoder: Encoder) -> tuple[Frames, Frames]:
        """Return the labelled frames of all known clips, and of those to be judged."""
        encoder = encoder.eval()
        known = self.frames_of(encoder, self.known, "known")
        return known, self.frames_of(encoder, self.judges, "judges")

    def dice(self, known: Frames, asked: Frames, generator: torch.Generator) -> Values:
        """Fit the linear head on known frames; return the mean Dice of every judge."""
        head = LinearSegmenter(self.shape.tubelet)
        head.fit(known.tokens, known.slots, known.masks, generator)
        every = head.predict(asked.tokens[:, None])
        maps = every[torch.arange(len(asked.slots)), asked.slots]
        return self.dice_of(maps, asked.masks, asked.clips.numpy())

    def dice_of(self, maps: Tensor, masks: Tensor, clips: NDArray[np.intp]) -> Values:
        """Return the mean Dice of every judge, NaN without a labelled frame."""
        values = [
            np.nanmean([overlaps(a.numpy(), b.numpy())[name][0] for name in STRUCTURES])
            for a, b in zip(maps, masks, strict=True)
        ]
        total = np.bincount(clips, values, len(self.judges))
        count = np.bincount(clips, minlength=len(self.judges))
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def frames_of(self, encoder: Encoder, clips: ClipSet, name: str) -> Frames:
        """Return the labelled frames of some clips."""
        found = labelled_windows(clips, self.data)
        rows = torch.tensor([one.clip for one in found])
        places = self.places[name][rows]
        step = self.shape.tubelet[0]
        times_, height, width = self.grid
        cut = [np.asarray(clips.frames(one.clip)[one.indices])[None] for one in found]
        seen = encode(encoder, cut, places, self.data)[:, 0].unflatten(1, (times_, -1))
        positions = torch.tensor([one.position for one in found])
        chosen = seen[torch.arange(len(positions)), positions // step].float()
        # Columns outside the sector have no token; the head calls them background.
        tokens = torch.full((len(positions), height * width, chosen.shape[-1]), torch.nan)
        tokens.scatter_(1, places[..., None].expand_as(chosen), chosen)
        tokens = tokens.unflatten(1, (height, width))
        masks = torch.stack([one.mask for one in found]).long()
        return Frames(tokens, positions % step, masks, rows)


def seeded() -> torch.Generator:
    """Return the probes' source of randomness."""
    return torch.Generator().manual_seed(SEED)


def windows_of(clips: ClipSet, data: DataConfig) -> list[NDArray[np.uint8]]:
    """Return the windows of every clip."""
    return [
        np.stack([window(clips, row, data, start) for start in STARTS])
        for row in range(len(clips))
    ]


@torch.no_grad()
def encode(
    encoder: Encoder,
    cut: list[NDArray[np.uint8]],
    places: Places,
    data: DataConfig,
) -> Tensor:
    """Return the tokens of the sector, ``(clips, windows, tokens, dim)`` in float16."""
    found = []
    per_clip = len(cut[0])
    step = max(1, AT_ONCE // per_clip)
    for first in range(0, len(cut), step):
        pixels = torch.from_numpy(np.concatenate(cut[first : first + step]))
        video = to_video(pixels, data)
        ids = tokens_at(places[first : first + step], encoder.grid(video.shape))
        with torch.autocast("cpu", torch.bfloat16):
            tokens = encoder(video, ids.repeat_interleave(per_clip, dim=0))
        found.append(tokens.half().unflatten(0, (-1, per_clip)))
    return torch.cat(found)


def embed(tokens: Tensor, grid: Grid) -> Tensor:
    """Return one vector a clip: mean and standard deviation over time, as ``embed`` pools."""
    clips, per_clip = tokens.shape[:2]
    rows = [pool(part.flatten(0, 1).float(), grid, "mean_std") for part in tokens.split(64)]
    return torch.cat(rows).unflatten(0, (clips, per_clip)).mean(dim=1)


def anomaly(normals: Tensor, queries: Tensor) -> Tensor:
    """Return the mean cosine distance to the 10 nearest normals, as ``score`` has it."""
    return NearestNormals().fit(normals).score(queries)


def whitened_anomaly(normals: Tensor, queries: Tensor) -> Tensor:
    """Return the mean distance to the 10 nearest normals in their main directions.

    The 16 directions in which normal clips differ most, each with the same spread: gain and
    depth weigh no more than what is left of the heart.
    """
    centre, spread = normals.mean(dim=0), normals.std(dim=0).clamp(min=1e-6)
    bank, asked = (normals - centre) / spread, (queries - centre) / spread
    _, lengths, directions = torch.linalg.svd(bank, full_matrices=False)
    main = directions[:16].T / lengths[:16] * len(bank) ** 0.5
    distances = torch.cdist(asked @ main, bank @ main)
    return distances.topk(10, largest=False).values.mean(dim=1)


def pixel_features(judge: Judge) -> tuple[Tensor, Tensor]:
    """Return a vector of plain pixels of every known patient, and of every judge.

    Mean and standard deviation over time of the grey of every column of the grid: place by
    place, not pooled over all.
    """
    tubelet = judge.shape.tubelet
    rows = []
    for clips in judge.both:
        found = []
        for cut in windows_of(clips, judge.data):
            patches = cut_patches(to_video(torch.from_numpy(cut), judge.data), tubelet)
            grey = patches.mean(dim=2).unflatten(1, (judge.grid[0], -1))
            found.append(torch.cat([grey.mean(dim=1), grey.std(dim=1)], dim=1).mean(dim=0))
        rows.append(torch.stack(found))
    return rows[0], rows[1]


def pixel_outcome(judge: Judge) -> Outcome:
    """Judge plain pixels as if an encoder had made them."""
    x, y = pixel_features(judge)
    fraction = torch.tensor(judge.known.manifest["ef_percent"].to_numpy(np.float32))
    normal = torch.tensor(judge.known.manifest["normal"].to_numpy(bool))
    ridge = RidgeProbe().fit(x, fraction, torch.arange(len(fraction)), seeded())
    return Outcome(
        ridge=ridge.predict(y).double().numpy(),
        attentive=np.full(len(y), np.nan),
        anomaly=anomaly(x[normal], y).double().numpy(),
        whitened=whitened_anomaly(x[normal], y).double().numpy(),
        dice=np.full(len(y), np.nan),
        rank=health(y).effective_rank,
    )


@dataclass(frozen=True)
class Comparison:
    """Figures of an encoder, and how they differ from those of another one."""

    figures: Mapping[str, Interval]
    differences: Mapping[str, Interval]
    """Paired: both of the same drawn patients. Empty without the other one."""


def compare(judge: Judge, ours: Sequence[Outcome], base: Sequence[Outcome]) -> Comparison:
    """Return 95 % intervals from drawing patients, and paired ones of the difference.

    Args:
        judge: Who judged.
        ours: Of one encoder, or of one recipe from several seeds: figures are means over them.
        base: Of what it is compared with; none, for no differences.
    """
    measured = judge.judges.manifest["ef_percent"].to_numpy(np.float64)
    abnormal = ~judge.judges.manifest["normal"].to_numpy(bool)
    metrics: dict[str, Metric] = {}
    for name in FIGURES:
        mine = [metric_of(name, one, measured, abnormal) for one in ours]
        theirs = [metric_of(name, one, measured, abnormal) for one in base]
        metrics[name] = partial(mean_of, mine)
        if base:
            metrics[f"-{name}"] = partial(difference_of, mine, theirs)
    patients = judge.judges.manifest["patient_id"].to_numpy()
    found = bootstrap_intervals(metrics, patients, seed=SEED)
    return Comparison(
        {name: found[name] for name in FIGURES},
        {name: found[f"-{name}"] for name in FIGURES if base},
    )


def metric_of(
    name: str, outcome: Outcome, measured: Values, abnormal: NDArray[np.bool_]
) -> Metric:
    """Return a figure as a function of patients' weights."""
    values = getattr(outcome, name)
    if name in ("anomaly", "whitened"):
        return lambda weights: auroc(abnormal, values, weights)
    if name == "dice":
        known = np.isfinite(values)
        return lambda weights: divide(
            weights @ np.where(known, values, 0.0), weights @ known.astype(np.float64)
        )
    return lambda weights: mae(measured, values, weights)


def mean_of(metrics: Sequence[Metric], weights: Values) -> Values:
    """Return the mean of some figures under the same weights."""
    return np.mean([metric(weights) for metric in metrics], axis=0)


def difference_of(ours: Sequence[Metric], base: Sequence[Metric], weights: Values) -> Values:
    """Return how much larger the first mean is."""
    return mean_of(ours, weights) - mean_of(base, weights)
