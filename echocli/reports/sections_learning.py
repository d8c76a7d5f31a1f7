"""What was learnt: training curves, and where the clips lie in the embedding."""

from __future__ import annotations

import numpy as np
import pandas as pd

from echocli.reports import figures, lines
from echocli.reports.numbers import duration, number
from echocli.reports.page import (
    Html,
    Section,
    facts,
    figure,
    gallery,
    join,
    missing,
    paragraph,
    subtitle,
)
from echocli.reports.study_reader import Results, RunRecord

HEALTH = {
    "effective_rank": "effective rank (directions that the features fill)",
    "mean_cosine": "mean cosine of two clips (1: all alike)",
    "feature_std": "spread of the features (0: all alike)",
}
LOSS_CAPTION = (
    "The loss of self-supervised learning is a moving target: the teacher that sets the task "
    "learns too. A falling loss shows that training runs; it does not tell how good the "
    "features are, and a rising one need not be bad."
)
HEALTH_CAPTION = (
    "What to watch instead: if the features of different clips grow alike (rank near 1, cosine "
    "near 1, spread near 0), the encoder has collapsed and says nothing."
)
HASH_DIGITS = 16
SHORT_RUN_STEPS = 5_000
SHORT_RUN = (
    "Minutes of training from scratch do not make a good encoder: features usually get worse "
    "before they get better, and an untrained network can be a strong baseline. Read the "
    "figures below as a check that everything runs, not as what the method can do."
)


def training_section(results: Results) -> Section:
    """Show how each run went."""
    if not results.runs:
        body = missing("Nothing was pretrained here.", "echocli pretrain")
        return Section("training", "Pretraining", body)
    parts = [_run(run) for run in results.runs]
    if any(0 < len(run.metrics) < SHORT_RUN_STEPS for run in results.runs):
        parts.insert(0, paragraph(SHORT_RUN, "note"))
    return Section("training", "Pretraining", join(parts))


def _run(run: RunRecord) -> Html:
    config, metrics = run.config, run.metrics
    settings = config.get("settings", {})
    clips = config.get("clips", {})
    steps = settings.get("optim", {}).get("steps")
    rows = [
        ("method", settings.get("method")),
        ("preset", settings.get("preset")),
        ("steps", f"{len(metrics)} of {steps}"),
        ("clips", f"{clips.get('count')} of {clips.get('patients')} patients"),
        ("trained numbers", f"{config.get('parameters', 0):,}"),
        ("device", f"{config.get('device')}, {config.get('precision')}"),
    ]
    if "seconds" in metrics:
        rows.append(("time", duration(float(metrics["seconds"].sum()))))
    drawn = []
    if len(metrics) > 1:
        x, y = metrics["step"].to_numpy(np.float64), metrics["loss"].to_numpy(np.float64)
        picture = lines.line(x, y, "loss", f"loss of {run.name}")
        drawn.append(figure(picture, f"{LOSS_CAPTION} {lines.LEGEND}"))
    curves = {label: column for column, label in HEALTH.items() if column in metrics}
    seen = metrics.dropna(subset=list(curves.values())) if curves else metrics[:0]
    if len(seen) == 1:  # a curve of one point says less than its numbers
        rows += [(label, number(seen[name].iloc[0])) for label, name in curves.items()]
    elif len(seen):
        x = seen["step"].to_numpy(np.float64)
        values = {label: (x, seen[name].to_numpy(np.float64)) for label, name in curves.items()}
        picture = lines.panels(values, f"health of {run.name}")
        drawn.append(figure(picture, HEALTH_CAPTION))
    parts = [subtitle(f"Run {run.name}"), facts(rows), gallery(drawn)]
    if not run.has_model:
        resume = f"echocli pretrain --resume -o runs/{run.name}"
        parts.append(missing("This run has no model yet.", resume))
    return join(parts)


def embedding_section(results: Results) -> Section:
    """Show where the clips lie."""
    embeddings = results.embeddings
    if embeddings is None:
        body = missing("There are no embeddings.", "echocli embed")
        return Section("embeddings", "Embeddings", body)
    metadata, labels = embeddings.metadata, embeddings.table
    clips, dim = embeddings.vectors.shape
    rows = [
        ("clips", str(clips)),
        ("numbers a clip", str(dim)),
        ("pooling", str(metadata.get("pool", "-"))),
        ("SHA-256 of the model", str(metadata.get("model_sha256", "-"))[:HASH_DIGITS]),
    ]
    drawn: list[Html] = []
    if clips >= 3:
        points, shares = principal_directions(embeddings.vectors.astype(np.float64))
        drawn = _maps(labels, points, shares)
    caution = paragraph(
        "Each point is a clip. The map shows two of many directions: groups that overlap here "
        "may still be apart in the others, and nearness may come from the scanner or the frame "
        "rate rather than from the heart.",
        "muted",
    )
    return Section("embeddings", "Embeddings", join([facts(rows), gallery(drawn), caution]))


def _maps(labels: pd.DataFrame, points: figures.Values, shares: list[float]) -> list[Html]:
    drawn = []
    if "normal" in labels and labels["normal"].notna().any():
        known = labels["normal"].notna().to_numpy()
        normal = labels["normal"].fillna(False).astype(bool).to_numpy()
        groups = {"normal": known & normal, "abnormal": known & ~normal}
        if not known.all():
            groups["unknown"] = ~known
        picture = figures.embedding_map(points, shares, groups=groups, name="map-normal")
        drawn.append(figure(picture, "Coloured by what the labels say."))
    if "ef_percent" in labels and labels["ef_percent"].notna().any():
        ef = labels["ef_percent"].to_numpy(np.float64)
        picture = figures.embedding_map(
            points, shares, values=ef, values_label="EF (%)", name="map-ef"
        )
        drawn.append(figure(picture, "Coloured by measured ejection fraction."))
    if not drawn:
        picture = figures.embedding_map(points, shares, name="map")
        drawn.append(figure(picture, "No label to colour by."))
    return drawn


def principal_directions(vectors: figures.Values) -> tuple[figures.Values, list[float]]:
    """Return each vector's place along the two widest directions, and their variance shares.

    Args:
        vectors: ``(clips, dim)``, at least two rows.
    """
    centred = vectors - vectors.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    total = float((singular**2).sum())
    points = left[:, :2] * singular[:2]
    if points.shape[1] < 2:
        points = np.column_stack([points, np.zeros(len(points))])
        singular = np.append(singular, 0.0)
    # The sign of a singular vector is arbitrary; fixed, so that the same data give one map.
    signs = np.where(points.sum(axis=0) < 0, -1.0, 1.0)
    shares = [float(s**2) / total if total else 0.0 for s in singular[:2]]
    return points * signs, shares
