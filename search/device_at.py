"""A device at a clock."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceAt:
    """A device, at a clock or at its default."""

    name: str
    clock_mhz: float | None = None

    def __str__(self) -> str:
        return self.name if self.clock_mhz is None else f"{self.name}@{self.clock_mhz:g}"
