"""The HTML, read by a parser: nothing from outside, everything escaped, pictures described."""

from html.parser import HTMLParser

from autolabel.report.gallery import Shelf, Shot
from autolabel.report.page import Bars, Chapter, Gaps, Page, Table, Tile, Verdict, render
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


def bars(word: str) -> Bars:
    return Bars(word, word, ((word, "#ffffff"), ("other", "#000000")), ((word, (3, 1)), ("none", (0, 0))))


def page(word: str = "word", verdict: Verdict | None = None) -> Page:
    return Page(
        title=word,
        subtitle=word,
        verdict=verdict or Verdict("kept", word, word),
        tiles=(Tile(word, word, word),),
        chapters=(
            Chapter(word, word, (Table(word, word, (word, word), ((word, word), (word, word))), bars(word))),
            Chapter(
                "second",
                word,
                (
                    Plot(word, word, word, (b"<svg/>", b"<svg></svg>")),
                    Shelf(word, word, (Shot(b"jpeg", word, word),)),
                    Gaps(word, word, ((word, word),)),
                ),
            ),
        ),
        facts=((word, word),),
    )


def test_every_text_is_escaped() -> None:
    html = render(page(EVIL))
    assert EVIL not in html
    read = Reader(html)
    assert not read.all("script")
    assert read.text.count(EVIL) >= 20
    alts = [image["alt"] for image in read.all("img")]
    assert alts == [EVIL, "", f"Pose in {EVIL}. {EVIL}"], "a figure is described once, not once a panel"


def test_nothing_comes_from_outside() -> None:
    html = render(page())
    read = Reader(html)
    assert [image["src"] for image in read.all("img")] == [
        "data:image/svg+xml;base64,PHN2Zy8+",
        "data:image/svg+xml;base64,PHN2Zz48L3N2Zz4=",
        "data:image/jpeg;base64,anBlZw==",
    ]
    assert not {"link", "script", "iframe", "object", "form"} & {tag for tag, _ in read.tags}
    targets = {attributes.get("id") for _, attributes in read.tags}
    assert [a["href"] for a in read.all("a")] == ["#chapter-1", "#chapter-2"]
    assert {"chapter-1", "chapter-2"} <= targets, "links lead to places on the page itself"
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
    read = Reader(render(Page("t", "s", None, (), (), ())))
    assert len(read.all("section")) == 1  # the words
    assert not read.all("table") and not read.all("img") and not read.all("nav")


def test_a_page_of_one_nameless_chapter_has_no_list_of_chapters() -> None:
    read = Reader(render(Page("t", "s", None, (), (Chapter("", "", (bars("b"),)),), ())))
    assert not read.all("nav") and not read.all("a")
    assert [section.get("class") for section in read.all("section")] == [None, None]


def test_what_a_page_holds_is_found_whatever_the_chapter() -> None:
    held = page("w")
    assert [len(held.tables), len(held.bars), len(held.plots), len(held.shelves)] == [1, 1, 1, 1]


def test_columns_of_sentences_are_told_from_numbers() -> None:
    table = Table("t", "c", ("a name that is long, but heads the row", "n", "why"), (("x" * 30, "1", "y" * 30),))
    assert table.texts == {2}
    read = Reader(render(Page("t", "s", None, (), (Chapter("", "", (table,)),), ())))
    assert [(td["class"], td["data-head"]) for td in read.all("td")] == [("", "n"), ("text", "why")]
