"""What takes many values says in its docstring what each of them is, in a numpydoc section `Parameters`.

Device functions from five operands on, public host functions from four parameters on. `dev` and `model`, which every
device function takes as the same thing, need no row; the parameters of a class's __init__ stand at the class.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WINGS = (
    "kernels/fleetswap_kernels/backend",
    "kernels/fleetswap_kernels/compile",
    "kernels/fleetswap_kernels/device",
    "kernels/fleetswap_kernels/layout",
)
"""Folders whose modules keep the rule, with all folders in them; to become the three source roots."""
OPEN = ("kernels/fleetswap_kernels/device/batch",)
"""Folders in those that do not keep it yet."""
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
    """Functions that keep the rule: node, name to show, docstring that has to hold the section."""

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
    still_open = [ROOT / folder for folder in OPEN]
    modules = [m for m in sorted((ROOT / wing).rglob("*.py")) if not any(m.is_relative_to(o) for o in still_open)]
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
