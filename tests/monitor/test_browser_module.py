"""The browser's files, joined into one module."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mrkernel.monitor.browser_module import STATIC, JoinError, browser_module, join


def files(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.js").write_text(text)
    return folder


def test_each_file_comes_once_and_behind_those_it_needs(tmp_path: Path) -> None:
    joined = join(
        files(
            tmp_path,
            view='import { b } from "./b.js";\nimport {\n  a,\n} from "./a.js";\n\n'
            'export { a } from "./a.js";\nexport function mount() { return a + b; }\n'
            "export default { mount };\n",
            a="export const a = 1;\n",
            b='import { a } from "./a.js";\nconst own = a;\nexport class b {}\n',
        )
    )
    assert [joined.count(f"// ---- {name}.js") for name in ("a", "b", "view")] == [1, 1, 1]
    assert joined.index("const a = 1") < joined.index("class b") < joined.index("function mount")
    assert re.findall(r"^(?:import|export)\b.*", joined, re.MULTILINE) == [
        "export function mount() { return a + b; }",
        "export default { mount };",
        "export { a };",
    ]


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (
            {
                "view": 'import { a } from "./a.js";\nconst same = 1;\n',
                "a": "export const a = 1;\nlet same = 2;\n",
            },
            "a.js and view.js both have same",
        ),
        ({"view": 'import { a } from "./a.js";\n', "a": "const a = 1;\n"}, "takes a from a.js"),
        (
            {"view": 'import { a as b } from "./a.js";\n', "a": "export const a = 1;\n"},
            "takes a as b",
        ),
        (
            {
                "view": 'import { a } from "./a.js";\n',
                "a": 'import { b } from "./b.js";\nexport const a = 1;\n',
                "b": 'import { a } from "./a.js";\nexport const b = 1;\n',
            },
            "circle: view.js → a.js → b.js → a.js",
        ),
        ({"view": 'import * as a from "./a.js";\n'}, r"cannot be joined: import \* as a"),
        ({"view": 'import a from "https://cdn/a.js";\n'}, "cannot be joined"),
        (
            {
                "view": 'import { a } from "./a.js";\n',
                "a": "export const a = 1;\nexport default a;\n",
            },
            "a.js exports more than its own names",
        ),
        ({"view": "const { a } = {};\n"}, "takes something apart"),
        ({"view": "const a = `one\n  two`;\n"}, "text of several lines"),
    ],
)  # fmt: skip
def test_what_cannot_be_joined_is_refused_with_a_reason(
    tmp_path: Path, texts: dict[str, str], why: str
) -> None:
    with pytest.raises(JoinError, match=why):
        join(files(tmp_path, **texts))


def test_what_only_people_read_is_left_out(tmp_path: Path) -> None:
    view = "// Says\n/**\n * how.\n */\nexport function f(a) {\n  // why\n\n  return a // b;\n}\n"
    joined = join(files(tmp_path, view=view))
    assert joined == "// ---- view.js\nexport function f(a) {\nreturn a // b;\n}\n"


def test_our_files_join_and_all_of_them_are_used() -> None:
    joined = browser_module()
    for path in STATIC.glob("*.js"):
        assert joined.count(f"// ---- {path.name}\n") == 1, path.name
    assert not re.search(r"^import\b", joined, re.MULTILINE)
    assert "export default { render };" in joined
    assert browser_module() is joined


def test_files_of_the_browser_stay_small() -> None:
    assert {
        path.name: lines
        for path in STATIC.glob("*.js")
        if (lines := path.read_text().count("\n")) > 400
    } == {}
