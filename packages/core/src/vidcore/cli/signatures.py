"""What a class's constructor takes, read from its source: nothing is imported, so torch is not either."""

from __future__ import annotations

import ast
import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path


class UnclearError(Exception):
    """The source does not tell; only importing it would."""


@dataclass(frozen=True)
class Parameter:
    """One argument of a constructor, or one field of a record.

    Args:
        annotation: Its type as it is written, if it is.
        module: The module that the annotation is written in.
        required: Whether it has no default.
    """

    annotation: ast.expr | None
    module: str
    required: bool


def parameters(module: str, name: str) -> dict[str, Parameter]:
    """The arguments of a class's constructor by name, those that ``**kwargs`` hands on to a base class among them.

    Args:
        module: Where the class is defined or imported to.
        name: The class.

    Raises:
        UnclearError: The class or a base is not in plain source, or ``**kwargs`` goes elsewhere.
    """
    return _constructor(*_definition(module, name)) or {}


def fields(parameter: Parameter) -> dict[str, Parameter]:
    """The fields of the dataclass or typed dict that a parameter holds.

    Raises:
        UnclearError: It holds something else.
    """
    annotation = parameter.annotation
    if isinstance(annotation, ast.BinOp):  # Record | None
        annotation = annotation.left
    if not isinstance(annotation, ast.Name):
        raise UnclearError
    cls, module = _definition(parameter.module, annotation.id)
    marks = [*cls.decorator_list, *cls.bases]
    if not any("dataclass" in ast.unparse(mark) or ast.unparse(mark) == "TypedDict" for mark in marks) or (
        len(cls.bases) > 1 or (cls.bases and ast.unparse(cls.bases[0]) != "TypedDict")
    ):
        raise UnclearError
    return {
        node.target.id: Parameter(node.annotation, module, False)
        for node in cls.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _constructor(cls: ast.ClassDef, module: str) -> dict[str, Parameter] | None:
    """The constructor's arguments; None where neither the class nor a base of it writes one."""
    if cls.decorator_list:
        raise UnclearError
    init = next((node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"), None)
    if init is None:
        return _inherited(cls, module)
    takes = init.args
    plain = [*takes.posonlyargs, *takes.args]
    without = len(plain) - len(takes.defaults)
    found = {arg.arg: Parameter(arg.annotation, module, index < without) for index, arg in enumerate(plain)}
    found.pop(plain[0].arg)  # self
    for arg, default in zip(takes.kwonlyargs, takes.kw_defaults, strict=True):
        found[arg.arg] = Parameter(arg.annotation, module, default is None)
    if takes.kwarg is not None:
        passed = _handed_on(init, takes.kwarg.arg)
        base = _inherited(cls, module) or {}
        given = {*list(base)[: len(passed.args)], *(keyword.arg for keyword in passed.keywords)}
        found |= {name: value for name, value in base.items() if name not in given and name not in found}
    return found


def _inherited(cls: ast.ClassDef, module: str) -> dict[str, Parameter] | None:
    written = [ast.unparse(base).partition("[")[0] for base in cls.bases]
    bases = [name for name in written if name not in ("object", "ABC", "Generic", "Protocol")]
    found = [_constructor(*_definition(module, name)) for name in bases]
    constructors = [each for each in found if each is not None]
    if len(constructors) > 1:
        raise UnclearError
    return constructors[0] if constructors else None


def _handed_on(init: ast.FunctionDef, kwargs: str) -> ast.Call:
    """The call ``super().__init__(…, **kwargs)``, if that is the only use of ``kwargs``."""
    uses = [node for node in ast.walk(init) if isinstance(node, ast.Name) and node.id == kwargs]
    for node in ast.walk(init):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr="__init__")):
                starred = any(isinstance(argument, ast.Starred) for argument in node.args)
                if uses == [keyword.value for keyword in node.keywords if keyword.arg is None] and not starred:
                    return node
    raise UnclearError


def _definition(module: str, name: str) -> tuple[ast.ClassDef, str]:
    """The class of that name in a module, or where the module imports it from; and the module that it is in."""
    for _ in range(10):
        tree, package = _source(module)
        conditional = [inner for node in tree.body if isinstance(node, ast.If) for inner in node.body]  # TYPE_CHECKING
        for node in [*tree.body, *conditional]:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return node, module
            imported = node.names if isinstance(node, ast.ImportFrom) else ()
            alias = next((alias for alias in imported if (alias.asname or alias.name) == name), None)
            if isinstance(node, ast.ImportFrom) and alias is not None:
                module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                name = alias.name
                break
        else:
            break
    raise UnclearError


@functools.cache
def _source(module: str) -> tuple[ast.Module, str]:
    """A module's syntax tree, and the package that its relative imports start from."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)  # of a top package this imports nothing
    except (ImportError, ValueError) as error:
        raise UnclearError from error
    folders = spec.submodule_search_locations or () if spec else ()
    candidates = [Path(folder, *rest, "__init__.py") for folder in folders]
    if rest:
        candidates += [Path(folder, *rest[:-1], f"{rest[-1]}.py") for folder in folders]
    elif spec and not folders and spec.origin:
        candidates.append(Path(spec.origin))
    for path in candidates:
        if path.is_file():
            try:
                tree = ast.parse(path.read_bytes())
            except (SyntaxError, ValueError) as error:
                raise UnclearError from error
            return tree, module if path.name == "__init__.py" else module.rpartition(".")[0]
    raise UnclearError
