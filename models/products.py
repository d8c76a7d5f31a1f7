"""Products with weights: on a processor by oneDNN, in float32 twice as fast on AMD's."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

HAS_ONEDNN = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
HAS_BFLOAT16 = HAS_ONEDNN and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Linear(nn.Linear):
    """PyTorch's linear layer, computed by ``affine``."""

    def forward(self, rows: Float[Tensor, "*rows inputs"]) -> Float[Tensor, "*rows outputs"]:
        """Return products with the weights, plus offsets."""
        return affine(rows, self.weight, self.bias)


def affine(
    rows: Float[Tensor, "*rows inputs"],
    weight: Float[Tensor, "outputs inputs"],
    offset: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "*rows outputs"]:
    """Return ``rows @ weight.T + offset``.

    PyTorch gives float32 products on a processor to MKL, which keeps to AVX2 on AMD's; oneDNN
    uses AVX-512 on any. In bfloat16 it fills the output with offsets and lets the product add
    to them, which takes longer than to add them afterwards. Elsewhere products are PyTorch's.
    """
    if rows.device.type != "cpu" or not HAS_ONEDNN:
        return F.linear(rows, weight, offset)
    if torch.is_autocast_enabled("cpu"):
        if in_halves():
            return half_product(rows, weight, offset, "none")
        plain = F.linear(rows, weight)
        return plain if offset is None else plain.add_(offset.to(plain.dtype))
    if rows.dtype == weight.dtype == torch.float32:
        found: Tensor = product(rows, weight, offset)
        return found
    return F.linear(rows, weight, offset)


def affine_gelu(
    rows: Float[Tensor, "*rows inputs"],
    weight: Float[Tensor, "outputs inputs"],
    offset: Float[Tensor, " outputs"],
) -> Float[Tensor, "*rows outputs"]:
    """Return the exact GELU of ``affine``: within the product, if no gradient is asked for."""
    if rows.device.type == "cpu" and torch.is_autocast_enabled("cpu") and in_halves():
        return half_product(rows, weight, offset, "gelu")
    return F.gelu(affine(rows, weight, offset))


def in_halves() -> bool:
    """Return whether oneDNN's own product in bfloat16 can serve: it knows no gradient."""
    return HAS_BFLOAT16 and not torch.is_grad_enabled()


def half_product(
    rows: Float[Tensor, "*rows inputs"],
    weight: Float[Tensor, "outputs inputs"],
    offset: Float[Tensor, " outputs"] | None,
    then: Literal["none", "gelu"],
) -> Float[Tensor, "*rows outputs"]:
    """Return a product in bfloat16, rounded after all that belongs to it is done."""
    half = torch.bfloat16
    offset = None if offset is None else offset.to(half)
    found: Tensor = torch.ops.mkldnn._linear_pointwise(
        rows.to(half), weight.to(half), offset, then, [], "none"
    )
    return found


@torch.library.custom_op(
    "echocli::product",
    mutates_args=(),
    schema="(Tensor rows, Tensor weight, Tensor? offset) -> Tensor",
)
def product(rows: Tensor, weight: Tensor, offset: Tensor | None) -> Tensor:
    """Return ``rows @ weight.T + offset``, computed by oneDNN."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, offset, "none", [], "")
    return found


@product.register_fake
def _(rows: Tensor, weight: Tensor, offset: Tensor | None) -> Tensor:
    return rows.new_empty(*rows.shape[:-1], weight.shape[0])


def _keep(
    ctx: FunctionCtx, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor
) -> None:
    rows, weight, _ = inputs
    ctx.save_for_backward(rows, weight)


def _backward(
    ctx: FunctionCtx, grad: Tensor
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    rows, weight = ctx.saved_tensors  # type: ignore[attr-defined]
    for_rows, for_weight, for_offset = ctx.needs_input_grad  # type: ignore[attr-defined]
    flat = grad.flatten(0, -2)
    return (
        product(grad, weight.mT, None) if for_rows else None,
        product(flat.mT, rows.flatten(0, -2).mT, None) if for_weight else None,
        flat.sum(dim=0) if for_offset else None,
    )


product.register_autograd(_backward, setup_context=_keep)
