"""What is compared: commits, tags, branches, experiments and the workspace, by the names that people give them."""

import difflib
import re
from dataclasses import dataclass
from functools import cached_property

from refrain.pipeline import dvc_files, git, paths, revisions

WORKSPACE = "workspace"
EXPERIMENTS = "refs/exps"


@dataclass(frozen=True)
class Run:
    """A run, and the variant of its model that is asked for."""

    name: str
    kind: str  # commit, experiment or workspace
    commit: str  # empty of the workspace
    variant: str  # best, base, merged, or one of models/onnx

    @cached_property
    def lock(self) -> dvc_files.Lock:
        """The stages of its dvc.lock; ValueError when there is none."""
        if self.commit:
            return revisions.read_lock(self.commit)
        if lock := dvc_files.current_lock():
            return lock
        raise ValueError("workspace: there is no dvc.lock, so nothing was run here; `dvc repro` runs it")

    def read_params(self) -> str:
        """Its params.yaml; empty when there is none."""
        if self.commit:
            return revisions.read_git_file(self.commit, str(paths.PARAMS))
        return paths.PARAMS.read_text(encoding="utf-8") if paths.PARAMS.is_file() else ""

    def describe(self) -> str:
        """What it is, in a few words."""
        if not self.commit:
            return "the workspace as it is"
        day, _, subject = git.run_git("log", "-1", "--format=%cs %s", self.commit).partition(" ")
        return f"{self.kind} {self.commit[:7]} of {day}" + (f", {subject}" if self.kind == "commit" else "")


def find_run(text: str, variant: str) -> Run:
    """The run that a name stands for; `name:variant` chooses the variant of this one."""
    require_one_name(text)
    name, _, own_variant = text.partition(":")
    variant = own_variant or variant
    if name == WORKSPACE:
        return Run(text, WORKSPACE, "", variant)
    require_git(name)
    if commit := git.commit_of(name):
        return Run(text, "commit", commit, variant)
    found = [commit for commit, experiment in list_experiments() if experiment == name]
    if len(found) == 1:
        return Run(text, "experiment", found[0], variant)
    if found:
        commits = ", ".join(commit[:12] for commit in found)
        raise ValueError(f"{name}: {len(found)} experiments have this name; write the commit of one: {commits}")
    fetch = "--unshallow" if git.run_git("rev-parse", "--is-shallow-repository") == "true" else "--tags"
    raise ValueError(f"{name}: this repository has no such commit, tag or experiment{suggest_name(name)}; `git log "
                     f"--oneline` and `dvc exp list --all-commits` list them, `git fetch {fetch}` and `dvc exp pull "
                     f"origin {name}` bring those of others")  # fmt: skip


def require_one_name(text: str) -> None:
    """ValueError for what names no run, or a range of commits."""
    name, colon, variant = text.partition(":")
    if not name or (colon and not variant):
        missing = "variant" if name else "run"
        raise ValueError(f"{text!r}: the name of a {missing} is missing; write HEAD, HEAD:int8 or workspace:int8")
    if ".." in name or name.startswith("^"):
        raise ValueError(f"{name}: it stands for several commits; write the names of two runs, with a blank between")


def require_git(name: str) -> None:
    """ValueError where files are all that is here."""
    if not git.run_git("rev-parse", "--git-dir"):
        raise ValueError(f"{name}: no Git repository is here that could tell which run that is; `git clone` brings one "
                         "with its history")  # fmt: skip


def suggest_name(name: str) -> str:
    """The name that was perhaps meant, as the rest of a sentence; nothing where none is near."""
    if re.search(r"[~^@]", name):  # reckoned from another
        return ""
    heads = git.run_git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags").splitlines()
    known = [WORKSPACE, "HEAD", *heads, *(experiment for _, experiment in list_experiments())]
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def list_experiments(of: str = "") -> list[tuple[str, str]]:
    """Commit and name of each experiment that has finished: of a commit, or of all."""
    place = f"{EXPERIMENTS}/{of[:2]}/{of[2:]}" if of else EXPERIMENTS
    lines = git.run_git("for-each-ref", "--format=%(objectname) %(refname)", place).splitlines()
    refs = [line.split(" ", 1) for line in lines]
    depth = len(f"{EXPERIMENTS}/ab/rest/name".split("/"))
    return [(commit, ref.split("/")[-1]) for commit, ref in refs if len(ref.split("/")) == depth
            and ref.split("/")[2] != "exec"]  # fmt: skip


def remove_experiment(of: str, name: str) -> None:
    """Forget the experiment of this name of a commit, if there is one; other commits keep theirs."""
    git.run_git("update-ref", "-d", f"{EXPERIMENTS}/{of[:2]}/{of[2:]}/{name}")


def experiments_of(name: str, variant: str) -> list[Run]:
    """The experiments of a commit that have finished; ValueError when there are none."""
    found = list_experiments(git.resolve_commit(name))
    if found:
        return [Run(experiment, "experiment", commit, variant) for commit, experiment in found]
    others = len(list_experiments())
    ways = f"{others} of other commits can be compared by their names" if others else "make some: `dvc exp run --queue`"
    raise ValueError(f"{name}: no experiment of this commit has finished; {ways}")
