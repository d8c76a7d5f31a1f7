"""Public weights through the API: files of every format, refusals, downloads, hashes."""

from __future__ import annotations

import argparse
import hashlib
import http.server
import json
import pickle
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_weights import HEADS, MADE, SIZE
from safetensors.torch import save_file
from torch import Tensor

from echocli.api import models
from echocli.api._models import catalogue
from echocli.api._models import fetch as fetch_module
from echocli.api._models.convert import Choice
from echocli.api._models.read import read_weights
from echocli.api._models.timm import found_in
from echocli.checkpoint import find_model, load_model
from echocli.clips.windows import to_video
from echocli.console import SILENT
from echocli.errors import EchoError, UsageError
from echocli.models.weights import base
from echocli.models.weights.base import Wish
from echocli.study import Study

CHOICE = Choice(wish=Wish(heads=HEADS, frames=4, size=SIZE))


def nest(tensors: dict[str, Tensor], parts: tuple[str, ...]) -> dict[str, Any]:
    """Put tensors into the parts of a container, as training code saves them."""
    saved: dict[str, Any] = {}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part in parts:
            saved.setdefault(part, {})[rest] = tensor
        else:
            saved[name] = tensor
    return saved


def write(folder: Path, name: str) -> Path:
    """Write a small file of a format as its authors do."""
    found = MADE[name]()
    if "config" in found.words:
        (folder / name).mkdir()
        save_file(dict(found.tensors), folder / name / "model.safetensors")
        (folder / name / "config.json").write_text(json.dumps(found.words["config"]))
        return folder / name
    parts = ("encoder", "target_encoder", "ema_encoder", "predictor", "model")
    saved = nest(dict(found.tensors), parts if name != "timm_vit" else ())
    words = {k: argparse.Namespace(**v) if k == "args" else v for k, v in found.words.items()}
    torch.save({**saved, **words, "opt": {"state": {0: {"step": 3}}}}, folder / f"{name}.pth")
    return folder / f"{name}.pth"


@pytest.fixture(params=base.available())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_format_becomes_a_model_that_comes_back(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, name)
    result = models.import_model(str(path), out=tmp_path / "out", choice=CHOICE)
    loaded = load_model(result.model)
    assert loaded.method == name
    assert loaded.data.channels == loaded.encoder.config.channels == 1
    assert loaded.details["imported"]["licence"]
    assert loaded.details["imported"]["sha256"] == result.sha256
    pixels = torch.randint(0, 255, (2, 4, SIZE, SIZE), dtype=torch.uint8)
    assert loaded.encoder(to_video(pixels, loaded.data)).isfinite().all()
    verified = models.verify(str(result.model))
    assert verified.sha256 == loaded.sha256


def test_a_file_is_described_as_it_is_imported_but_without_its_numbers(
    name: str, tmp_path: Path
) -> None:
    path = write(tmp_path, name)
    found = read_weights(path, shapes_only=True)
    assert all(tensor.is_meta or "pos_embed" in n for n, tensor in found.tensors.items())
    described = models.describe(str(path), CHOICE)
    result = models.import_model(str(path), out=tmp_path / "out", choice=CHOICE)
    assert described == result.description
    ours = models.describe(str(result.model))
    assert (ours.parameters, ours.encoder) == (described.parameters, described.encoder)
    assert models.verify(str(path), CHOICE).sha256 == result.sha256


def test_the_input_contract_travels(tmp_path: Path) -> None:
    path = write(tmp_path, "discovr")
    data = load_model(models.import_model(str(path), out=tmp_path / "a").model).data
    assert (data.frames, data.size, data.stride, data.seconds) == (4, SIZE, 3, None)
    assert data.mean == pytest.approx((sum(base.IMAGENET_MEAN) / 3,))
    choice = Choice(wish=Wish(frames=8, size=64), seconds=1.5, colour=True)
    data = load_model(
        models.import_model(str(path), out=tmp_path / "b", choice=choice).model
    ).data
    assert (data.frames, data.size, data.stride, data.seconds) == (8, 64, None, 1.5)
    assert (data.mean, data.std) == (base.IMAGENET_MEAN, base.IMAGENET_STD)
    assert load_model(tmp_path / "b").encoder(torch.zeros(1, 3, 8, 64, 64)).shape == (
        1,
        256,
        48,
    )


