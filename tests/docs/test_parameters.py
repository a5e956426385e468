"""What takes many values says in its docstring what each of them is, in a numpydoc section `Parameters`.

Device functions from five operands on, public host functions from four parameters on. `dev` and `model`, which every
device function takes as the same thing, need no row; the parameters of a class's __init__ stand at the class.

Two kinds of functions are left out. Functions decorated with `click.command` take the options that their other
decorators describe, in the words the help shows. A method that implements that of a protocol or a base class may
refer to the section there in the words "See `Protocol.method`".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WINGS = ("fleetswap", "cluster", "kernels")
"""The source roots, every module of which keeps the rule."""
DEVICE_OPERANDS = 5
HOST_PARAMETERS = 4
KNOWN_EVERYWHERE = {"dev", "model"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def parameter_names(function: Function) -> list[str]:
    """Names of the parameters of a function, `self` and `cls` apart."""
    arguments = function.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    names += [a.arg for a in (arguments.vararg, arguments.kwarg) if a]
    return [name for name in names if name not in {"self", "cls"}]


def is_device_function(function: Function) -> bool:
    """Whether a function is decorated with `@device`, with or without options."""
    named = [d.func if isinstance(d, ast.Call) else d for d in function.decorator_list]
    return any(isinstance(d, ast.Name) and d.id == "device" for d in named)


def is_command(function: Function) -> bool:
    """Whether a function is decorated with `click.command`: decorators describe its options."""
    return any(ast.unparse(d).partition("(")[0] == "click.command" for d in function.decorator_list)


def documented_names(docstring: str) -> set[str]:
    """Names in the rows of a section `Parameters`: `a : int`, `a, b : int`, or `a` alone."""
    lines = docstring.expandtabs().splitlines()
    names: set[str] = set()
    for title, rule in zip(range(len(lines)), range(1, len(lines)), strict=False):
        if lines[title].strip() != "Parameters" or set(lines[rule].strip()) != {"-"}:
            continue
        margin = len(lines[title]) - len(lines[title].lstrip())
        for line, following in zip(lines[rule + 1 :], [*lines[rule + 2 :], ""], strict=True):
            if line.strip() and set(following.strip()) == {"-"}:
                break  # the title of the next section
            if line.strip() and len(line) - len(line.lstrip()) == margin:
                names.update(name.strip().lstrip("*") for name in line.partition(" : ")[0].split(","))
    return names


def functions_of(tree: ast.Module) -> Iterator[tuple[Function, str, str]]:
    """Functions the rule is for: node, name to show, docstring that has to hold the section."""

    def clean(node: Function | ast.ClassDef) -> str:
        return ast.get_docstring(node) or ""

    # Functions of a branch, such as those of a target, are functions of the module as well.
    found: list[ast.stmt] = list(tree.body)
    for statement in found:
        if isinstance(statement, ast.If | ast.Try):
            found.extend(statement.body + statement.orelse)
        elif isinstance(statement, Function):
            yield statement, statement.name, clean(statement)
        elif isinstance(statement, ast.ClassDef) and not statement.name.startswith("_"):
            for method in statement.body:
                if isinstance(method, Function):
                    at_class = method.name == "__init__"
                    yield method, f"{statement.name}.{method.name}", clean(statement if at_class else method)


def undocumented(source: str) -> list[str]:
    """What a module leaves out, one line for each function."""
    flaws = []
    for function, name, docstring in functions_of(ast.parse(source)):
        # An implementer may refer to the section of the method that it implements.
        if is_command(function) or re.search(rf"See `\w+\.{function.name}`", docstring):
            continue
        names = parameter_names(function)
        if is_device_function(function):
            least, required = DEVICE_OPERANDS, [n for n in names if n not in KNOWN_EVERYWHERE]
        else:
            is_public = function.name == "__init__" or not function.name.startswith("_")
            least, required = HOST_PARAMETERS if is_public else len(names) + 1, names
        missing = [n for n in required if n not in documented_names(docstring)]
        if len(names) >= least and missing:
            flaws.append(f"{function.lineno}: {name} says nothing of {', '.join(missing)}")
    return flaws


@pytest.mark.parametrize("wing", WINGS)
def test_every_parameter_is_documented(wing: str) -> None:
    modules = sorted((ROOT / wing).rglob("*.py"))
    assert modules, f"{wing} holds no module"
    flaws = [f"{m.relative_to(ROOT)}:{flaw}" for m in modules for flaw in undocumented(m.read_text(encoding="utf-8"))]
    assert not flaws, "\n".join(flaws)


DEVICE = '''
@device(cpu="call")
def move(dev, a, b, p, o_vma):
    """Move.

    Parameters
    ----------
    a, b : int64
        Pages.
    {row}
    """
'''
HOST = '''
class Mover:
    """Moves.

    Parameters
    ----------
    a, b, c : int
    {row}
    """

    def __init__(self, a, b, c, *, d):
        pass

    def _own(self, a, b, c, d):
        pass
'''


def test_a_row_may_name_several_parameters() -> None:
    assert undocumented(DEVICE.format(row="p, o_vma : int64")) == []
    assert undocumented(HOST.format(row="d : int, optional")) == []


def test_a_missing_row_is_told() -> None:
    assert undocumented(DEVICE.format(row="p : int64")) == ["3: move says nothing of o_vma"]
    assert undocumented(HOST.format(row="\n    Returns\n    -------\n    d : int")) == [
        "14: Mover.__init__ says nothing of d"
    ]


def test_four_operands_of_a_device_function_need_no_section() -> None:
    assert undocumented("@device\ndef add(dev, a, b, c):\n    pass\n") == []


def test_three_parameters_of_a_host_function_need_no_section() -> None:
    assert undocumented("def add(a, b, c):\n    pass\n") == []
    assert undocumented("def add(a, b, c, d):\n    pass\n") == ["1: add says nothing of a, b, c, d"]


def test_an_implementer_may_refer_to_its_protocol() -> None:
    method = 'class Alone:\n    def work(self, a, b, c, d):\n        """Work. {}"""\n'
    assert undocumented(method.format("See `Crew.work`.")) == []
    assert undocumented(method.format("See `Crew.rest`.")) == ["2: Alone.work says nothing of a, b, c, d"]


def test_references_lead_to_a_section() -> None:
    sources = [m.read_text(encoding="utf-8") for wing in WINGS for m in sorted((ROOT / wing).rglob("*.py"))]
    docstrings = {name: text for source in sources for _, name, text in functions_of(ast.parse(source))}
    referred = {name for text in docstrings.values() for name in re.findall(r"See `(\w+\.\w+)`", text)}
    assert referred
    assert [name for name in sorted(referred) if not documented_names(docstrings.get(name, ""))] == []


def test_options_of_a_command_need_no_section() -> None:
    command = "def run(a, b, c, d):\n    pass\n"
    assert undocumented(f"@click.command(short_help='x')\n{command}") == []
    assert undocumented(f"@click.pass_context\n{command}") == ["2: run says nothing of a, b, c, d"]
