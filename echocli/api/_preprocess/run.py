"""One process's share of the work: outcomes come in, parts of the set go out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from pathlib import Path

from echocli.api._preprocess.clip import Outcome, Task
from echocli.api._preprocess.labels import LabelNotes, LabelTable
from echocli.api._preprocess.ledger import Ledger
from echocli.api._preprocess.parts import Part, Source, next_name, part_files
from echocli.api._preprocess.place import Share
from echocli.api._preprocess.quarantine import Quarantined, quarantine
from echocli.api._preprocess.rules import EVERYTHING
from echocli.clips.progress import (
    FILES_LOCK,
    STATE_FOLDER,
    Found,
    State,
    last_found,
    read_states,
    state_file,
)
from echocli.clips.record import Clip, Label
from echocli.clips.store import ClipSet
from echocli.datasets.rules import NormalRule
from echocli.errors import EchoError
from echocli.locks import locked
from echocli.privacy.identifiers import identifiers_of
from echocli.privacy.labels import clean
from echocli.privacy.pseudonyms import Pseudonyms
from echocli.splits import split_of

PLACE_DIGITS = 16
"""Hexadecimal digits of the keyed hash of a path, in the notes on who stands where."""


@dataclass
class Run:
    """Takes outcomes in order, and publishes a part whenever enough have come."""

    folder: Path
    """The clip set."""
    share: Share
    pseudonyms: Pseudonyms
    table: LabelTable
    named: Sequence[str]
    """Label columns that the user let through."""
    rules: Mapping[str, NormalRule]
    """Which clips are normal, by data set; that for ``EVERYTHING`` goes before all others."""
    sources: InitVar[Iterable[Task]] = ()
    """All that the command names, the other shares' too: they stand where they stand."""
    incoming: Path | None = None
    """Where workers lay DICOM copies, if they are wanted."""
    places: dict[str, Found] = field(default_factory=dict, repr=False)
    """What this run found where."""
    refusals: list[Quarantined] = field(default_factory=list)
    """Sources of this run that became no clip, the known ones among them."""
    identifiers: set[str] = field(default_factory=set, repr=False)
    """Raw identifiers of all sources of this run; they stay in memory."""
    nameless: int = 0
    """New clips of which nothing tells whose they are: each has a patient of its own."""
    published: list[str] = field(default_factory=list)
    """Names of the parts that this run added."""
    moved: int = 0
    """Sources that stood at another place when they were met before."""

    def __post_init__(self, sources: Iterable[Task]) -> None:
        self._standing = {self.place_of(task) for task in sources}
        self.ledger = Ledger.read(self.folder)  # what is known of the sources, by now
        self.notes = LabelNotes(self.table, self.pseudonyms)
        self._part: Part | None = None
        self._seen: set[str] = set()
        self._splits = _splits_of(self.folder)

    def take(self, outcome: Outcome) -> None:
        """Enter an outcome.

        Raises:
            EchoError: If its patient would stand in two splits, or its labels have changed.
            PrivacyError: If it completes a part whose audit fails.
        """
        place = self.place_of(outcome.task)
        found = Found(outcome.task.position, self.pseudonyms.source(outcome.sha256))
        self.places[place] = found
        if outcome.known:
            self._check_labels(outcome.task, found, place)
        else:
            self._enter(outcome, found, place)
        refused = self.ledger.refusal(found, self._seen)
        if refused:
            self.refusals.append(refused)
        if self._part is not None and self._part.full:
            self.publish()

    def place_of(self, task: Task) -> str:
        """Return what the notes on who stands where call the place of a source."""
        path = os.path.abspath(task.path)
        return self.pseudonyms.source(f"place:{path}")[:PLACE_DIGITS]

    def _enter(self, outcome: Outcome, found: Found, place: str) -> None:
        """Note what is new about a source; the same refusal again is not."""
        source_id, known = found.source_id, self.ledger
        if outcome.refused:
            entry = quarantine(source_id, found.position, outcome.refused)
            before = known.refused.get(source_id)
            if source_id in known.clips or (
                before and replace(before, position=found.position) == entry
            ):
                return
            known.refused[source_id] = entry
            part = self._begun()
            part.refused.append(entry)
        elif source_id in known.clips:
            return
        else:
            assert outcome.clip is not None  # an outcome is known, a clip or a refusal
            part = self._begun()
            part.add(self._labelled(outcome, outcome.clip))
            known.clips[source_id] = outcome.clip.clip_id
            if "dataset" not in outcome.clip.labels:  # authors' own data sets need no advice
                self.nameless += outcome.patient_key == outcome.sha256
        self._identify(outcome, part)
        clip_id = known.clips.get(source_id)
        notes = self.notes.note(outcome)
        part.sources.append(Source(source_id, found.position, place, clip_id, *notes))

    def _check_labels(self, task: Task, found: Found, place: str) -> None:
        before = self.ledger.sources.get(found.source_id)
        if before is not None:
            same = place == before.place
            self.notes.check(task, before.patient, before.told, same_place=same)

    def _begun(self) -> Part:
        """Return the part in hand; a new one if there is none."""
        if self._part is None:
            name = next_name(self.folder, self.share.suffix)
            self._mark_begun()
            self._part = Part(self.folder, self.share.name, name, self.incoming)
        return self._part

    def _identify(self, outcome: Outcome, part: Part) -> None:
        place = outcome.task.place or outcome.task.path.name
        names = identifiers_of(place, outcome.patient_key, outcome.study_key)
        part.identifiers |= names
        self.identifiers |= names

    def _labelled(self, outcome: Outcome, clip: Clip) -> Clip:
        """Return the clip with the columns that may be kept."""
        told = clean(self.table.of(outcome), self.named)
        kept: dict[str, Label] = {**clean(clip.labels), **told}
        kept["split"] = self._split(clip.patient_id, kept.get("split"))
        own = self.rules.get(EVERYTHING)
        rule = own or self.rules.get(str(kept.get("dataset")))
        if rule and (own or kept.get("normal") is None):
            kept["normal"] = rule.label(kept)
        return replace(clip, labels=kept)

    def _split(self, patient: str, told: Label) -> str:
        """Return the split of a patient: the official one, the one it has, or by its hash."""
        before = self._splits.get(patient)
        split = str(told) if told else before or split_of(patient)
        if before not in (None, split):
            raise EchoError(
                f"Patient {patient} would stand in two splits: {before} and {split}.",
                "Give every clip of a patient the same split, or leave the split column out "
                "and let echocli split by patient. Then make the set anew with --overwrite.",
            )
        self._splits[patient] = split
        return split

    def publish(self) -> None:
        """Make the part in hand, if there is one, a part of the set.

        Raises:
            PrivacyError: If its audit fails.
        """
        if self._part is not None:
            part, self._part = self._part, None
            try:
                part.publish(self.named)
            except BaseException:
                part.discard()
                raise
            self.published.append(part.name)

    def finish(self, *, finished: bool) -> None:
        """Publish what is in hand and note how far the work is."""
        if not part_files(self.folder):
            self._begun()  # even a share without sources makes a set that can be opened
        self.publish()
        self._mark(finished=finished)

    def _mark_begun(self) -> None:
        states = {state.name: state for state in read_states(self.folder)}
        mine = states.get(self.share.name, State(self.share.shard, self.share.of, True))
        if mine.finished:
            replace(mine, finished=False).write(self.folder)

    def _mark(self, *, finished: bool) -> None:
        """Note how far this share is, unless that stands there; forget other divisions."""
        with locked(self.folder / STATE_FOLDER / FILES_LOCK, wait=True):
            states = read_states(self.folder)
            others = [state for state in states if state.of != self.share.of]
            mine = [state for state in states if state.name == self.share.name]
            known = last_found(states)
            told = {
                place: known[place]
                for state in (*others, *mine)
                for place in last_found([state])
            }
            told |= self.places
            told |= dict.fromkeys(self._left())
            now = State(
                self.share.shard,
                self.share.of,
                finished,
                {place: found for place, found in told.items() if found},
                frozenset(place for place, found in told.items() if not found),
                turn=max((state.turn for state in mine), default=0),
            )
            if [now] != mine or any(known[place] != found for place, found in told.items()):
                turn = 1 + max((state.turn for state in states), default=0)
                replace(now, turn=turn).write(self.folder)
            for state in others if finished else ():
                state_file(self.folder, state.name).unlink(missing_ok=True)

    def _left(self) -> set[str]:
        """Return the places that known content has left, by all that this run can know.

        What it found at a new place stands no more where it stood, unless the command names
        that place, too: then they are twins. Whether anything stands at a place that is not
        named nobody can look: paths are not kept.
        """
        was = {place: found.source_id for place, found in self.ledger.places.items()}
        now = {place: found.source_id for place, found in self.places.items()}
        new = [source_id for place, source_id in now.items() if was.get(place) != source_id]
        known, named = set(new), self._standing
        left = {place for place, what in was.items() if what in known and place not in named}
        vacated = {
            what for place, what in was.items() if place in left or now.get(place, what) != what
        }
        self.moved = sum(source_id in vacated for source_id in new)
        return left

    def discard(self) -> None:
        """Drop the part in hand."""
        if self._part is not None:
            self._part.discard()
            self._part = None


def _splits_of(folder: Path) -> dict[str, str]:
    if not ClipSet.is_one(folder):
        return {}
    table = ClipSet.open(folder).manifest
    if "split" not in table:
        return {}
    known = table[["patient_id", "split"]].dropna()
    return {str(patient): str(split) for patient, split in known.itertuples(index=False)}
