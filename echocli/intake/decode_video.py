"""Decodes DICOM loops that are kept as MPEG-2, MPEG-4 or HEVC."""

from __future__ import annotations

from echocli.intake.decode_fragments import Fragments
from echocli.intake.dicom import Header
from echocli.intake.pixels import Gatherer
from echocli.intake.reasons import Reason, Refused
from echocli.intake.video import pictures


def decode_stream(fragments: Fragments, header: Header, gathered: Gatherer) -> None:
    """Decode the one stream that all fragments make up.

    Raises:
        Refused: If it is broken, or holds another number of frames than declared, or frames of
            another size: a decoder that skips what it cannot read would shift the times of all
            that follows.
    """
    with fragments.stream() as stream:
        for picture in pictures(stream, gathered):
            if gathered.count == header.frames:
                raise Refused(Reason.UNDECODABLE, "more frames than the header declares")
            if picture.grey.shape != (header.rows, header.columns):
                raise Refused(Reason.UNDECODABLE, "another size than the header declares")
            gathered.add(picture)
