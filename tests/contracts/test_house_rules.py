"""Rules of the house that no linter knows. A rule holds only where a tool checks it."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
MIGRATIONS = "piccolo_migrations"
BINDING_FILE = "tenancy/transaction.py"
BINDING_WORDS = re.compile(r"set_config|app\.tenant_id|\bSET\s+(?:LOCAL\s+|SESSION\s+)?ROLE\b")
PEERS = ("benchmarks", "peers")
LONGEST_FILE = 300
LONGEST_FUNCTION = 50

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def python_files() -> tuple[Path, ...]:
    """Every Python file of ours, relative to the root; hidden folders hold none."""
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
    return tuple(sorted(path for path in found if not any(part.startswith(".") for part in path.parts)))


@cache
def product_files() -> tuple[Path, ...]:
    """The files that are neither tests nor migrations."""
    return tuple(path for path in python_files() if path.parts[0] != "tests" and MIGRATIONS not in path.parts)


@cache
def text_of(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path), str(path))


def names_in(path: Path) -> Iterator[tuple[str, int]]:
    """Every name that the code uses, strings and comments left out, with its line."""
    for node in ast.walk(tree_of(path)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                yield name, node.lineno
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.keyword(arg=str(name)):
                yield name, node.lineno


def functions_of(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, Function))


def test_the_rules_see_the_code() -> None:
    """The rules below look at real files: an empty list would hold every rule."""
    assert {Path("main.py"), Path(BINDING_FILE), Path("tests/contracts/test_house_rules.py")} <= set(python_files())
    assert BINDING_WORDS.search(text_of(Path(BINDING_FILE)))
    assert any(MIGRATIONS in path.parts for path in python_files())


def test_one_file_binds_a_transaction() -> None:
    """Only tenancy/transaction.py says `set_config`, `SET ROLE` or `app.tenant_id`, be it in a comment.

    The peers of the benchmark are no part of the service, and bind as their kind does.
    """
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in python_files()
        if path.parts[0] != "tests" and path.parts[:2] != PEERS and path != Path(BINDING_FILE)
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if BINDING_WORDS.search(line)
    ]
    # A test may name the words in a string, and say in SQL what the product must not.
    found += [
        f"{path}:{line}: {name}"
        for path in python_files()
        if path.parts[0] == "tests"
        for name, line in names_in(path)
        if name == "set_config"
    ]
    assert found == []


def test_nothing_leaves_the_transaction() -> None:
    """Outside of tests nobody calls `.batch()`, which opens a connection of its own without the tenant."""
    found = [
        f"{path}:{node.lineno}"
        for path in product_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and node.attr == "batch"
    ]
    assert found == []


def test_migrations_alone_make_tables() -> None:
    """Outside of tests nobody uses `create_tables` or its synchronous twin: tables would come without isolation."""
    words = {"create_tables", "create_db_tables", "create_db_tables_sync", "create_table"}
    found = [f"{path}:{line}: {name}" for path in product_files() for name, line in names_in(path) if name in words]
    assert found == []


def test_files_are_short() -> None:
    """No file but a generated migration is longer than 300 lines."""
    found = {
        str(path): length
        for path in python_files()
        if MIGRATIONS not in path.parts and (length := len(text_of(path).splitlines())) > LONGEST_FILE
    }
    assert found == {}


def test_functions_are_short() -> None:
    """No function but a generated migration's is longer than 50 lines."""
    found = {
        f"{path}:{node.lineno} {node.name}": length
        for path in python_files()
        if MIGRATIONS not in path.parts
        for node in functions_of(path)
        if (length := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    }
    assert found == {}


def test_modules_say_what_they_promise() -> None:
    """Every module that holds code, tests included, begins with a docstring; generated migrations do not."""
    found = [
        str(path)
        for path in python_files()
        if not re.search(r"_\d{4}_tables", path.name) and tree_of(path).body and not ast.get_docstring(tree_of(path))
    ]
    assert found == []


def test_tests_say_what_they_prove() -> None:
    """Every test states the fact that it proves in its docstring."""
    found = [
        f"{path}:{node.lineno} {node.name}"
        for path in python_files()
        if path.parts[0] == "tests" and path.name.startswith("test_")
        for node in functions_of(path)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert found == []
