"""The pages that people read first: what they tell one to type, and where they lead, is there.

Whether it does what they say is for the tests of each part; here no word of them may be made up.
"""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path

import pytest

from mrkernel.cli import make_parser
from mrkernel.jupyter.magic import job_parser

ROOT = Path(__file__).parents[1]
README, EXAMPLES = ROOT / "README.md", ROOT / "examples" / "README.md"
PAGES = [*sorted(ROOT.glob("*.md")), EXAMPLES, *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def flags(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings}


def typed(page: Path) -> list[str]:
    """The lines of code on a page, and the words of its sentences that are code."""
    text = page.read_text("utf-8")
    blocks = "".join(block for _, block in FENCED.findall(text)).replace("\\\n", " ")
    return blocks.splitlines() + re.findall(r"`([^`\n]+)`", FENCED.sub("", text))


def test_every_command_and_its_options_are_there(page: Path) -> None:
    parser = make_parser()
    (commands,) = (a.choices for a in parser._actions if isinstance(a.choices, dict))
    for line in typed(page):
        if not line.startswith("mrkernel "):
            continue
        for part in line.removeprefix("mrkernel ").partition("#")[0].split(" | "):
            name, *words = re.sub("'[^']*'", "TEXT", part).split()
            assert name in commands or name == "sed", line
            if name in commands:
                given = {w for w in words if w.startswith("-") and not w[1:].isdigit()}
                assert given <= flags(commands[name]), line


def test_every_option_is_one_of_a_command_or_a_magic(page: Path) -> None:
    parser = make_parser()
    (commands,) = (a.choices for a in parser._actions if isinstance(a.choices, dict))
    known = flags(job_parser("mapreduce", "")).union(*map(flags, commands.values()))
    lines = [line for line in typed(page) if not re.match(r"python |make |ARGS|\./|mr_chaos", line)]
    given = {flag for line in lines for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", line)}
    others = page.name in ("CONTRIBUTING.md", "faults.md")  # they speak of other programs as well
    assert others or given <= known | {"--at"}


def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_python_is_python(page: Path) -> None:
    for language, block in FENCED.findall(page.read_text("utf-8")):
        if language == "python":
            ast.parse(re.sub(r"^%.*", "", block, flags=re.MULTILINE))


def test_files_and_targets_that_are_named_are_there(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for line in typed(page):
        for path in re.findall(r"\b(?:examples|notebooks|tests|docs)/[\w/.-]+\w", line):
            assert (ROOT / path).exists(), line
        if found := re.match(r"make (\w+)", line):
            assert f"\n{found[1]}:" in makefile, line


def test_each_notebook_and_example_has_its_line(page: Path) -> None:
    text = page.read_text("utf-8")
    if page == README:
        missing = [p.name for p in (ROOT / "notebooks").glob("*.ipynb") if p.name not in text]
        assert missing == []
        # The five jobs are those of the other page.
        commands = [line for line in typed(page) if re.search(r"\bexamples/|^python", line)]
        theirs = EXAMPLES.read_text("utf-8")
        assert [c for c in commands if " ".join(c.split()) not in theirs] == []
    elif page == EXAMPLES:
        folders = (p for p in page.parent.iterdir() if p.is_dir() and p.name != "__pycache__")
        scripts = {*page.parent.glob("*.py"), *folders}
        assert [path.name for path in scripts if f"examples/{path.name}" not in text] == []
