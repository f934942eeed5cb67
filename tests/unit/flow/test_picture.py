"""Flows as pictures."""

import re
from collections.abc import Iterator
from xml.etree import ElementTree as ET

import sage
from sage.flow.picture import HEIGHT, WIDTH, html_from_steps, mermaid_from_steps
from sage.flow.stream import Stream

SVG = "{http://www.w3.org/2000/svg}"


def rag() -> tuple[sage.Flow, Stream[dict[str, str]]]:
    flow, docs = sage.Flow("rag"), sage.Index("docs")
    flow.from_collection([{"text": "a"}]).embed(model="minilm", text="text", into="vector").index_into(docs)
    questions = flow.from_collection([{"q": "a?"}]).map(lambda q: q).with_parallelism(2)
    found = questions.embed(model="minilm", text="q", into="vector").retrieve(docs)
    return flow, found


def test_mermaid_shows_models_parallelism_edges_and_what_waits() -> None:
    flow, found = rag()
    found.named('say "hi" <b>').print()
    assert flow.to_mermaid().splitlines() == [
        "flowchart LR",
        '    s0(["from_collection"])',
        '    s1{{"embed<br/>minilm"}}',
        '    s2[("index_into")]',
        '    s3(["from_collection-2"])',
        '    s4["map x2"]',
        '    s5{{"embed-2<br/>minilm"}}',
        '    s6["say #34;hi#34; #60;b#62;"]',
        '    s7[("print")]',
        "    s0 --> s1",
        "    s1 --> s2",
        "    s3 --> s4",
        "    s4 --> s5",
        "    s5 --> s6",
        "    s6 --> s7",
        "    s2 -. then .-> s6",
    ]


def test_an_unfinished_flow_can_be_looked_at() -> None:
    assert mermaid_from_steps([]) == "flowchart LR"
    assert "0 steps" in html_from_steps("f", [])
    assert "unfinished" in sage.Flow("unfinished")._repr_html_()


def test_the_picture_is_well_formed_escaped_and_needs_nothing_from_elsewhere() -> None:
    flow, found = rag()
    found.named("<script>alert(1)</script>")
    html = flow._repr_html_()
    ET.fromstring(html)
    assert "<script" not in html
    assert re.findall(r"https?://[^\"]*", html) == ["http://www.w3.org/2000/svg"]  # a name, which nobody fetches
    assert "test_picture.py:" in html


def test_a_picture_of_its_own_has_a_ground_and_a_colour_that_no_page_gives() -> None:
    flow, found = rag()
    found.named("<b>").print()
    root = ET.fromstring(flow.to_svg())
    ground = root.find(f"{SVG}rect")
    assert ground is not None
    assert (root.get("fill"), ground.get("fill"), root.findtext(f"{SVG}title")) == ("#222222", "#ffffff", "rag")
    assert len(root.findall(f"{SVG}g")) == 8
    assert "currentColor" not in flow.to_svg()


def test_a_stream_shows_its_flow_with_its_own_step_marked() -> None:
    _, found = rag()
    boxes = [part for part in found._repr_html_().split("<g>") if 'stroke-width="3"' in part]
    assert len(boxes) == 1
    assert "retrieve" in boxes[0]


def test_no_long_arrow_crosses_a_box() -> None:
    flow, docs = sage.Flow("rag"), sage.Index("docs")
    flow.from_collection([{"vector": [1.0]}]).map(dict).map(dict).map(dict).index_into(docs, text=str)
    found = flow.from_collection([{"vector": [1.0]}]).retrieve(docs)
    found.for_each(id)
    found.map(dict).map(dict).union(flow.from_collection([{}])).print()
    tree = ET.fromstring(flow._repr_html_())
    boxes = [(float(box.get("x", "")), float(box.get("y", ""))) for box in tree.iter(f"{SVG}rect")]
    ways = [way for path in tree.iter(f"{SVG}path") if " H" in (way := path.get("d", ""))]
    assert len(ways) == 2
    for x, y in (point for way in ways for point in points_on(way)):
        assert not any(left < x < left + WIDTH and top < y < top + HEIGHT for left, top in boxes), (x, y)


def points_on(way: str) -> Iterator[tuple[float, float]]:
    """Yield points of a path of straight lines, one a pixel."""
    start, *moves = way.removeprefix("M").replace("H", "|H").replace("V", "|V").split("|")
    x, y = map(float, start.split())
    for move in moves:
        to = float(move[1:])
        num = int(abs(to - (x if move[0] == "H" else y))) + 1
        for step in range(num + 1):
            yield (x + (to - x) * step / num, y) if move[0] == "H" else (x, y + (to - y) * step / num)
        x, y = (to, y) if move[0] == "H" else (x, to)


def test_no_two_boxes_lie_on_one_another() -> None:
    flow = sage.Flow("f")
    first, second = flow.from_collection([1]), flow.from_collection([2])
    shared = first.union(second)
    shared.map(str).collect()
    shared.map(str).print()
    first.union(shared).collect()
    tree = ET.fromstring(flow._repr_html_())
    corners = [(box.get("x"), box.get("y")) for box in tree.iter(f"{SVG}rect")]
    assert len(corners) == len(set(corners)) == 9
