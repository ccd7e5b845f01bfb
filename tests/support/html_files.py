"""HTML files in a real browser, and a text that would do harm if it became a part of one."""

import shutil

import pytest

BROWSER = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
in_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium")
HOSTILE = "</script ><script>document.title = 'taken'</script><b onclick=x>\u2028&amp;\u2029</tbody><!--"
