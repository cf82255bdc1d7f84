"""Copies between the CPU and an accelerator."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def upload(values: np.ndarray | Tensor | Sequence[float], device: torch.device | str) -> Tensor:
    """Copy values to a device without waiting for an accelerator; the type is that of `torch.as_tensor`.

    A plain `.to(device)` or `torch.tensor(values, device=device)` waits until an accelerator has finished its work. A
    copy to the CPU has to wait: its values could be read before they are there.
    """
    return torch.as_tensor(values).to(device, non_blocking=torch.device(device).type != "cpu")
