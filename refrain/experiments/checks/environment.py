"""Python, and the packages that are installed: whether they are within their ranges, and those tested together."""

import importlib.util
import platform
import shutil
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import refrain
from refrain.experiments.checks.finding import Finding
from refrain.pipeline import paths

PROJECT, CONSTRAINTS = Path("pyproject.toml"), Path("constraints.txt")
INSTALL = "`make install`, then `source .venv/bin/activate`"


def check_environment() -> Iterator[Finding]:
    """The interpreter, what the command runs, its packages."""
    yield check_python()
    yield check_source()
    project = read_project()
    yield check_ranges(project)
    yield check_training(project)
    if CONSTRAINTS.is_file():
        yield check_tested_versions(CONSTRAINTS.read_text(encoding="utf-8"), project)
    yield check_runtime()


def check_python() -> Finding:
    """Whether `python`, which stages are started with, is the one that runs this."""
    version, found = platform.python_version(), shutil.which("python")
    if not paths.CONF.is_dir() or (found and Path(found).parent == Path(sys.executable).parent):
        return Finding("python", "ok", f"{version}, {sys.executable}")
    other = f"`python` is {found}" if found else "there is no `python` on the PATH"
    way_out = f"`source {Path(sys.prefix) / 'bin/activate'}`" if sys.prefix != sys.base_prefix else INSTALL
    return Finding("python", "note", f"{version}, {sys.executable}; {other}, and stages run that", way_out)


def check_source() -> Finding:
    """Whether the code of the command is that of the repository."""
    place = Path(refrain.__file__).parent
    if not Path("refrain/__init__.py").is_file() or place.samefile("refrain"):
        return Finding("refrain", "ok", f"{refrain.__version__}, {place}")
    text = f"{refrain.__version__}, {place}; stages run the code of this repository"
    return Finding("refrain", "note", text, f"{INSTALL}: else the command and the stages may differ")


def read_project() -> dict[str, Any]:
    """Dependencies and extras: of the repository here, else of what is installed."""
    if PROJECT.is_file() and (project := tomllib.loads(PROJECT.read_text(encoding="utf-8")).get("project")):
        return dict(project)
    names = metadata.packages_distributions().get("refrain", [])
    requirements = [line for name in names[:1] for line in metadata.requires(name) or []]
    core = [line for line in requirements if "extra ==" not in line]
    train = [line.partition(";")[0] for line in requirements if 'extra == "train"' in line]
    return {"dependencies": core, "optional-dependencies": {"train": train}}


def check_ranges(project: dict[str, Any]) -> Finding:
    """What serves: each package there, and within its range."""
    problems = find_problems(project.get("dependencies", []))
    if not problems:
        return Finding("packages", "ok", f"{len(project.get('dependencies', []))} of what serves, within their ranges")
    return Finding("packages", "stop", ", ".join(problems), advise(problems))


def check_training(project: dict[str, Any]) -> Finding:
    """What trains: needed in a repository alone."""
    wanted = project.get("optional-dependencies", {}).get("train", [])
    problems = find_problems(wanted)
    missing = [problem for problem in problems if problem.endswith("missing")]
    if not problems:
        return Finding("extra train", "ok", f"{len(wanted)} packages, within their ranges")
    if len(missing) > len(wanted) // 2:
        text = "not installed; chat and generate do without"
        return Finding("extra train", "stop" if paths.CONF.is_dir() else "ok", text, f"{INSTALL}, to run the stages")
    return Finding("extra train", "stop" if paths.CONF.is_dir() else "note", ", ".join(problems), advise(problems))


def find_problems(requirements: list[str]) -> list[str]:
    """Each requirement that is not met."""
    result = []
    for requirement in map(Requirement, requirements):
        version = find_version(requirement.name)
        if version is None:
            result.append(f"{requirement.name} missing")
        elif not requirement.specifier.contains(version, prereleases=True):
            result.append(f"{requirement.name} {version} is not {requirement.specifier}")
    return result


def find_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def advise(problems: list[str]) -> str:
    """How to install what is missing or of another version."""
    if CONSTRAINTS.is_file():
        return INSTALL
    return f"`pip install --upgrade {' '.join(problem.partition(' ')[0] for problem in problems)}` in the ranges above"


def check_tested_versions(constraints: str, project: dict[str, Any]) -> Finding:
    """Versions that were tested together, of what is asked for by name."""
    pins = dict(line.partition("==")[::2] for line in constraints.splitlines() if "==" in line)
    tested = {canonicalize_name(name): version for name, version in pins.items()}
    asked = [*project.get("dependencies", []), *project.get("optional-dependencies", {}).get("train", [])]
    names = [canonicalize_name(Requirement(line).name) for line in asked]
    found = {name: version.partition("+")[0] for name in names if (version := find_version(name)) and name in tested}
    others = [f"{name} {version} ({tested[name]})" for name, version in found.items() if version != tested[name]]
    if importlib.util.find_spec("kernels"):
        others.append("kernels, which runs code of the Hub (none)")
    if not others:
        return Finding("versions", "ok", f"{len(found)} as in {CONSTRAINTS}, which fit together")
    text = f"not as tested: {', '.join(others[:6])}{f' and {len(others) - 6} more' if len(others) > 6 else ''}"
    return Finding("versions", "note", text, f"{INSTALL}, if something fails; bytes may differ with other versions")


def check_runtime() -> Finding:
    """Whether ONNX Runtime loads."""
    try:
        import onnxruntime

        if "CPUExecutionProvider" in onnxruntime.get_available_providers():
            return Finding("onnxruntime", "ok", f"{onnxruntime.__version__}, loads")
        reason = "it has no CPUExecutionProvider"
    except Exception as error:  # a broken build fails in ways of its own
        reason = " ".join(str(error).split())
    return Finding("onnxruntime", "stop", reason, "`pip install --force-reinstall onnxruntime`, and no other flavour")
