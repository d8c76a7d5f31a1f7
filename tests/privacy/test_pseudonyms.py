"""Ids are keyed, stable, and the key stays with its owner."""

import errno
import hashlib
import hmac
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest
from pydicom.uid import UID

from echocli.errors import EchoError, PrivacyError
from echocli.privacy.pseudonyms import ID_FORMATS, Pseudonyms, default_key_file

KEY = bytes(range(32))


def test_the_key_is_made_on_first_use_and_used_again(tmp_path: Path) -> None:
    file = tmp_path / "settings" / "key"
    first = Pseudonyms.from_file(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Pseudonyms.from_file(file) == first
    assert Pseudonyms.from_file(tmp_path / "other") != first
    assert [path.name for path in file.parent.iterdir()] == ["key"]


def test_ids_are_hmac_sha256_of_kind_and_identifier() -> None:
    expected = hmac.new(KEY, b"echocli:patient:MRN-1", hashlib.sha256).hexdigest()
    assert Pseudonyms(KEY).patient("MRN-1") == "p" + expected[:16]


def test_ids_differ_by_kind_key_and_identifier_and_have_their_format() -> None:
    one, other = Pseudonyms(KEY), Pseudonyms(KEY[::-1])
    ids = [one.patient("1"), one.study("1"), one.clip("1"), one.source("1"), one.patient("2")]
    digits = [text.lstrip("pcs")[:12] for text in [*ids, other.patient("1")]]
    assert len(set(digits)) == len(digits)
    kinds = ("patient_id", "study_id", "clip_id", "source_sha256")
    assert all(ID_FORMATS[kind].fullmatch(text) for kind, text in zip(kinds, ids, strict=False))


def test_the_key_never_lies_in_the_output(tmp_path: Path) -> None:
    out = tmp_path / "clips"
    out.mkdir()
    link = tmp_path / "innocent"
    link.symlink_to(out)
    for place in (
        out / "key",
        out / "deep" / "key",
        link / "key",
        out / ".." / "clips" / "key",
    ):
        with pytest.raises(PrivacyError):
            Pseudonyms.from_file(place, outside=out)
    assert not list(out.iterdir())
    Pseudonyms.from_file(tmp_path / "clips-key", outside=out)


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    Pseudonyms.from_file(file)
    file.chmod(0o640)
    with pytest.raises(PrivacyError) as refused:
        Pseudonyms.from_file(file)
    assert f"chmod 600 {file}" in refused.value.remedy


@pytest.mark.parametrize("content", [b"", b"no key", b"abcd", b"\xff\xfe"])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(EchoError):
        Pseudonyms.from_file(file)
    assert file.read_bytes() == content


def test_the_environment_names_the_key_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ECHOCLI_KEY_FILE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_key_file() == tmp_path / "echocli" / "pseudonym.key"
    monkeypatch.setenv("ECHOCLI_KEY_FILE", str(tmp_path / "mine"))
    assert default_key_file() == tmp_path / "mine"


def test_the_key_is_not_shown() -> None:
    assert "00010203" not in repr(Pseudonyms(KEY))
    assert "\\x01" not in repr(Pseudonyms(KEY))


def test_uids_are_valid_keyed_and_stable() -> None:
    one, other = Pseudonyms(KEY), Pseudonyms(KEY[::-1])
    uids = [one.uid("1.2.3"), one.uid("1.2.4"), other.uid("1.2.3"), one.uid("")]
    assert len(set(uids)) == 4
    assert one.uid("1.2.3") == uids[0]
    for uid in uids:
        assert re.fullmatch(r"2\.25\.[1-9]\d{0,38}", uid)
        assert UID(uid).is_valid
        # PS3.5 B.2: the number is a UUID, here one of random bits (RFC 9562, version 4).
        assert UUID(int=int(uid.removeprefix("2.25."))).version == 4


def test_processes_that_make_the_key_at_once_agree(tmp_path: Path) -> None:
    file = tmp_path / "settings" / "key"
    with ThreadPoolExecutor(16) as pool:  # os.link decides between threads as between processes
        made = list(pool.map(lambda _: Pseudonyms.from_file(file), range(64)))
    assert set(made) == {Pseudonyms.from_file(file)}
    assert [path.name for path in file.parent.iterdir()] == ["key"]


def test_a_key_that_cannot_be_made_or_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir(mode=0o700)
    for place in (tmp_path / "file" / "key", tmp_path / "folder"):
        with pytest.raises(EchoError, match="--key-file"):
            Pseudonyms.from_file(place)

    def read_only(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(EchoError, match="Read-only file system"):
        Pseudonyms.from_file(tmp_path / "new")


def test_a_full_disk_stays_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OSError, match="No space left"):
        Pseudonyms.from_file(tmp_path / "new")


def test_a_new_key_is_not_made_where_it_would_be_committed(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(PrivacyError):
        Pseudonyms.from_file(tmp_path / "deep" / "key")
    assert not (tmp_path / "deep").exists()
