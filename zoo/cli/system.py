"""Prints what the ESPNet paper measures of a whole system, for `zoo predict --system`."""

from typing import TYPE_CHECKING

from zoo.cli.command import si, table

if TYPE_CHECKING:
    from rich.console import Console

    from hw_models.system import SystemFigures


def print_system(console: "Console", figures: "SystemFigures") -> None:
    """Print the figures, the paper's beside them where it has some."""
    if figures.sensitivity is not None and figures.sensitivity_clocks_mhz:
        low, high = figures.sensitivity_clocks_mhz
        beside = _paper(figures, "sensitivity", ".2f")
        console.print(f"sensitivity to the clock, {low:g} to {high:g} MHz: {figures.sensitivity:.2f}{beside}")
    console.print(f"{figures.fps:.1f} frames/s{_paper(figures, 'min_fps', 'g', 'at least ')}")
    console.print(", ".join(f"{unit} busy {share:.0%}" for unit, share in figures.utilisation.items()))
    reserved = figures.reserved_bytes
    allocator_note = "" if reserved is None else f"; PyTorch's allocator takes at least {si(reserved, 'B')}"
    if figures.recorded_bytes is not None:
        allocator_note += f", a run without torch.no_grad() {si(figures.recorded_bytes, 'B')}"
    console.print(f"memory: {si(figures.memory_bytes, 'B')} of weights and activations{allocator_note}")
    rows = [(kernel.name, f"{kernel.share:.1%}") for kernel in figures.top_kernels]
    console.print(table(None, ("kernels of a kind and size", "share"), rows))
    beside = _paper(figures, "top_kernel_share", ".0%")
    console.print(f"convolutions of one kind and window, at any size: {figures.top_kernel_share:.1%}{beside}")
    if figures.alignment_share is not None:
        beside = _paper(figures, "alignment_share", ".1%")
        console.print(f"aligning memory, if both sides of a kernel are copied: {figures.alignment_share:.1%}{beside}")
    console.print(f"not modelled: {figures.not_modelled}")


def _paper(figures: "SystemFigures", name: str, form: str, bound: str = "") -> str:
    """A figure of the paper in brackets, where it has one."""
    value = figures.published.get(name)
    return f" (the paper's: {bound}{value:{form}})" if value else ""
