"""Several processes, one for each device, as torchrun starts them."""

import os
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from zoo.errors import ZooError

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Ranks:
    """The place of a process among all of them."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the files and reports."""
        return self.rank == 0

    def share(self, indices: NDArray[Any]) -> NDArray[Any]:
        """The part of a batch that falls to this process; raises ZooError where a process would get nothing."""
        if len(indices) < self.count:
            raise ZooError(f"{len(indices)} samples cannot be shared by {self.count} processes; make --batch larger")
        return indices[self.rank :: self.count]

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with its gradients averaged over the processes."""
        if self.count == 1:
            return module
        return nn.parallel.DistributedDataParallel(module)

    def agree_(self, module: nn.Module) -> None:
        """Give every process the first one's BN statistics, which each gathers from its own samples."""
        if self.count > 1:
            for buffer in module.buffers():
                torch.distributed.broadcast(buffer, 0)

    def mean(self, value: float) -> float:
        """Mean of a number over the processes."""
        return float(self._reduced(np.array([value]))[0]) / self.count

    def sum(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sum of arrays over the processes."""
        return self._reduced(values)

    def _reduced(self, values: NDArray[Any]) -> NDArray[Any]:
        if self.count == 1:
            return values
        tensor = torch.from_numpy(values.copy())
        on = tensor.cuda() if torch.distributed.get_backend() == "nccl" else tensor
        torch.distributed.all_reduce(on)
        return on.cpu().numpy()


ALONE = Ranks()
"""One process."""


def ranks(device: str) -> Ranks:
    """The place that torchrun's environment gives this process; one of one without it."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return ALONE
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    torch.distributed.init_process_group("nccl" if cuda else "gloo")
    return Ranks(torch.distributed.get_rank(), count)
