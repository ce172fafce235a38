"""Links out of the documents' folder, for the site: to the repository, where tests and manifests are to be seen."""

import re
from typing import Any

LINK = re.compile(r"\]\((?:/|(?:\.\./)+)([^)\s]*)\)")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Hook of mkdocs: the page's text with such links led to `repo_url`."""
    del files
    depth = page.file.src_uri.count("/")

    def led(match: re.Match[str]) -> str:
        up = match.group(0).count("../")
        inside = 0 < up <= depth
        return match.group(0) if inside else f"]({config.repo_url.rstrip('/')}/blob/main/{match.group(1)})"

    return LINK.sub(led, markdown)
