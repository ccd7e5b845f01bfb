"""A pretrained base with a chat template, as the base and train stages leave it: an export takes its template along."""

import shutil
from pathlib import Path

from omegaconf import OmegaConf


def add_template(base: Path, preset: str, out: Path) -> Path:
    """A folder of links to the files of a base, with the template of a preset of conf/template in place of its own."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for file in base.iterdir():
        (out / file.name).symlink_to(file.resolve())
    (out / "chat_template.jinja").unlink(missing_ok=True)
    (out / "chat_template.jinja").write_text(OmegaConf.load(f"conf/template/{preset}.yaml").jinja, encoding="utf-8")
    return out
