"""What linear probes cost on cached features: every label of ten thousand clips.

Run: ``python benchmarks/probes.py [--clips 10000] [--dim 768]``. Features and labels are
invented: a few hidden causes, seen through noise, tell each label in part, as they do in real
embeddings. Seconds are of the processor, of one thread, from features in memory to fitted heads
with figures and intervals by patient. scikit-learn's own search beside it is asked for with
``--sklearn`` and is slow.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from echocli.api._classes import Classes
from echocli.api._classify.figures import figures, fit_reading
from echocli.api._lvef.figures import figures as ef_figures
from echocli.models.tasks.classification import ALPHAS, LinearClassifier
from echocli.models.tasks.lvef import RidgeProbe

LABELS = {"normal": 2, "abnormality": 4, "view": 5, "sex": 2, "quality": 3, "scanner": 6}
HIDDEN = 48
CLIPS_A_PATIENT = 3


def made(clips: int, dim: int, seed: int = 0) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return features, an ejection fraction and the classes of every label."""
    generator = torch.Generator().manual_seed(seed)
    patients = -(-clips // CLIPS_A_PATIENT)
    of_patient = torch.randn(patients, HIDDEN, generator=generator)
    causes = of_patient.repeat_interleave(CLIPS_A_PATIENT, dim=0)[:clips]
    causes = causes + 0.3 * torch.randn(clips, HIDDEN, generator=generator)
    mixed = causes @ torch.randn(HIDDEN, dim, generator=generator)
    features = mixed + 2 * torch.randn(clips, dim, generator=generator)
    ef = 55 + 8 * causes[:, 0] + 4 * torch.randn(clips, generator=generator)
    labels = {}
    for index, (name, classes) in enumerate(LABELS.items()):
        pull = causes[:, 5 * index : 5 * index + classes]
        noise = torch.randn(clips, classes, generator=generator)
        labels[name] = (2 * pull + noise).argmax(dim=1)
    return features, ef.double(), labels


def timed(name: str, since: float, told: str) -> float:
    """Print and return the seconds of the processor since a moment."""
    seconds = time.process_time() - since
    print(f"{name:12s} {seconds:6.2f} s  {told}")
    return seconds


def probes(features: Tensor, ef: Tensor, labels: dict[str, Tensor]) -> Iterator[float]:
    """Fit and judge a probe of every label; yield the seconds of each."""
    rows = torch.arange(len(ef))
    patients = rows // CLIPS_A_PATIENT
    part = patients % 10
    train, val, test = part < 7, part == 7, part > 7
    owners = patients.numpy().astype(str)
    since = time.process_time()
    ridge = RidgeProbe().fit(
        features[train], ef[train], patients[train], torch.Generator().manual_seed(0)
    )
    said = ridge.predict(features[test]).double().numpy()
    found = ef_figures(
        ef[test].numpy(),
        said,
        owners[test.numpy()],
        mean_ef_percent=float(ef[train].mean()),
        half_width=10.0,
        seed=0,
    )
    yield timed("ef_percent", since, f"MAE {found['metrics']['mae']['value']:.2f}")
    for name, codes in labels.items():
        since = time.process_time()
        classes = int(codes.max()) + 1
        probe = LinearClassifier().fit(
            features[train],
            codes[train],
            patients[train],
            torch.Generator().manual_seed(0),
            torch.ones(classes),
        )
        logits, truth = probe.logits(features).numpy(), codes.numpy()
        names = tuple(str(k) for k in range(classes))
        positive = 1 if classes == 2 else None
        chosen = val.numpy()
        reading = fit_reading(
            logits[chosen],
            truth[chosen],
            owners[chosen],
            positive=positive,
            kind="temperature",
            threshold="youden",
            rate=0.05,
        )
        chosen = test.numpy()
        found = figures(
            reading.scaling(logits[chosen]),
            truth[chosen],
            owners[chosen],
            reading,
            Classes(name, names, positive),
            commonest=0,
            seed=0,
        )
        area = found["metrics"]["auroc"]["value"]
        told = f"{classes} classes, AUROC {area:.3f}, penalty {probe.alpha_:g}"
        yield timed(name, since, told)


def sklearn_search(features: Tensor, codes: Tensor) -> None:
    """Time scikit-learn's search over the same penalties and folds of one label."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.model_selection import GroupKFold
    from sklearn.preprocessing import StandardScaler

    patients = np.arange(len(codes)) // CLIPS_A_PATIENT
    train = patients % 10 < 7
    since = time.process_time()
    x = StandardScaler().fit_transform(features.numpy().astype(float)[train])
    y, owners = codes.numpy()[train], patients[train]
    search = LogisticRegressionCV(
        Cs=[1 / alpha for alpha in ALPHAS],
        cv=list(GroupKFold(5).split(x, y, owners)),
        scoring="neg_log_loss",
        max_iter=1000,
        l1_ratios=(0,),
        use_legacy_attributes=False,
    ).fit(x, y)
    timed("scikit-learn", since, f"the search of one label, penalty {1 / search.C_:g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--sklearn", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    features, ef, labels = made(asked.clips, asked.dim)
    total = sum(probes(features, ef, labels))
    print(f"{'all':12s} {total:6.2f} s of processor, {asked.clips} clips x {asked.dim}")
    if asked.sklearn:
        sklearn_search(features, labels["abnormality"])


if __name__ == "__main__":
    main()
