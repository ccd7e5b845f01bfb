"""Disk, memory, cores, and what the processor can do that ONNX Runtime makes use of."""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from refrain.experiments.checks.finding import Finding
from refrain.experiments.machine import free_memory, processor_flags, processor_quota
from refrain.models.pretrained.resources import format_bytes
from refrain.pipeline.cores import available_cores

LEAST_DISK, ENOUGH_DISK = 0.5e9, 5e9  # a run of the tiny base writes 0.1 GB, one of a base of 135 M about 3 GB
LEAST_MEMORY, ENOUGH_MEMORY = 0.8e9, 2e9  # the proof of the tiny base takes 0.8 GB, nearly all of it libraries
ESTIMATES = "`refrain inspect MODEL` estimates what each stage needs"
DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}  # int8 products in one instruction
WIDTHS = ("avx512f", "avx2", "avx", "asimd")


def check_machine(places: dict[str, Path]) -> Iterator[Finding]:
    """The disks that hold these places, and this process's share of the rest."""
    yield check_disk({**places, "temporary files": Path(tempfile.gettempdir())})
    yield check_memory(free_memory())
    yield check_threads(available_cores(), processor_quota())
    yield check_processor(platform.machine(), processor_flags())


def check_disk(places: dict[str, Path]) -> Finding:
    """The least that is free of the disks."""
    by_disk = {nearest_folder(place).stat().st_dev: (name, place) for name, place in reversed(places.items())}
    free = {name: shutil.disk_usage(nearest_folder(place)).free for name, place in reversed(by_disk.values())}
    text = ", ".join(f"{format_bytes(size)} free for {name}" for name, size in free.items())
    least = min(free.values())
    if least >= ENOUGH_DISK:
        return Finding("disk", "ok", text)
    advice = f"free some, `dvc gc --workspace` drops results of other commits from the cache; {ESTIMATES}"
    return Finding("disk", "stop" if least < LEAST_DISK else "note", text, advice)


def nearest_folder(place: Path) -> Path:
    """The place, or the folder above it that is there."""
    return next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.is_dir())


def check_memory(free: int | None) -> Finding:
    if free is None:
        return Finding("memory", "ok", "this system does not say how much is free")
    text = f"{format_bytes(free)} free"
    if free >= ENOUGH_MEMORY:
        return Finding("memory", "ok", text)
    return Finding("memory", "stop" if free < LEAST_MEMORY else "note", text, f"close other programs; {ESTIMATES}")


def check_threads(cores: int, quota: float | None) -> Finding:
    """Whether more threads would run than there are cores for them."""
    wanted, load = os.environ.get("OMP_NUM_THREADS", ""), os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    limit = min(cores, quota or cores)
    text = f"{cores} cores, load {load:.1f}" + (f", limited to {quota:g} of them" if limit < cores else "")
    text += f", OMP_NUM_THREADS={wanted}" if wanted else ""
    threads = int(wanted) if wanted.isdecimal() else cores
    if threads > limit:
        enough = max(1, int(limit))
        advice = f"`export OMP_NUM_THREADS={enough}`, and --threads {enough}: more threads than cores are slow"
        return Finding("threads", "note", text, advice)
    if load > cores + 0.5:
        return Finding("threads", "note", text, "other programs use the cores: expect trainings and timings to be slow")
    return Finding("threads", "ok", text)


def check_processor(machine: str, flags: frozenset[str] | None) -> Finding:
    """What int8 and int4 variants are fast with."""
    if flags is None:
        return Finding("processor", "ok", f"{machine}; this system does not list what it can do")
    has = [name for name in WIDTHS if name in flags][:1] + sorted(DOT_PRODUCTS & flags)
    text = f"{machine}, {', '.join(has) or 'no vector instructions'}"
    if DOT_PRODUCTS & flags:
        return Finding("processor", "ok", text)
    if {"avx2", "asimd"} & flags:
        return Finding("processor", "note", text, "no int8 dot products (VNNI): `refrain bench` tells whether int8 or "
                       "int4 is faster than fp32 here")  # fmt: skip
    return Finding("processor", "note", text, "without AVX2 quantised variants may be slower than fp32: "
                   "`refrain bench` tells")  # fmt: skip