class Trap:
    """What a malicious file does when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare"])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(kind: str, tmp_path: Path) -> None:
    ran, file = tmp_path / "ran", tmp_path / "evil.pt"
    content = {"encoder": {"patch_embed.proj.weight": torch.zeros(2)}, "opt": Trap(ran)}
    if kind == "bare":
        file.write_bytes(pickle.dumps(content["opt"]))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=kind == "zip")
    for refuse in (models.describe, models.verify, models.import_model):
        with pytest.raises(EchoError, match="Nothing in it was run"):
            refuse(str(file))
    assert not ran.exists()
    torch.load(file, weights_only=False) if kind != "bare" else pickle.loads(file.read_bytes())  # noqa: S301
    assert ran.exists()  # the trap is a trap


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 broken"])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_what_is_no_file_of_weights_is_refused(
    content: bytes, ending: str, tmp_path: Path
) -> None:
    file = tmp_path / f"some.{ending}"
    file.write_bytes(content)
    with pytest.raises(EchoError, match="Fetch"):
        models.describe(str(file))


def test_names_that_do_not_belong_are_listed(tmp_path: Path) -> None:
    found = MADE["vjepa2"]()
    tensors = nest(dict(found.tensors), ("encoder", "target_encoder", "predictor"))
    inner = "module.backbone.blocks.2.mlp.fc2.weight"
    tensors["target_encoder"]["module.backbone.odd"] = torch.zeros(1)
    del tensors["target_encoder"][inner]
    torch.save(tensors, tmp_path / "vitl.pt")
    with pytest.raises(EchoError) as refused:
        models.import_model(str(tmp_path / "vitl.pt"), out=tmp_path / "out", choice=CHOICE)
    assert f"missing: target_encoder.{inner}" in refused.value.problem
    assert "unexpected: target_encoder.module.backbone.odd" in refused.value.problem
    assert not (tmp_path / "out").exists()


def test_a_file_that_two_formats_fit_needs_a_word(tmp_path: Path) -> None:
    file = tmp_path / "bare.safetensors"
    encoder = {n: t for n, t in MADE["vjepa"]().tensors.items() if n.startswith("target")}
    save_file({name.split("backbone.")[1]: t for name, t in encoder.items()}, file)
    with pytest.raises(EchoError, match="No one format fits"):
        models.describe(str(file), CHOICE)
    for form in ("vjepa", "vjepa2"):
        described = models.describe(str(file), replace(CHOICE, format=form))
        assert described.format == form


def test_a_folder_in_pieces_is_read_whole(tmp_path: Path) -> None:
    found = MADE["hf_vjepa2"]()
    names = sorted(found.tensors)
    where = {n: f"model-0000{i % 2}.safetensors" for i, n in enumerate(names)}
    for file in set(where.values()):
        save_file({n: found.tensors[n] for n in names if where[n] == file}, tmp_path / file)
    (tmp_path / "config.json").write_text(json.dumps(found.words["config"]))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    assert models.describe(str(tmp_path)).tensors == len(names)
    assert len(models.verify(str(tmp_path)).sha256) == 64


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "[1]"),
        ("config.json", "[" * 100_000),
        ("config.json", '{"num_attention_heads": "x"}'),
        ("preprocessor_config.json", '{"image_mean": -1}'),
        ("model.safetensors.index.json", "{}"),
        ("model.safetensors.index.json", '{"weight_map": {"a": 3}}'),
    ],
)
def test_settings_beside_weights_that_are_none_are_refused(
    file: str, content: str, tmp_path: Path
) -> None:
    found = MADE["hf_vjepa2"]()
    save_file(found.tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(found.words["config"]))
    (tmp_path / file).write_text(content)
    with pytest.raises(EchoError):
        models.describe(str(tmp_path))


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"schema": "echocli.model/1"}'])
def test_a_damaged_model_of_ours_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    for name in ("model.safetensors", "SHA256SUMS.json"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(EchoError):
        models.describe(str(tmp_path))


@pytest.mark.parametrize("name", ["hf_vjepa2", "hf_videomae"])
def test_the_scale_of_pixels_is_read_beside_the_weights(name: str, tmp_path: Path) -> None:
    folder = write(tmp_path, name)
    scale = {"image_mean": [0.5, 0.4, 0.6], "image_std": [0.25, 0.25, 0.5]}
    (folder / "preprocessor_config.json").write_text(json.dumps(scale))
    data = models.describe(str(folder), replace(CHOICE, colour=True)).data
    assert (data["mean"], data["std"]) == (scale["image_mean"], scale["image_std"])
    grey = models.describe(str(folder), CHOICE).data
    assert grey["mean"] == pytest.approx([0.5])
    (folder / "preprocessor_config.json").write_text("{")
    with pytest.raises(EchoError, match="no JSON"):
        models.describe(str(folder), CHOICE)


def test_the_hash_that_is_asked_for_is_demanded(tmp_path: Path) -> None:
    path = write(tmp_path, "vjepa")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    models.verify(str(path), CHOICE, sha256=digest.upper())
    for check in (models.verify, models.import_model):
        with pytest.raises(EchoError, match="not the one"):
            check(str(path), choice=CHOICE, sha256="0" * 64)


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    path = write(tmp_path, "videomae")
    for _ in range(2):
        models.import_model(str(path), out=tmp_path / "out", choice=CHOICE, overwrite=True)
    with pytest.raises(UsageError, match="already exists"):
        models.import_model(str(path), out=tmp_path / "out", choice=CHOICE)


def test_an_imported_model_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "vjepa21")
    monkeypatch.chdir(tmp_path)
    result = models.import_model(str(path), choice=CHOICE)
    assert result.model == Path("models/vjepa21")
    assert load_model(find_model("vjepa21", Study())).method == "vjepa21"
    assert models.describe("vjepa21").source == result.description.source


def test_what_is_not_here_is_not_downloaded_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(fetch_module, "fetch_url", fail)
    monkeypatch.setattr(fetch_module, "fetch_from_hub", fail)
    for name in ("vjepa-vitl", "discovr", "timm:vit_tiny_patch16_224"):
        with pytest.raises(UsageError, match="--download"):
            models.import_model(name)
        monkeypatch.setenv("ECHOCLI_OFFLINE", "1")
        with pytest.raises(UsageError, match="ECHOCLI_OFFLINE"):
            models.import_model(name, download=True)
        monkeypatch.delenv("ECHOCLI_OFFLINE")
    with pytest.raises(UsageError, match="state no hash"):
        models.import_model("vjepa-vitl", download=True)
    with pytest.raises(UsageError, match="cannot be fetched by a program"):
        models.import_model("echojepa-vitl", download=True)
    with pytest.raises(UsageError, match="Did you mean vjepa2-vitl"):
        models.import_model("vjepa2_vitl")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve a folder on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, directory=str(tmp_path / "served"), **kwargs)

        def log_message(self, *_: Any) -> None:
            pass

    (tmp_path / "served").mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_download_is_what_its_hash_says_or_nothing(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "served", "vjepa")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    public = replace(catalogue.CATALOGUE[0], name="ours", format="vjepa", size=None)
    public = replace(public, url=f"{server}/vjepa.pth")
    monkeypatch.setattr(models, "known", lambda name: public if name == "ours" else None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EchoError, match="another hash"):
        models.import_model("ours", choice=CHOICE, download=True, sha256="0" * 64)
    assert not list((tmp_path / "models" / "downloads").iterdir())
    result = models.import_model("ours", choice=CHOICE, download=True, sha256=digest)
    assert result.sha256 == digest
    assert result.description.licence == public.licence
    file.unlink()  # what is here already is not fetched again
    kept = fetch_module.fetch(public, tmp_path / "models/downloads", digest, SILENT)
    assert kept.is_file()
    with pytest.raises(EchoError, match="cannot be fetched"):
        fetch_module.fetch(public, tmp_path / "elsewhere", digest, SILENT)


def test_a_file_of_the_hub_must_have_the_hubs_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    class Metadata:
        etag = "0" * 64

    file = write(tmp_path, "discovr")
    asked: list[str] = []

    def download(repository: str, name: str) -> str:
        asked.append(f"{repository}/{name}")
        return str(file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda _: Metadata)
    with pytest.raises(EchoError, match="another hash"):
        models.import_model("discovr", out=tmp_path / "out", choice=CHOICE, download=True)
    assert asked == ["Div97/DISCOVR_ADULT_PEDIATRIC_MODEL/checkpoint-399.pth"]
    Metadata.etag = hashlib.sha256(file.read_bytes()).hexdigest()
    result = models.import_model("discovr", out=tmp_path / "out", choice=CHOICE, download=True)
    assert "EchoNet-Dynamic" in result.description.trained_on
    assert "EchoNet-Dynamic" in result.description.warning

    def fail(*_: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(EchoError, match="cannot be fetched"):
        models.import_model("discovr", out=tmp_path / "new", choice=CHOICE, download=True)


def test_the_catalogue_names_formats_licences_and_sources() -> None:
    names = catalogue.names()
    assert len(set(names)) == len(names)
    for public in models.known_models():
        assert public.format in base.available()
        assert public.licence
        assert public.trained_on
        assert public.source.startswith("https://")
        assert bool(public.repository) == bool(public.files)
    assert "EchoNet-Dynamic" in (catalogue.known("discovr") or public).warning


def test_timms_transformers_tell_what_shapes_do_not() -> None:
    from echocli.models.timm_guard import load_timm

    model = load_timm().create_model("vit_tiny_patch16_224", pretrained=False, depth=2)
    found = found_in(model)
    converted = base.load("timm_vit").convert(found, Wish())
    assert (converted.config.heads, converted.config.size) == (3, 224)
    assert converted.mean == tuple(model.pretrained_cfg["mean"])
