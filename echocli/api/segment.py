"""Segmentation from tokens: fit a head, label every frame, evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from echocli.api._audit import columns_to_divide_by
from echocli.api._encode import open_clips, open_set, prepare, readable
from echocli.api._finetune import TuneConfig as TuneConfig
from echocli.api._finetune import begin_with
from echocli.api._finetune import scratch_fit as scratch_fit
from echocli.api._finetune import tuning_fit as tuning_fit
from echocli.api._heads import (
    HeadFit,
    describe,
    left_out_of,
    roles_by_head,
    summarise,
    warn_of_seen,
    write_head,
)
from echocli.api._in_place import read_in_place
from echocli.api._output import refuse_to_replace_folder, whole_folder
from echocli.api._segment.against import figures_against, open_rival
from echocli.api._segment.ef import ef_from_masks, mean_ef
from echocli.api._segment.figures import ALWAYS, Tested, figures, flicker_figure
from echocli.api._segment.files import check_kinds
from echocli.api._segment.fits import SegmentConfig as SegmentConfig
from echocli.api._segment.fits import fit_head, least_of
from echocli.api._segment.labeller import Labeller, mean_map
from echocli.api._segment.load import TASK, open_head
from echocli.api._segment.output import open_output
from echocli.api._segment.rows import (
    counts_of,
    drawable,
    labelled_share,
    nothing_to_fit_on,
    tell_short,
    tell_untimed,
)
from echocli.api._segment.unet import UNet, blank_unet
from echocli.api._splits import splits_of
from echocli.checkpoint import LoadedModel, load_head
from echocli.console import SILENT, Reporter
from echocli.errors import EchoError
from echocli.files import sums_of, write_json
from echocli.statistics.bootstrap import DRAWS

SCHEMA = "echocli.segment/1"
OVERLAYS = 12


@dataclass(frozen=True)
class SegmentPredictions:
    """Label maps of every frame, and what was measured in them."""

    volumes: pd.DataFrame
    """The columns of ``volumes.csv``: a row a clip."""
    summary: dict[str, Any]
    """What ``segment.json`` holds."""
    out: Path | None
    left_out: list[dict[str, str]]
    """What got no result: clip_id (or source_id) and reason."""


@dataclass(frozen=True)
class SegmentEvaluation:
    """Figures on masks of patients that the head never saw."""

    summary: dict[str, Any]
    left_out: list[dict[str, str]]
    """What got no result: clip_id (or source_id) and reason."""


def fit(
    clips: Path,
    model: Path | None,
    out: Path,
    *,
    config: SegmentConfig | None = None,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    reporter: Reporter = SILENT,
) -> HeadFit:
    """Fit a head on labelled frames of training patients, encoder frozen or with it.

    Args:
        clips: Clip set with masks.
        model: Run or model folder; not needed by what starts from scratch.
        out: Folder of the head.
        config: Settings.
        overwrite: Replace the head that stands there.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters.

    Raises:
        EchoError: If no training patient has masks.
    """
    config = config or SegmentConfig()
    refuse_to_replace_folder(out, overwrite=overwrite)
    opened = open_set(clips, reporter)
    begun: LoadedModel | UNet
    if config.is_unet:
        begun = blank_unet(opened, out, config.seed)
    else:
        begun = begin_with(model, config.tune, opened, out, config.seed, reporter)
    place = prepare(device, precision, reporter)
    rows, left_out = readable(opened, least_of(begun, config))
    rows = [row for row in rows if opened.mask_frames(row)]
    splits = splits_of(opened.manifest)
    train = [row for row in rows if splits[row] == "train"]
    if not train:
        raise nothing_to_fit_on(opened, splits, left_out)
    train = labelled_share(opened, train, config)
    tell_short(opened, rows, begun.data, reporter)
    generator = torch.Generator().manual_seed(config.seed)
    near = out.absolute().parent
    fitted = fit_head(begun, opened, train, config, generator, near, place, reporter)
    average = mean_map(fitted.masks)
    described = describe(
        TASK,
        begun,
        out,
        windows=config.windows,
        seed=config.seed,
        patients=opened.manifest["patient_id"],
        splits=splits,
    )
    head_config = {
        **described,
        **fitted.settings,
        "mean_ef_percent": mean_ef(opened, train),
        "label_fraction": config.label_fraction,
        "n": {
            "train": counts_of(opened, train),
            **{
                name: counts_of(opened, [row for row in rows if splits[row] == name])
                for name in ("val", "test")
            },
        },
    }
    test = [row for row in rows if splits[row] == "test"]
    labeller = Labeller(fitted.network, average, place)
    measured = labeller.tested(opened, test)
    head_config |= figures(opened, measured, seed=config.seed, draws=config.draws)
    tensors = {**fitted.network.state(), "mean_map": average}
    head_config = write_head(out, tensors, head_config, model=fitted.model, overwrite=overwrite)
    return HeadFit(out, head_config, left_out_of(opened, left_out, clips, reporter))


def predict(
    source: Path | Sequence[Path],
    head: Path,
    out: Path,
    *,
    model: Path | None = None,
    labels: Path | None = None,
    overlays: int = OVERLAYS,
    write: Sequence[str] = (),
    draws: int = DRAWS,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    reporter: Reporter = SILENT,
) -> SegmentPredictions:
    """Label every frame of every clip, and measure areas, volumes and ejection fraction.

    Args:
        source: Clip set, or files and folders to be read in place.
        head: Folder written by ``fit``.
        out: Folder of the masks, tables and pictures.
        model: The encoder; the one the head remembers if left out.
        labels: Table of labels, for sources that are no clip set.
        overlays: Pictures to draw at most.
        write: What masks are written as beside the clip set: ``nifti``, ``png``, ``mp4``.
        draws: Bootstrap samples of the figures, where masks are known.
        overwrite: Replace what stands at ``out``.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters.

    Raises:
        EchoError: If head and encoder do not belong together or no clip can be read.
    """
    check_kinds(write)
    refuse_to_replace_folder(out, overwrite=overwrite)
    labeller, head_config = open_head(head, model, device, precision, reporter)
    size = labeller.network.clip_size
    with (
        open_clips(source, size=size, labels=labels, reporter=reporter) as clips,
        whole_folder(out, overwrite=overwrite) as folder,
    ):
        rows, left_out = drawable(clips, labeller.network, source, reporter)
        roles = roles_by_head(clips.manifest["patient_id"], head_config["patients"])
        warn_of_seen(roles[rows], reporter)
        tested: list[Tested] = []
        with (
            open_output(folder, overlays, write, labeller.structures) as output,
            reporter.progress("segment", len(rows)) as done,
        ):
            for row in rows:
                maps = labeller.labels(clips, row)
                output.add(clips, row, maps, str(roles[row]))
                if roles[row] == "test" and clips.mask_frames(row):
                    tested += labeller.compare(clips, row, maps[list(clips.mask_frames(row))])
                done(1)
        tell_untimed(clips, rows, write, reporter)
        volumes = output.volume_table()
        how = {"seed": head_config["seed"], "draws": draws}
        summary = {
            **summarise(
                head,
                head_config,
                volumes["patient_id"].tolist(),
                left_out,
                in_place=read_in_place(clips, source),
            ),
            **figures(clips, tested, **how),
            "flicker": flicker_figure(volumes, **how),
            "ef_from_masks": ef_from_masks(volumes, head_config, draws),
        }
        sums = sums_of(folder, output.files())
        write_json(folder / "segment.json", {"schema": SCHEMA, "sha256": sums, **summary})
    return SegmentPredictions(volumes, summary, out, left_out)


def evaluate(
    source: Path | Sequence[Path],
    head: Path,
    *,
    by: Sequence[str] | None = None,
    against: Path | None = None,
    model: Path | None = None,
    labels: Path | None = None,
    draws: int = DRAWS,
    device: str = "auto",
    precision: str = "auto",
    reporter: Reporter = SILENT,
) -> SegmentEvaluation:
    """Return the figures on masks of patients that the head never saw; writes nothing.

    Args:
        source: Clip set with masks.
        head: Folder written by ``fit``.
        by: Columns whose parts are shown one by one beside views and phases; the usual ones
            if left out.
        against: Another head, to be compared with on the same frames.
        model: The encoder; the one the head remembers if left out.
        labels: Table of labels, for sources that are no clip set.
        draws: Bootstrap samples.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters.

    Raises:
        UsageError: If a column to divide by is unknown.
        EchoError: If no clip has masks and is of such a patient; with ``against``, if the
            other head has seen all of them.
    """
    place: dict[str, Any] = {"device": device, "precision": precision, "reporter": reporter}
    if against is not None:
        load_head(against, TASK)  # refused before clips are read
    labeller, head_config = open_head(head, model, **place)
    size = labeller.network.clip_size
    with open_clips(source, size=size, labels=labels, reporter=reporter) as clips:
        asked = None if by is None else [name for name in by if name not in ALWAYS]
        columns = columns_to_divide_by(clips.manifest, asked)
        rows, left_out = drawable(clips, labeller.network, source, reporter)
        roles = roles_by_head(clips.manifest["patient_id"], head_config["patients"])
        chosen = [row for row in rows if roles[row] == "test" and clips.mask_frames(row)]
        if not chosen:
            raise EchoError(
                f"None of the {len(rows)} clip(s) has masks and is of a patient that the head "
                "was not fitted on.",
                "Give clips with masks of other patients.",
            )
        how = {"seed": head_config["seed"], "draws": draws}
        rival = None if against is None else open_rival(against, clips, chosen, **place)
        measured = labeller.tested(clips, chosen)
        found = figures(clips, measured, columns, **how)
        if rival is not None:
            found["against"] = figures_against(clips, measured, rival, **how)
    summary = {"head": str(head), "model_sha256": head_config["model_sha256"], **found}
    return SegmentEvaluation({**summary, "left_out": left_out}, left_out)
