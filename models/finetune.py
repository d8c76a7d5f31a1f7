"""Training on labels: a head alone, or with some or all blocks of its encoder.

One loop for all of it. Some patients are held out; the weights that serve them best are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.optim import AdamW

from .folds import deal_patients
from .optim import OptimConfig, build_optimizer, shorten
from .schedules import longest_gradient, schedule
from .vit import VisionTransformer

Example: TypeAlias = tuple[tuple[Tensor | None, ...], Tensor]
"""What a model is given, and what it shall say."""

Look: TypeAlias = Callable[[Tensor, torch.Generator | None], Example]
"""From numbers of rows to an example; drawn and varied if there is a generator."""

RowLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From what a model says and what it shall say to the loss of each row."""


class DivergedError(ValueError):
    """The loss was never a number."""


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How labels are learnt: AdamW, a straight rise, then half a cosine to zero."""

    epochs: int = 20
    """Looks at every row, if that makes steps enough (V-JEPA's probe: 20)."""
    least_steps: int = 600
    """Steps of a training whose rows are few."""
    batch: int = 16
    """Rows a step."""
    lr: float = 1e-3
    """Learning rate once warm (V-JEPA's probe)."""
    warmup: float = 0.1
    """Share of the steps over which the learning rate rises."""
    layer_decay: float = 1.0
    """Factor of the learning rate from a block of an encoder to the one below it: what lies
    deep is general and changes least. BEiT: 0.65; 1 trains all alike."""
    weight_decay: float = 0.01
    """On weight matrices only (V-JEPA's probe)."""
    clip: float = 1.0
    """Greatest length of the gradient; 0 leaves it as it is."""
    held_out: float = 0.2
    """Share of the patients by whom the best moment is chosen."""
    checks: int = 20
    """How often they are asked, at equal distances."""
    patience: int = 10
    """Checks without anything better after which training ends. Attention learns in leaps: less
    patience ends before them."""

    def __post_init__(self) -> None:
        if min(self.epochs, self.least_steps, self.batch, self.checks, self.patience) < 1:
            raise ValueError("Epochs, steps, batch, checks and patience must be positive.")
        if not 0 < self.held_out <= 0.5:
            raise ValueError(f"held_out is {self.held_out}; give a share up to a half.")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay is {self.layer_decay}; give a factor up to 1.")

    def optim(self, rows: int) -> OptimConfig:
        """Return how to optimise on so many rows."""
        batch = min(self.batch, rows)
        steps = max(self.least_steps, math.ceil(self.epochs * rows / batch))
        return OptimConfig(
            steps=steps,
            batch=batch,
            lr=self.lr,
            min_lr=0.0,
            warmup_steps=round(self.warmup * steps),
            weight_decay=self.weight_decay,
            weight_decay_end=self.weight_decay,
            betas=(0.9, 0.999),
            clip=self.clip,
        )


@dataclass(frozen=True)
class Check:
    """What the held-out patients said."""

    step: int
    """Steps done."""
    steps: int
    """Steps of the whole training, if nothing ends it sooner."""
    loss: float
    """Mean over the rows trained on since the check before."""
    held_out_loss: float
    """Mean over the rows of the patients held out."""
    best: bool
    """Whether it is the least so far: these weights are kept."""


def hold_out(
    patients: Int[Tensor, " rows"], share: float, generator: torch.Generator
) -> Bool[Tensor, " rows"]:
    """Return which rows are of the patients held out, about a share of the patients.

    Raises:
        ValueError: If there are fewer than two patients.
    """
    return deal_patients(patients, round(1 / share), generator) == 0


def thaw(encoder: VisionTransformer, blocks: int) -> None:
    """Let the last blocks of an encoder be trained, and what follows them; freeze the rest.

    Args:
        encoder: Changed in place.
        blocks: How many; as many as there are, or more, train its patch embedding too.

    Raises:
        ValueError: If it is none.
    """
    if blocks < 1:
        raise ValueError(f"{blocks} blocks to train; a frozen encoder needs a probe instead.")
    encoder.requires_grad_(True)
    for parameter in encoder.bottom(max(0, encoder.config.depth - blocks)):
        parameter.requires_grad_(False)


def layered_optimizer(model: nn.Module, optim: OptimConfig, layer_decay: float) -> AdamW:
    """Return AdamW whose groups have a ``share`` of the learning rate: less for deeper blocks.

    The head and the norm before it learn at the full rate, the last block at ``layer_decay`` of
    it, the block below at its square, and the patch embedding at its power of depth + 1.

    Args:
        model: With an encoder in it, or without.
        optim: How to optimise.
        layer_decay: From a block to the one below it.

    Source:
        Bao et al. 2022, BEiT (arXiv 2106.08254), fine-tuning with layer-wise decay.
    """
    shares = _shares(model, layer_decay)
    groups = []
    for group in build_optimizer(model, optim).param_groups:
        of_each = [shares.get(id(parameter), 1.0) for parameter in group["params"]]
        for share in sorted(set(of_each), reverse=True):
            pairs = zip(group["params"], of_each, strict=True)
            groups.append(
                {**group, "params": [p for p, s in pairs if s == share], "share": share}
            )
    return AdamW(groups)


def _shares(model: nn.Module, layer_decay: float) -> dict[int, float]:
    """Return the share of the learning rate of an encoder's parameters, by their identity."""
    shares: dict[int, float] = {}
    for encoder in model.modules():
        if isinstance(encoder, VisionTransformer):
            depth = encoder.config.depth
            shares |= dict.fromkeys(map(id, encoder.parameters()), layer_decay ** (depth + 1))
            for number, block in enumerate(encoder.blocks):
                below = layer_decay ** (depth - number)
                shares |= dict.fromkeys(map(id, block.parameters()), below)
            for norm in (*encoder.level_norms, encoder.norm):
                shares |= dict.fromkeys(map(id, norm.parameters()), 1.0)
    return shares


def train_on_labels(
    model: nn.Module,
    look: Look,
    loss: RowLoss,
    held_out: Bool[Tensor, " rows"],
    config: FitConfig,
    generator: torch.Generator,
    *,
    precision: str = "fp32",
) -> Iterator[Check]:
    """Train what asks for gradients, and end with the weights that the held-out rows like best.

    Args:
        model: Changed in place; after the last check it holds the best weights, frozen parts
            untouched, and is in evaluation mode.
        look: What the model is given and shall say.
        loss: What to minimise.
        held_out: Rows to judge by; the others are trained on.
        config: How.
        generator: Orders the rows, and is handed to ``look``.
        precision: ``bf16`` computes matrix products in bfloat16.

    Yields:
        One record a check.

    Raises:
        DivergedError: If the loss was never a number.
    """
    rows, judges = torch.nonzero(~held_out)[:, 0], torch.nonzero(held_out)[:, 0]
    optim = config.optim(len(rows))
    optimizer = layered_optimizer(model, optim, config.layer_decay)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    device = trained[0].device
    best = _Best(model)
    losses: list[Tensor] = []
    order = _shuffled(rows, optim.batch, generator)
    for step in range(1, optim.steps + 1):
        model.train()
        rate = schedule(optimizer, step - 1, optim)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["share"]
        given, wanted = look(next(order), generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            output = model(*given)
        value = loss(output.float(), wanted).mean()
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        shorten(trained, longest_gradient(step - 1, optim))
        optimizer.step()
        losses.append(value.detach())
        if step * config.checks // optim.steps > (step - 1) * config.checks // optim.steps:
            of_judges = _mean_loss(model, look, loss, judges, optim.batch, precision)
            better = best.offer(of_judges)
            of_rows = torch.stack(losses).mean().item()
            yield Check(step, optim.steps, of_rows, of_judges, better)
            losses.clear()
            if best.since == config.patience:
                break
    best.restore()
    model.eval()


class _Best:
    """Keeps the best weights of a model, those that are trained and its running statistics."""

    def __init__(self, model: nn.Module) -> None:
        self.kept = [p for p in model.parameters() if p.requires_grad] + [*model.buffers()]
        self.loss, self.since = math.inf, 0
        self.values: list[Tensor] = []

    def offer(self, loss: float) -> bool:
        """Keep the weights of this moment if the loss is less than ever."""
        self.since += 1
        if loss < self.loss:
            self.loss, self.since = loss, 0
            self.values = [tensor.detach().clone() for tensor in self.kept]
        return not self.since

    @torch.no_grad()
    def restore(self) -> None:
        """Return the model to its best moment.

        Raises:
            DivergedError: If there was none: the loss was never a number.
        """
        if not self.values:
            raise DivergedError("The loss was never finite; a lower learning rate may help.")
        for tensor, value in zip(self.kept, self.values, strict=True):
            tensor.copy_(value)


def _shuffled(
    rows: Int[Tensor, " rows"], batch: int, generator: torch.Generator
) -> Iterator[Int[Tensor, " batch"]]:
    """Yield full batches for ever; every row once before any comes again."""
    rest = rows[:0]
    while True:
        while len(rest) < batch:
            rest = torch.cat([rest, rows[torch.randperm(len(rows), generator=generator)]])
        yield rest[:batch]
        rest = rest[batch:]


@torch.no_grad()
def _mean_loss(
    model: nn.Module,
    look: Look,
    loss: RowLoss,
    rows: Int[Tensor, " rows"],
    batch: int,
    precision: str,
) -> float:
    model.eval()
    device = next(model.parameters()).device
    found: list[Float[Tensor, " batch"]] = []
    for drawn in torch.split(rows, batch):
        given, wanted = look(drawn, None)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            output = model(*given)
        found.append(loss(output.float(), wanted))
    return torch.cat(found).mean().item()
