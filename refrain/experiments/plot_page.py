"""The page of `dvc plots show` and `diff` with all scripts inside, for DVC's own asks the network for them.

`python -m refrain.experiments.plot_page` writes it again, from the vl-convert-python that is installed.
"""

from pathlib import Path

PAGE = Path(".dvc/plots/page.html")  # named in .dvc/config
NOTICE = Path(".dvc/plots/NOTICE")
HTML = """\
<!DOCTYPE html>
<!--
{notice}-->
<html lang="en">
<head>
<meta charset="utf-8">
{{refresh_tag}}
<title>DVC plots</title>
<style>body {{ font-family: "Liberation Sans", Arial, Helvetica, sans-serif; margin: 24px; background: white }}</style>
<script>(() => {{ {scripts} }})();</script>
</head>
<body>
{{plot_divs}}
</body>
</html>
"""


def build_page(notice: str) -> str:
    """A template for DVC, the same for the same version of vl-convert-python."""
    import vl_convert  # of the extra train

    return HTML.format(notice=notice, scripts=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


if __name__ == "__main__":
    PAGE.write_text(build_page(NOTICE.read_text(encoding="utf-8")), encoding="utf-8")
