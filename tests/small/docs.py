"""The pages of docs/."""

import re
from pathlib import Path


def anchors(page: Path) -> list[str]:
    """Of its headings, as the site and code hosts make them."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", own.lower()).strip().replace(" ", "-") for own in headings]
