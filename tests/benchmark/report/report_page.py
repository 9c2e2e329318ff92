"""What a report's page holds, read back with the standard library: elements, ids, references, tables."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "hr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    children: list["Element | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def find_all(self, tag: str) -> list["Element"]:
        found = [self] if self.tag == tag else []
        for child in self.children:
            if isinstance(child, Element):
                found += child.find_all(tag)
        return found

    def by_id(self, identifier: str) -> "Element":
        [found] = [one for one in self.everything() if one.attributes.get("id") == identifier]
        return found

    def everything(self) -> list["Element"]:
        return [self, *(one for child in self.children if isinstance(child, Element) for one in child.everything())]


class Page(HTMLParser):
    """A page as a tree; elements that are not closed in order are an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Element("root", {})
        self.open = [self.root]
        self.feed(text)
        self.close()
        assert self.open == [self.root], f"never closed: {[one.tag for one in self.open[1:]]}"

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), f"an attribute of <{tag}> is given twice"
        element = Element(tag, {name: value or "" for name, value in attributes})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag):
        element = self.open.pop()
        assert element.tag == tag, f"</{tag}> closes <{element.tag}>"

    def handle_data(self, text):
        self.open[-1].children.append(text)

    @property
    def elements(self) -> list[Element]:
        return self.root.everything()[1:]

    def section(self, name: str) -> Element:
        return self.root.by_id(name)

    @property
    def sections(self) -> list[str]:
        return [one.attributes["id"] for one in self.root.find_all("section")]

    def rows(self, section: str, table: int = 0) -> dict[str, list[Element]]:
        """Return the cells of a section's table by the text of each row's heading."""
        lines = self.section(section).find_all("table")[table].find_all("tbody")[0].find_all("tr")
        return {line.find_all("th")[0].text: line.find_all("td") for line in lines}

    def loaded(self) -> list[str]:
        """Return every reference that a browser would follow by itself to somewhere outside the page."""
        found = [
            one.attributes[name]
            for one in self.elements
            for name in ("src", "srcset", "href", "data", "poster", "action", "background")
            if name in one.attributes and not one.attributes[name].startswith(("#", "data:"))
        ]
        styles = [one.text for one in self.root.find_all("style")]
        styles += [one.attributes.get("style", "") for one in self.elements]
        return found + [match for style in styles for match in re.findall(r"@import.*|url\((?!#)[^)]*\)", style)]
