"""The public checkpoints that we know: what they are, what they cost, and who owns them."""

from __future__ import annotations

from dataclasses import dataclass, replace

META = "https://dl.fbaipublicfiles.com"
NON_COMMERCIAL = "CC BY-NC 4.0 (not for commercial use)"
EVERYDAY = "videos of everyday life; no medical images are known to be among them"
HEARTS_SEEN = (
    "trained on public heart ultrasound, splits unknown: test clips of EchoNet-Dynamic, "
    "EchoNet-Pediatric and RVENet may be among them, so results on these are no evidence"
)


@dataclass(frozen=True, kw_only=True)
class Public:
    """A checkpoint that anybody may fetch from its authors."""

    name: str
    """What ``echocli models import`` calls it."""
    format: str
    """File in ``models/weights``."""
    encoder: str
    parameters: float
    """Of the encoder, in millions."""
    licence: str
    trained_on: str
    url: str = ""
    """Of the file."""
    page: str = ""
    """Where people find it, if no program can fetch it."""
    repository: str = ""
    """On huggingface.co."""
    files: tuple[str, ...] = ()
    """In the repository; the first is the weights."""
    sha256: str = ""
    """Of the file; empty if its authors state none."""
    size: int | None = None
    """Rows and columns of the training's last part, where the file does not tell."""
    warning: str = ""
    """What to mind when results on public data are reported."""

    @property
    def source(self) -> str:
        """Where it comes from."""
        return self.url or self.page or f"https://huggingface.co/{self.repository}"


def _family(
    common: Public, members: list[tuple[str, str, float, str, int | None]]
) -> tuple[Public, ...]:
    """Return models that differ in name, encoder, parameters, file and size only."""
    return tuple(
        replace(
            common,
            name=name,
            encoder=encoder,
            parameters=parameters,
            url=f"{common.url}/{file}" if common.url else "",
            repository=f"{common.repository}/{file}" if common.repository else "",
            size=size,
        )
        for name, encoder, parameters, file, size in members
    )


_VJEPA = Public(
    name="",
    format="vjepa",
    encoder="",
    parameters=0,
    licence=NON_COMMERCIAL,
    trained_on=f"VideoMix2M: {EVERYDAY}",
    url=f"{META}/jepa",
)
_VJEPA2 = replace(
    _VJEPA,
    format="vjepa2",
    licence="MIT or Apache-2.0 (see the card of each)",
    trained_on=f"VideoMix22M: {EVERYDAY}",
    url=f"{META}/vjepa2",
)
_VJEPA21 = replace(
    _VJEPA2,
    format="vjepa21",
    licence="MIT (repository; no licence of the weights alone is stated)",
    trained_on=EVERYDAY,
)
_HF_VJEPA2 = replace(
    _VJEPA2,
    format="hf_vjepa2",
    url="",
    repository="facebook",
    files=("model.safetensors", "config.json", "video_preprocessor_config.json"),
)
_HF_VIDEOMAE = replace(
    _HF_VJEPA2,
    format="hf_videomae",
    licence=NON_COMMERCIAL,
    trained_on=f"Kinetics-400: {EVERYDAY}",
    repository="MCG-NJU",
    files=("model.safetensors", "config.json", "preprocessor_config.json"),
)
_DISCOVR = Public(
    name="discovr",
    format="discovr",
    encoder="ViT-B/16",
    parameters=86.2,
    licence="Apache-2.0 (tag of the card; its data are under research-use agreements)",
    trained_on="EchoNet-Dynamic, EchoNet-Pediatric LVH and RVENet",
    repository="Div97/DISCOVR_ADULT_PEDIATRIC_MODEL",
    files=("checkpoint-399.pth",),
    warning=HEARTS_SEEN,
)

CATALOGUE: tuple[Public, ...] = (
    *_family(
        _VJEPA21,
        [
            ("vjepa2.1-vitb", "ViT-B/16", 86.8, "vjepa2_1_vitb_dist_vitG_384.pt", 384),
            ("vjepa2.1-vitl", "ViT-L/16", 304.7, "vjepa2_1_vitl_dist_vitG_384.pt", 384),
            ("vjepa2.1-vitg", "ViT-g/16", 1013.3, "vjepa2_1_vitg_384.pt", 384),
            ("vjepa2.1-vitG", "ViT-G/16", 1844.0, "vjepa2_1_vitG_384.pt", 384),
        ],
    ),
    *_family(
        _VJEPA2,
        [
            ("vjepa2-vitl", "ViT-L/16", 303.9, "vitl.pt", 256),
            ("vjepa2-vith", "ViT-H/16", 631.6, "vith.pt", 256),
            ("vjepa2-vitg", "ViT-g/16", 1012.2, "vitg.pt", 256),
            ("vjepa2-vitg-384", "ViT-g/16", 1012.2, "vitg-384.pt", 384),
        ],
    ),
    *_family(
        _HF_VJEPA2,
        [
            ("hf-vjepa2-vitl", "ViT-L/16", 303.9, "vjepa2-vitl-fpc64-256", 256),
            ("hf-vjepa2-vith", "ViT-H/16", 631.6, "vjepa2-vith-fpc64-256", 256),
            ("hf-vjepa2-vitg", "ViT-g/16", 1012.2, "vjepa2-vitg-fpc64-256", 256),
            ("hf-vjepa2-vitg-384", "ViT-g/16", 1012.2, "vjepa2-vitg-fpc64-384", 384),
        ],
    ),
    *_family(
        _VJEPA,
        [
            ("vjepa-vitl", "ViT-L/16", 303.9, "vitl16/vitl16.pth.tar", 224),
            ("vjepa-vith", "ViT-H/16", 631.6, "vith16/vith16.pth.tar", 224),
            ("vjepa-vith-384", "ViT-H/16", 631.6, "vith16-384/vith16-384.pth.tar", 384),
        ],
    ),
    *_family(
        _HF_VIDEOMAE,
        [
            ("videomae-base", "ViT-B/16", 86.2, "videomae-base", 224),
            ("videomae-large", "ViT-L/16", 303.9, "videomae-large", 224),
        ],
    ),
    _DISCOVR,
    Public(
        name="echojepa-vitl",
        format="echojepa",
        encoder="ViT-L/16",
        parameters=303.9,
        licence="unclear (code MIT; data credentialed: ask the authors)",
        trained_on="MIMIC-IV-Echo, from V-JEPA 2's or Kinetics weights",
        page="https://github.com/alif-munim/EchoJEPA",
        warning="trained on MIMIC-IV-Echo: results on MIMIC-IV-Echo are no evidence",
    ),
)


def known(name: str) -> Public | None:
    """Return a checkpoint by its name; ``None`` if we know none."""
    return next((public for public in CATALOGUE if public.name == name), None)


def names() -> list[str]:
    """Return the names of all checkpoints that we know."""
    return [public.name for public in CATALOGUE]


def warning_of(form: str) -> str:
    """Return what to mind of any file of a format, whose origin is not known."""
    return next((public.warning for public in CATALOGUE if public.format == form), "")
