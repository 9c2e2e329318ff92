"""Hook of MkDocs: adds the generated pages and pictures, and refuses pages that load anything from another host."""

import re
from pathlib import Path
from typing import Any

from architecture import architecture_svg
from command_line import command_line_page
from drawn import method_pictures, tutorial_pictures
from method_pages import ROOT, method_list, method_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from task_pages import task_list, task_pages

from ssdg.datasets import TASKS
from ssdg.methods import METHODS

TUTORIAL = "own-data.md"
FRONT = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "README.md": "index.md"}
"""Files of the repository's root that are pages too."""

MARKERS = {
    "<!-- list of methods -->": method_list,
    "<!-- list of tasks -->": task_list,
    "<!-- picture of the packages -->": architecture_svg,
}
LOADS = re.compile(
    r"<(?:script|img|iframe|source|video)\b[^>]*\ssrc=[\"']?(?:https?:)?//[^>]*>"
    r"|<link\b(?=[^>]*rel=[\"']?(?:stylesheet|preconnect|preload|icon))[^>]*href=[\"']?(?:https?:)?//[^>]*>"
)
"""What makes a browser ask another host; a link to one is nothing of the kind."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the generated pages to the navigation."""
    of_methods = [{entry.label: f"methods/{name}.md"} for name, entry in METHODS.items()]
    generated = {"Methods": of_methods, "Tasks": [{name: f"tasks/{name}.md"} for name in TASKS]}
    for section in config.nav or ():
        for title, pages in generated.items():
            section.get(title, []).extend(pages)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages and pictures that no file holds."""
    contents: dict[str, str | bytes] = {"commands.md": command_line_page(), **method_pages(), **task_pages()}
    for name, path in FRONT.items():
        contents[path] = front_page((ROOT / name).read_text(encoding="utf-8"))
    contents |= dict(method_pictures())
    contents |= dict(tutorial_pictures((ROOT / "docs" / TUTORIAL).read_text(encoding="utf-8")))
    contents |= {f"root/{path}": (ROOT / path).read_bytes() for path in _pictures_of_the_root()}
    for path, content in contents.items():
        files.append(File.generated(config, path, content=content))
    return files


def front_page(text: str) -> str:
    """Return a page of the repository's root with its links as the site has them; what the site lacks is code."""

    def moved(match: re.Match[str]) -> str:
        picture, words, place = match.groups()
        path, hash_, anchor = place.partition("#")
        if not path or "://" in path:
            return match.group()
        if path.startswith("docs/"):
            return f"{picture}[{words}]({path.removeprefix('docs/')}{hash_}{anchor})"
        if path in FRONT:
            return f"[{words}]({FRONT[path]}{hash_}{anchor})"
        return f"![{words}](root/{path})" if picture else f"{words} (`{path}`)"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", moved, text)


def _pictures_of_the_root() -> list[str]:
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in FRONT)
    paths = re.findall(r"!\[[^\]]*\]\((?!docs/)([^)\s:]+)\)", text)
    return list(dict.fromkeys(paths))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what hand-written pages ask for by a comment."""
    for marker, make in MARKERS.items():
        if marker in markdown:
            markdown = markdown.replace(marker, make())
    return markdown


def on_page_content(html: str, **_: Any) -> str:
    """Take the roles of Sphinx out of docstrings that mkdocstrings shows."""
    return re.sub(r":[a-z]+:(?=<code>)", "", html)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site whose pages load something from another host."""
    for page in Path(config.site_dir).rglob("*.html"):
        loaded = LOADS.search(page.read_text(encoding="utf-8"))
        if loaded:
            raise PluginError(f"{page.relative_to(config.site_dir)} loads from another host: {loaded.group()}")
