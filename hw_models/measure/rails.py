"""Supply rails by the names that boards give them, and what each supplies.

A rail that supplies more than the GPU is never taken for the GPU's, whatever its name holds.
"""

from collections.abc import Iterable, Mapping

GPU, BOARD, CARD = "GPU rail", "board", "card"
"""What `Device.power_covers` says of the rails that a prediction of power is compared with."""

RAILS: Mapping[str, str] = {
    "VDD_GPU": GPU,  # TX2 before JetPack 4.3; AGX Thor
    "VDD_SYS_GPU": GPU,  # TX2 with JetPack 4.3 and later
    "POM_5V_GPU": GPU,  # Nano, TX1
    "GPU": GPU,  # AGX Xavier with JetPack 4
    "VDD_IN": BOARD,  # TX2, Xavier NX, Orin Nano, Orin NX
    "POM_5V_IN": BOARD,  # Nano, TX1
    "VIN": BOARD,  # AGX Thor
    "VDD_CPU_GPU_CV": "CPU, GPU and CV",  # Xavier NX, Orin Nano, Orin NX
    "VDD_GPU_SOC": "GPU and SoC",  # AGX Orin
    "VDD_CPU_SOC_MSS": "CPU, SoC and MSS",  # AGX Thor
}
"""Rails of Jetsons (Jetson Linux developer guides, power monitors); others supply no GPU."""


def covering(names: Iterable[str], covers: str) -> list[str]:
    """The rails that supply exactly what `covers` says."""
    return [name for name in names if covers_of(name) == covers]


def covers_of(name: str) -> str:
    """What a rail supplies; a card of nvidia-smi is named by its number, as `gpu0`."""
    if name.startswith("gpu"):
        return CARD
    return RAILS.get(name, "another part")
