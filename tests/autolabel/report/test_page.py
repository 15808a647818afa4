"""The HTML, read by a parser: nothing from outside, everything escaped, pictures described."""

from html.parser import HTMLParser

from autolabel.report.gallery import Shelf, Shot
from autolabel.report.page import Bars, Page, Table, Tile, Verdict, render
from autolabel.report.plots import Plot

EVIL = "<script>alert('x')</script>\"&"


class Reader(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(word: str = "word", verdict: Verdict | None = None) -> Page:
    return Page(
        title=word,
        subtitle=word,
        verdict=verdict or Verdict("kept", word, word),
        tiles=(Tile(word, word, word),),
        tables=(Table(word, word, (word, word), ((word, word), (word, word))),),
        bars=(Bars(word, word, ((word, "#ffffff"), ("other", "#000000")), ((word, (3, 1)), ("none", (0, 0)))),),
        plots=(Plot(word, word, word, b"<svg/>"),),
        shelves=(Shelf(word, word, (Shot(b"jpeg", word, word),)),),
        facts=((word, word),),
    )


def test_every_text_is_escaped() -> None:
    html = render(page(EVIL))
    assert EVIL not in html
    read = Reader(html)
    assert not read.all("script")
    assert read.text.count(EVIL) >= 20
    assert {image["alt"] for image in read.all("img")} == {EVIL, f"Pose in {EVIL}. {EVIL}"}


def test_nothing_comes_from_outside() -> None:
    html = render(page())
    read = Reader(html)
    assert [image["src"] for image in read.all("img")] == [
        "data:image/svg+xml;base64,PHN2Zy8+",
        "data:image/jpeg;base64,anBlZw==",
    ]
    assert not {"link", "script", "iframe", "object", "form", "a"} & {tag for tag, _ in read.tags}
    assert "http:" not in html and "https:" not in html and "url(" not in html and "@import" not in html
    policy = next(meta for meta in read.all("meta") if "http-equiv" in meta)
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_bars_are_in_proportion_and_told_in_words() -> None:
    read = Reader(render(page()))
    widths = [i["style"] for i in read.all("i") if "title" in i]
    assert widths == ["background: #ffffff; width: 75.000%", "background: #000000; width: 25.000%"]
    labels = [div["aria-label"] for div in read.all("div") if div.get("role") == "img"]
    assert labels == ["word 3, other 1", "word 0, other 0"]


def test_verdicts_are_told_apart() -> None:
    for kind in ("kept", "refused", "open"):
        sections = Reader(render(page(verdict=Verdict(kind, "s", "r")))).all("section")
        assert sections[0]["class"] == f"verdict {kind}"


def test_a_page_with_nothing_on_it_is_a_page() -> None:
    read = Reader(render(Page("t", "s", None, (), (), (), (), (), ())))
    assert len(read.all("section")) == 1  # the words
    assert not read.all("table") and not read.all("img")
