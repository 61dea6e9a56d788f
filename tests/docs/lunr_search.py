"""The search of the site, as a browser runs it: lunr's index, with what the theme does to questions and scores.

The theme is Material for MkDocs. Its code for this is ``assets/javascripts/workers/search.*.min.js``: every word of a
question finds the words that begin with it, and a page counts more than a section of it.
"""

from __future__ import annotations

import re
from typing import Any


class Search:
    """The index of a built site.

    :param built: the content of ``search/search_index.json``.
    """

    def __init__(self, built: dict[str, Any]) -> None:
        """Read the index."""
        from lunr.builder import Builder
        from lunr.stop_word_filter import stop_word_filter

        config = built["config"]
        assert set(config["pipeline"]) <= {"stopWordFilter"}, "this is written for an index without stems"
        self._separator = re.compile(config["separator"])
        builder = Builder()
        builder.b(0)
        if config["pipeline"]:
            builder.pipeline.add(stop_word_filter)
        builder.ref("location")
        for name, options in config["fields"].items():
            builder.field(name, boost=options["boost"], extractor=lambda doc, name=name: self._words(doc.get(name, "")))
        first_sections: dict[str, str] = {}
        for section in built["docs"]:
            first_sections.setdefault(section["location"].partition("#")[0], section["location"])
            builder.add(section, {"boost": section.get("boost", 1)})
        self._pages = set(first_sections.values())
        self._index = builder.build()

    def _words(self, text: str) -> list[str]:
        pieces = re.split(r"<[^>]*>", text.lower())
        return [word for piece in pieces for word in self._separator.split(piece) if word]

    def sections(self, question: str) -> list[str]:
        """Return the addresses of what is found, best first."""
        from lunr.stop_word_filter import WORDS

        words = list(dict.fromkeys(word for word in self._separator.split(question.lower()) if word))
        scores = {}
        for hit in self._index.search(" ".join(f"{word}*" for word in words)):
            found = hit["match_data"].metadata
            matched = {word for word in words if any(term.startswith(word) for term in found)}
            counted = matched | {word for word in words if word not in WORDS}
            boost = (hit["ref"] in self._pages) + len(matched) / len(counted)
            scores[hit["ref"]] = hit["score"] * (1 + boost**2)
        return sorted(scores, key=scores.__getitem__, reverse=True)

    def first_page(self, question: str) -> str:
        """Return the address of the page that the site shows first."""
        return self.sections(question)[0].partition("#")[0]
