"""`zoo doctor`: what this installation is, as text to paste into a report."""

import importlib.metadata
import os
import platform
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo._version import version
from zoo.cli.command import Arguments, Command, config_of, emit, si

if TYPE_CHECKING:
    from rich.console import Console

PACKAGES = (
    *("torch", "numpy", "pillow", "safetensors", "onnx", "onnxruntime", "openvino", "optuna", "ray"),
    *("matplotlib", "moocore", "fvcore", "ptflops"),
)

FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "asimddp", "bf16", "i8mm")
"""Features of processors that decide how fast a network runs."""


def _doctor(args: Arguments) -> int:
    document = report(args)
    emit(args, document, lambda console: _print(console, document))
    return 0


def report(args: Arguments) -> dict[str, Any]:
    """Versions, processor, backends, folders, devices, and what is missing for which command."""
    from hw_models.device import device_folders
    from zoo.backends.choice import BACKENDS, available_cores, installed
    from zoo.folders import cache_home, data_home

    return {
        "version": version(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": {"name": _cpu_name(), "cores": available_cores(), **_features()},
        "memory_bytes": _memory(),
        "packages": {name: _version(name) for name in PACKAGES},
        "backends": {name: installed(name) for name in BACKENDS},
        "cuda": _cuda(),
        "cache": str(cache_home()),
        "data": str(data_home()),
        "environment": {key: os.environ[key] for key in ("ZOO_HOME", "ZOO_CONFIG") if key in os.environ},
        "models": len(config_of(args).models),
        "devices": sorted(device_folders()),
        "missing": _missing(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _missing() -> dict[str, list[str]]:
    """Packages that commands need and that are not installed."""
    from zoo.cli import NEEDS

    absent = {command: [name for name in names if find_spec(name) is None] for command, names in NEEDS.items()}
    return {command: names for command, names in absent.items() if names}


def _cpuinfo() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo; empty where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip().casefold(): value.strip() for key, _, value in pairs}


def _cpu_name() -> str:
    about = _cpuinfo()
    return about.get("model name") or about.get("hardware") or platform.processor() or platform.machine()


def _features() -> dict[str, bool]:
    about = _cpuinfo()
    flags = f"{about.get('flags', '')} {about.get('features', '')}".split()
    return {name: name in flags for name in FEATURES if name in flags or name.startswith("avx")}


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _cuda() -> str | None:
    """The first CUDA device that torch finds; None without one, and without torch."""
    if find_spec("torch") is None:
        return None
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _print(console: "Console", document: dict[str, Any]) -> None:
    cpu = document["cpu"]
    features = [name for name in FEATURES if cpu.get(name)]
    packages = ", ".join(f"{name} {version}" for name, version in document["packages"].items() if version)
    absent = ", ".join(name for name, version in document["packages"].items() if not version)
    memory = document["memory_bytes"]
    rows = {
        "zoo": f"{document['version']}, Python {document['python']}, {document['system']}",
        "processor": f"{cpu['name']}, {cpu['cores']} cores, {', '.join(features) or 'none of the features looked for'}",
        "memory": si(memory, "B") if memory else "unknown",
        "CUDA": document["cuda"] or "none",
        "packages": packages,
        "not installed": absent or "none",
        "backends": ", ".join(name for name, installed in document["backends"].items() if installed) or "none",
        "cache": document["cache"],
        "folder": document["data"],
        "environment": ", ".join(f"{key}={value}" for key, value in document["environment"].items()) or "nothing set",
        "devices": ", ".join(document["devices"]),
    }
    for command, names in document["missing"].items():
        rows[f"zoo {command}"] = f"lacks {', '.join(names)}"
    for label, value in rows.items():
        console.print(f"{label + ':':<15} {value}", markup=False, soft_wrap=True)
    if document["missing"]:
        print("zoo: some commands lack packages", file=sys.stderr)


COMMANDS = (Command("doctor", "say what this installation is, to paste into a report", "zoo doctor", _doctor),)
