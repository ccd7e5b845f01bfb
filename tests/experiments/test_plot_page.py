"""The page of `dvc plots show` in a browser without a network."""

import shutil
import subprocess

import pytest
from dvc.repo import Repo
from dvc_render import render_html
from dvc_render.vega import VegaRenderer
from places import ROOT

from refrain.experiments import plot_page

BROWSER = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
SWITCHES = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
OFFLINE = ["--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=direct://"]
LOSSES = [{"filename": f"{curve}/loss.tsv", "step": "1", "loss": "2.5", "rev": "now"} for curve in ("val", "kept")]


def page(folder):
    """A page as DVC makes it: one plot of our templates, one of its own, and one without data."""
    words = {"template_dir": str(ROOT / ".dvc/plots"), "x": "step", "y": "loss", "y_label": "loss (nats)"}
    plots = [VegaRenderer(LOSSES, name, title=name, template=name, **words) for name in ("loss", "linear")]
    return render_html([*plots, VegaRenderer([], "empty", **words)], folder / "index.html", ROOT / plot_page.PAGE)


def test_the_configuration_names_the_page():
    with Repo(str(ROOT)) as repository:
        assert ROOT / ".dvc" / repository.config["plots"]["html_template"] == ROOT / plot_page.PAGE


@pytest.mark.heavy
def test_the_page_is_what_the_installed_library_makes():
    notice = (ROOT / plot_page.NOTICE).read_text(encoding="utf-8")
    made, kept = plot_page.build_page(notice), (ROOT / plot_page.PAGE).read_text(encoding="utf-8")
    assert made == kept, "another vl-convert-python: python -m refrain.experiments.plot_page"
    assert "</script" not in made.split("<script>")[1].split("})();</script>")[0]


@pytest.mark.heavy
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium")
def test_plots_are_drawn_without_a_network(tmp_path):
    file = page(tmp_path)
    assert "<script src" not in file.read_text(encoding="utf-8")
    command = [BROWSER, *SWITCHES, *OFFLINE, f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom"]
    dom = subprocess.run([*command, file.as_uri()], capture_output=True, text=True, check=True, timeout=120).stdout
    body = dom.rpartition("<body>")[2]
    assert body.count('class="marks"') == 3
    assert "weights kept: step 1, validation loss 2.500" in body and ">loss (nats)</text>" in body
