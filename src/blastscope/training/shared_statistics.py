"""Batch normalization over the cells of all devices, so that a batch is one batch.

PyTorch's ``SyncBatchNorm`` runs on GPUs alone and would replace layers of timm that also hold an
activation. Here every call of ``torch.nn.functional.batch_norm`` in a block is computed with the
statistics of all ranks, whichever layer makes it, on every device.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class SharedStatistics(TorchFunctionMode):
    """Within the block, batch normalization in training takes mean and variance of all ranks."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize ``input`` (N, C, ...) as ``functional.batch_norm`` does, over all ranks."""
    if not training:
        return functional.batch_norm(
            input, running_mean, running_var, weight, bias, False, momentum, eps
        )
    values = input.float()
    others = [axis for axis in range(values.dim()) if axis != 1]
    shape = [1, -1] + [1] * (values.dim() - 2)
    own = values.numel() // values.shape[1]
    sums = torch.cat([values.sum(others), values.new_tensor([own])])
    sums = _over_ranks(sums)
    count = float(sums[-1].detach())
    mean = sums[:-1] / count
    centred = values - mean.view(shape)
    variance = _over_ranks(centred.square().sum(others)) / count
    if running_mean is not None and running_var is not None:
        with torch.no_grad():  # the running variance is the unbiased one, as PyTorch's
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            unbiased = variance * count / max(count - 1, 1)
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    found: Tensor = centred * torch.rsqrt(variance + eps).view(shape)
    if weight is not None:
        found = found * weight.float().view(shape)
    if bias is not None:
        found = found + bias.float().view(shape)
    return found.to(input.dtype)


def _over_ranks(values: Tensor) -> Tensor:
    """Return the sum of all ranks' values; gradients go back to all of them."""
    summed: Tensor = all_reduce(values)  # type: ignore[no-untyped-call]
    return summed
