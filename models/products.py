"""Products with weights: in float32 on a processor by oneDNN, twice as fast on AMD's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

HAS_ONEDNN = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


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
    uses AVX-512 on any. Other precisions and devices are PyTorch's.
    """
    if (
        rows.device.type == "cpu"
        and rows.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and HAS_ONEDNN
    ):
        found: Tensor = product(rows, weight, offset)
        return found
    return F.linear(rows, weight, offset)


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
