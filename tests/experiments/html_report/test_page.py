"""The page in a real browser, from a file: nothing is asked of a network, and no text of the data becomes markup."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from html_files import HOSTILE, in_browser
from playwright.sync_api import expect

from refrain.experiments.html_report.page import Section, read_asset, render_page
from refrain.experiments.html_report.row_table import AnswerRow, row_table
from refrain.serving.routes import page as server_page

pytestmark = pytest.mark.heavy


def answer_row(i, merged, int4, reference="A b c d e f.", question=None):
    answers = {"base": f"word{i}", "merged": merged, "int4": int4}
    scores = {name: float(text == reference) if i else 0.5 for name, text in answers.items()}
    return AnswerRow(f"rows.jsonl:{i}", question or f"Question {i}?", reference, answers, scores)


@pytest.fixture
def open_rows(open_file, tmp_path):
    """A function that opens the page of these rows."""

    def start(rows, **options):
        file = tmp_path / "report.html"
        table = row_table(rows, "ROUGE-L", "int4", apart="base")
        file.write_text(render_page("Rows", [Section("Rows", table)]), encoding="utf-8")
        return open_file(file, **options)

    return start


@pytest.fixture(scope="module")
def many_rows():
    right = "A b c d e f."
    rows = [answer_row(i, right, right if i % 2 else "A b X d e.") for i in range(5000)]
    return [*rows[:7], answer_row(7, HOSTILE, HOSTILE, right, HOSTILE), *rows[8:]]


def ids(page):
    return page.locator("tbody tr th").all_inner_texts()


@in_browser
def test_five_thousand_rows_are_drawn_in_pieces_sorted_and_filtered(open_rows, many_rows):
    page = open_rows(many_rows)
    expect(page.locator(".count")).to_have_text("100 of 5,000 rows")
    assert page.evaluate("document.querySelectorAll('*').length") < 4000
    page.get_by_role("button", name="Row").click()
    assert ids(page)[:2] == ["rows.jsonl:0", "rows.jsonl:1"] and len(ids(page)) == 100
    page.get_by_role("button", name="Row").click()
    assert ids(page)[0] == "rows.jsonl:4999"
    page.get_by_label("Only wrong").check()
    expect(page.locator(".count")).to_have_text("100 of 2,501 rows, filtered from 5,000")
    page.get_by_label("Score of").select_option("merged")
    expect(page.locator(".count")).to_have_text("1 of 1 rows, filtered from 5,000")
    page.get_by_label("Only wrong").uncheck()
    page.get_by_label("Only where models other than base differ").check()
    expect(page.locator(".count")).to_have_text("100 of 2,500 rows, filtered from 5,000")
    page.get_by_label("Search").fill("QUESTION 4998?")
    assert ids(page) == ["rows.jsonl:4998"]
    page.get_by_label("Search").fill("")
    page.locator(".more").scroll_into_view_if_needed()
    expect(page.locator("tbody tr")).to_have_count(200)


@in_browser
def test_differences_are_marked_alike_with_scripts_and_without(open_rows, many_rows):
    page = open_rows(many_rows[:3])
    still = page.locator("tbody").inner_html()
    page.get_by_label("Search").fill("question")
    assert page.locator("tbody").inner_html() == still
    first = page.locator("tbody tr", has_text="rows.jsonl:2").locator("td").nth(1)
    assert first.locator("del").all_inner_texts() == ["c", "f"] and first.locator("ins").last.inner_text() == "X"
    expect(first).to_contain_text("merged = reference")
    without = open_rows(many_rows, java_script_enabled=False)
    assert len(ids(without)) == 100
    expect(without.locator(".without-script")).to_be_visible()
    expect(without.locator(".controls")).to_be_hidden()


@in_browser
def test_no_text_becomes_markup(open_rows, many_rows):
    page = open_rows(many_rows[:8])
    for _ in range(2):
        hostile = page.locator("tbody tr", has_text="rows.jsonl:7")
        assert hostile.locator(".question").evaluate("each => each.textContent") == HOSTILE
        page.get_by_label("Search").fill("taken")
        expect(page.locator("tbody tr")).to_have_count(1)
    assert page.title() == "Rows" and page.locator("b").count() == 0


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_anybody_can_use_it(open_rows, many_rows, scheme):
    page = open_rows(many_rows[:8], color_scheme=scheme)
    found = Axe().run(page).response["violations"]
    assert not [(each["id"], each["nodes"][0]["html"]) for each in found]
    page.emulate_media(media="print")
    expect(page.locator(".controls")).to_be_hidden()
    expect(page.locator("tbody tr")).to_have_count(8)
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360


def test_the_same_bytes_for_the_same_rows_and_only_one_style_and_one_script(many_rows):
    first, again = (render_page("Rows", [Section("R", row_table(many_rows[:20], "F1", "int4"))]) for _ in range(2))
    assert first == again
    policy = re.search('content="(.*?)"', first)[1]
    assert (
        policy.startswith("default-src 'none';") and "unsafe" not in policy and not re.search("https?:|//[a-z]", first)
    )
    assert "style=" not in first and HOSTILE not in first


def test_it_has_the_colours_and_the_type_of_the_servers_page():
    theirs = server_page.read_files()["style.css"][0].decode()
    shared = re.findall(r"--(?:paper|ink|quiet|line|red|tint|shade|small): [^;]+;|font: 400 [^;]+;", theirs)
    assert len(shared) == 16 and not [line for line in shared if line not in read_asset("report.css")]
