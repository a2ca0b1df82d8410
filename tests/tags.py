"""Read a page as a browser would, and stricter."""

from html.parser import HTMLParser


class Tags(HTMLParser):
    """Checks that tags close in the order in which they were opened, and gathers what a page refers to."""

    VOID = frozenset({"meta", "link", "img", "wbr"})

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.addresses, self.names, self.text = [], [], [], set(), []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.addresses += [values[name] for name in ("src", "href", "xlink:href", "srcset") if values.get(name)]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)
