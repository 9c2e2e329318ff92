"""A report's page in a browser: it works without an error, sorts and filters, and fits a telephone."""

import shutil

import pytest

from .test_report import page_of, pictures, volumes  # noqa: F401 - fixtures

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'"
    )
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def file(pictures, tmp_path_factory):  # noqa: F811
    path = tmp_path_factory.mktemp("browser") / "report.html"
    page_of(pictures, path)
    return path


@pytest.fixture(scope="module")
def volume_file(volumes, tmp_path_factory):  # noqa: F811
    path = tmp_path_factory.mktemp("browser") / "report.html"
    page_of(volumes, path)
    return path


@pytest.fixture
def opened(browser, file):
    """Return a function that opens the page; what it asks for, and what goes wrong, fails the test at its end."""
    contexts, said = [], []

    def start(path=file, width=1200, scheme="light", script=True):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script, offline=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
        page.goto(path.as_uri())
        return page

    yield start
    for context in contexts:
        context.close()
    assert said == []


def order(page, visible=False):
    rows = page.locator("#table tbody tr:visible" if visible else "#table tbody tr")
    return [name.split()[0] for name in rows.locator("th").all_inner_texts()]


def test_every_picture_loads(opened):
    page = opened()
    sizes = page.evaluate("Promise.all([...document.images].map(one => one.decode().then(() => one.naturalWidth)))")
    assert len(sizes) >= 16
    assert min(sizes) > 0


@pytest.mark.parametrize("width", [320, 390, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(opened, volume_file, width, scheme):
    for page in (opened(width=width, scheme=scheme), opened(volume_file, width=width, scheme=scheme)):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        wide = page.evaluate(
            "[...document.querySelectorAll('h1, h2, h3, h4, p, li, dd, figure, img, svg, details, .scroll')]"
            ".filter(one => one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML)"
        )
        assert wide == []


def test_sorting(opened):
    page = opened()
    original = order(page)
    assert original[:3] == ["w/o", "FreeSDG", "CutMix"]
    head = page.locator("#table thead th").nth(2)
    values = {
        name: page.locator("#table tbody tr").nth(place).locator("td").nth(1).get_attribute("data-value")
        for place, name in enumerate(original)
    }
    known = sorted((name for name in original if values[name]), key=lambda name: -float(values[name]))
    rest = [name for name in original if not values[name]]
    assert head.get_attribute("aria-sort") == "none"
    head.get_by_role("button").click()
    assert (order(page), head.get_attribute("aria-sort")) == (known + rest, "descending")
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert (order(page), head.get_attribute("aria-sort")) == (known[::-1] + rest, "ascending")
    other = page.locator("#table thead th").first
    other.get_by_role("button").click()
    assert other.get_attribute("aria-sort") == "ascending"
    assert head.get_attribute("aria-sort") == "none"
    assert order(page).index("CutMix") < order(page).index("FreeSDG")
    for _ in range(2):
        other.get_by_role("button").click()
    assert order(page) == original


def test_filtering(opened):
    page = opened()
    page.get_by_label("Filter rows").fill("free")
    assert order(page, visible=True) == ["FreeSDG"]
    assert page.locator("#scores-tools output").inner_text() == "1 of 4 rows"
    page.get_by_label("Filter rows").fill("")
    page.get_by_label("Setting").select_option("uda")
    assert order(page, visible=True) == ["CutMix"]


def test_without_script_the_table_is_whole(opened):
    page = opened(script=False)
    assert page.locator("#table tbody tr:visible").count() == 4
    assert page.locator("#table thead button").count() == 0
    assert page.locator("#scores-tools").is_hidden()


def test_dark_is_dark_and_print_is_light(opened):
    page = opened(scheme="dark")
    lightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    assert max(page.evaluate(lightness)) < 60
    page.emulate_media(media="print")
    assert min(page.evaluate(lightness)) == 255
    assert page.locator("nav").is_hidden()


def test_colours_of_drawings_are_defined(opened):
    page = opened(scheme="dark")
    strokes = page.evaluate("[...document.querySelectorAll('svg text')].map(one => getComputedStyle(one).fill)")
    assert strokes
    assert "rgb(0, 0, 0)" not in strokes, "an unknown variable falls back to black"


def test_it_prints(opened):
    assert opened().pdf(prefer_css_page_size=True).startswith(b"%PDF")
