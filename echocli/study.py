"""A study folder: where each command puts its result and finds the previous one's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from echocli.errors import EchoError

SOURCE_FOLDERS = ("dicom", "videos", "camus", "echonet-dynamic")
"""Folders of a study that may hold what the researcher brings."""
OWN_PREDICTIONS = ("lvef.csv", "classify.csv", "segment")
"""What is predicted where nothing else is named; other names are for other clips, too."""
HEAD_ENCODER = "encoder"
"""Folder, in that of a head, of an encoder that was trained with it."""
WEIGHTS, HEAD = "model.safetensors", "head.safetensors"
"""What a model and a head are numbers in."""
SUMS = "SHA256SUMS.json"
"""Hashes of the files beside it, written last."""


def called(path: Path, own: Path) -> str:
    """Return what to call a path that is missing.

    What somebody typed may be the name of a patient's file: it is not repeated.

    Args:
        path: What is missing.
        own: Where a study has it, which is meant where nothing is typed.
    """
    return str(own) if path == own else "what was named"


@dataclass(frozen=True)
class Study:
    """The names inside a study folder."""

    root: Path = Path()

    @property
    def clips(self) -> Path:
        """The clip set that ``preprocess`` writes."""
        return self.root / "clips"

    @property
    def runs(self) -> Path:
        """The folder of pretraining runs."""
        return self.root / "runs"

    @property
    def models(self) -> Path:
        """The folder of public models that were brought in."""
        return self.root / "models"

    @property
    def embeddings(self) -> Path:
        """The table that ``embed`` writes."""
        return self.root / "embeddings.parquet"

    @property
    def scores(self) -> Path:
        """The table that ``score`` writes."""
        return self.root / "scores.csv"

    @property
    def votes(self) -> Path:
        """The table that ``score --vote`` writes."""
        return self.root / "votes.csv"

    @property
    def heads(self) -> Path:
        """The folder of fitted heads."""
        return self.root / "heads"

    @property
    def predictions(self) -> Path:
        """The folder of predictions."""
        return self.root / "predictions"

    @property
    def report(self) -> Path:
        """The report."""
        return self.root / "report.html"

    @property
    def labels(self) -> Path:
        """The table of labels that a researcher may lay beside the sources."""
        return self.root / "labels.csv"

    def keeps(self, result: Path) -> bool:
        """Return whether a result lies where a study keeps those of its own clips."""
        own = (self.embeddings, self.scores, self.votes)
        of_tasks = {self.predictions / name for name in OWN_PREDICTIONS}
        return result in own or result in of_tasks

    def sources(self) -> list[Path]:
        """Return the source folders that exist.

        Raises:
            EchoError: If there is none.
        """
        found = [self.root / name for name in SOURCE_FOLDERS if (self.root / name).is_dir()]
        if not found:
            names = ", ".join(f"{name}/" for name in SOURCE_FOLDERS)
            raise EchoError(
                f"This folder holds none of {names}.",
                "Name the files or folders to read, or run the command in a study folder.",
            )
        return found

    def latest_run(self) -> Path:
        """Return the newest run.

        Raises:
            EchoError: If nothing has been pretrained here.
        """
        pointer = self.runs / "latest"
        if pointer.is_file():
            run = (
                self.runs
                / pointer.read_text(encoding="utf-8", errors="surrogateescape").strip()
            )
            if run.is_dir():
                return run
        raise EchoError(
            f"There is no model: {self.runs} holds no finished run.",
            "Run `echocli pretrain` first, or name a model with --model.",
        )
