"""Pages of the site that are made of other files: the reference, the benchmarks, the notebooks."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "mnar_ebm"
OUTSIDE = {"benchmarks.md": "experiments/README.md", "colab.md": "colab/README.md"}
"""Pages that lie elsewhere in the repository, by their place on the site."""


def on_files(files, config):
    """Add the pages that are made."""
    from mkdocs.structure.files import File

    pages = {place: _from_outside(name) for place, name in OUTSIDE.items()}
    for module in modules():
        pages[place_of(module)] = f"---\ntitle: {module}\n---\n\n::: {module}\n"
    for place, content in pages.items():
        files.append(File.generated(config, place, content=content))
    return files


def on_config(config):
    """Put every module under *Reference*, in the order of the layers' folders."""
    config.nav[-1]["Reference"] = [{module: place_of(module)} for module in modules()]
    return config


def on_page_markdown(markdown, page, **_):
    """Point to the site's own page where a page names the file that it is made of."""
    up = "../" * page.file.src_uri.count("/")
    for place, name in OUTSIDE.items():
        markdown = markdown.replace(f"](../{name}", f"]({up}{place}")
    return markdown


def modules():
    """Return the public modules, a package before what is in it."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            found.append(".".join(parts))
    return sorted(found)


def place_of(module):
    """Return where the page of a module is on the site."""
    is_package = (ROOT / module.replace(".", "/")).is_dir()
    return "reference/" + module.replace(".", "/") + ("/index.md" if is_package else ".md")


def _from_outside(name):
    """Return a file of another folder, its links as from ``docs/``."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.sub(r"\]\(\.\./docs/", "](", text)
