"""Environments for the contenders that are no dependency of this repository, made once under a folder's .cache."""

import os
import subprocess
import venv
from dataclasses import dataclass, field
from pathlib import Path

CONSTRAINTS = Path("constraints.txt")  # what they share with this repository they have in its versions


class CannotRunError(Exception):
    """Why a contender cannot run, in one line."""


@dataclass(frozen=True)
class Environment:
    packages: list[str]
    build: dict[str, str] = field(default_factory=dict)  # variables that a build from source reads


ENVIRONMENTS = {
    "genai": Environment(
        ["onnxruntime-genai==0.15.2", "onnxruntime", "onnx", "onnx-ir", "torch", "transformers", "safetensors"]
    ),
    "openvino": Environment(
        ["optimum-intel[openvino]==1.27.0", "openvino==2026.4.1", "nncf==3.4.0", "torch", "transformers", "numpy"]
    ),
    "llama": Environment(
        ["llama-cpp-python==0.3.36", "gguf", "safetensors", "numpy"],
        {"CMAKE_ARGS": "-DGGML_NATIVE=ON", "CMAKE_BUILD_PARALLEL_LEVEL": "2", "PIP_NO_BINARY": "llama-cpp-python"},
    ),
}


def make_interpreter(name: str, folder: Path) -> Path:
    """The Python of an environment, made now if it is not there; CannotRunError when it cannot be made."""
    environment, home = ENVIRONMENTS[name], folder.resolve() / ".cache" / name
    python, installed = home / "bin" / "python", home / "installed"
    packages = "\n".join(environment.packages)
    if not installed.is_file() or installed.read_text() != packages:
        venv.create(home, with_pip=True, clear=True)
        constraints = home / "constraints.txt"
        shared = CONSTRAINTS.read_text(encoding="utf-8").splitlines(keepends=True)
        constraints.write_text("".join(line for line in shared if not is_pinned(line, environment)))
        command = [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--constraint",
            str(constraints),
            *environment.packages,
        ]
        result = subprocess.run(command, env=os.environ | environment.build, stderr=subprocess.PIPE, text=True)
        if result.returncode:
            raise CannotRunError(f"pip: {result.stderr.strip().splitlines()[-1]}")
        installed.write_text(packages)
    return python


def is_pinned(line: str, environment: Environment) -> bool:
    """Whether a contender has another version of a package than this repository."""
    name = line.partition("==")[0]
    return any(package.startswith(f"{name}==") for package in environment.packages)
