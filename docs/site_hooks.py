"""Hooks of mkdocs: the site has the folders of the repository, so that links work there as they do on GitHub.

- Pages are the Markdown files of the repository, in docs/ and outside of it.
- A linked file of source code or configuration becomes a page; links to folders become plain text.
- Mermaid diagrams are drawn as SVG while the site is built, so that pages load no script for them.
- A page with other lists or tables than on GitHub is a warning, which `--strict` makes an error.
"""

import logging
import re
from collections import Counter
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from mermaid_render import mermaid_to_svg
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

logger = logging.getLogger("mkdocs.hooks.site")  # mkdocs counts the warnings of loggers below its own
ROOT = Path(__file__).resolve().parent.parent
PAGES = ("*.md", "docs/**/*.md", "docs/site.css", "projects/**/README.md", "datasets/README.md")
# Files that are copied; others become pages.
COPIED = {".css", ".ipynb", ".jpg", ".json", ".png"}
# A link without a scheme or an anchor, with its text; code blocks are matched, too, so that they are passed over.
LINK = re.compile(r"```.*?```|\[([^\]]*)\]\(([^)#:\s]+)\)", flags=re.DOTALL)


def on_config(config: MkDocsConfig) -> None:
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")  # as GitHub
    mermaid = {"name": "mermaid", "class": "mermaid", "format": draw_diagram}
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [mermaid]}


def draw_diagram(source: str, *_: Any, **__: Any) -> str:
    return f'<div class="diagram">{mermaid_to_svg(source, theme="neutral").decode()}</div>'


def on_files(files: Files, config: MkDocsConfig) -> Files:
    theme = [file for file in files if file.src_dir != config.docs_dir]
    pages = {path for pattern in PAGES for path in ROOT.glob(pattern)}
    linked = {target for page in pages for target in find_links(page) if target.is_file()}
    return Files([*theme, *(make_file(path, config) for path in sorted(pages | linked))])


def find_links(page: Path) -> set[Path]:
    """Return the paths that a page links to; they need not exist."""
    return {(page.parent / link[2]).resolve() for link in LINK.finditer(page.read_text(encoding="utf-8")) if link[2]}


def make_file(path: Path, config: MkDocsConfig) -> File:
    """Return a page or a copied file, or a page with the text of another file."""
    uri = path.relative_to(ROOT).as_posix()
    if path.suffix in {*COPIED, ".md"}:
        return File.generated(config, uri, abs_src_path=str(path))
    code = path.read_text(encoding="utf-8")
    options = "search: {exclude: true}\nhide: [navigation, toc]"
    content = f"---\n{options}\n---\n# {uri}\n\n``````{path.suffix[1:]}\n{code}\n``````\n"
    return File.generated(config, f"{uri}.md", content=content, inclusion=InclusionLevel.NOT_IN_NAV)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    folder = (ROOT / page.file.src_uri).parent

    def point_into_site(link: re.Match[str]) -> str:
        text, target = link.groups()
        path = folder / target if target else None
        if path is not None and path.is_dir():
            return text
        is_page = path is not None and path.is_file() and path.suffix not in {*COPIED, ".md"}
        return f"[{text}]({target}.md)" if is_page else link[0]

    # GitHub reads Markdown in <details>, Python-Markdown only with this attribute.
    return LINK.sub(point_into_site, markdown.replace("<details>", '<details markdown="1">'))


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> None:
    if page.file.src_uri.startswith("docs/api/"):  # not Markdown alone
        return
    expected = count_elements(MarkdownIt("commonmark").enable("table").render(page.markdown or ""))
    if count_elements(html) != expected:
        logger.warning(f"{page.file.src_uri}: lists or tables differ from GitHub's; indent what is nested by 4 spaces")


def count_elements(html: str) -> Counter[str]:
    return Counter(re.findall(r"<(li|ol|table|tr|ul)\b", html))
