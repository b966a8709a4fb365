"""The code about the code: limits that nobody has to argue about in review."""

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(path for path in ROOT.glob("*/bazaar_*") if path.is_dir())
SHIPPED = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PURE = [path for path in SHIPPED if path.parts[len(ROOT.parts)] in {"protocol", "reputation"}]

LINES_PER_FILE_MAX = 400
LINES_PER_FUNCTION_MAX = 50
HARMLESS_CALLS = {"all", "any", "callable", "isinstance", "issubclass", "len", "max", "min", "sum"}
EFFECTS = (ast.Await, ast.NamedExpr, ast.Yield, ast.YieldFrom)
IMPURE_MODULES = {
    "aiosqlite", "asyncio", "concurrent", "glob", "http", "libp2p", "multiprocessing", "os",
    "pathlib", "pickle", "random", "secrets", "select", "selectors", "shutil", "signal",
    "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "trio",
    "urllib", "uvloop",
}  # fmt: skip
IMPURE_CALLS = {"__import__", "input", "open", "print"}
VAGUE_NAMES = {"helper", "helpers", "manager", "managers", "misc", "util", "utils"}

# Put together at run time, so that this file does not find itself.
UNFINISHED = re.compile(rf"\b(?:{'|'.join(('TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X'))})\b")
HOME_PATH = re.compile(r"(?<![\w.~$}-])/(?:home|root|Users|work|workspace)/")
PACKAGE_HOSTS = re.compile(
    r"pypi\.org/(?:simple|packages)|files\.pythonhosted\.org|registry\.(?:npmjs\.org|yarnpkg\.com)"
    r"|static\.crates\.io|proxy\.golang\.org|/releases/download/|raw\.githubusercontent\.com"
)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


each_file = pytest.mark.parametrize("path", [*SHIPPED, *TESTS], ids=name)
each_shipped_file = pytest.mark.parametrize("path", SHIPPED, ids=name)
each_pure_file = pytest.mark.parametrize("path", PURE, ids=name)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def tracked_texts() -> dict[str, str]:
    """Return every text that git tracks or would track, by its name."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    paths = [ROOT / line.decode() for line in listing.split(b"\0") if line]
    raws = {name(path): path.read_bytes() for path in paths if path.is_file()}
    return {path: raw.decode() for path, raw in raws.items() if b"\0" not in raw}


def places(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()}"
        for path, text in tracked_texts().items()
        if path != name(Path(__file__))
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_there_is_something_to_look_at() -> None:
    assert {package.name for package in PACKAGES} >= {"bazaar_protocol", "bazaar_node"}
    assert PURE
    assert TESTS
    assert "pyproject.toml" in tracked_texts()


@each_file
def test_a_file_is_one_sitting_and_a_function_one_screen(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LINES_PER_FILE_MAX, "split the file by idea, not by size"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= LINES_PER_FUNCTION_MAX, f"{node.name} has {lines} lines"


@each_file
def test_a_file_is_named_for_its_subject(path: Path) -> None:
    assert path.stem not in VAGUE_NAMES
    assert path.parent.name not in VAGUE_NAMES


@each_shipped_file
def test_asserts_do_nothing_but_look(path: Path) -> None:
    """``python -O`` removes asserts, and with them whatever they were doing."""
    for check in (node for node in ast.walk(tree(path)) if isinstance(node, ast.Assert)):
        for node in ast.walk(check.test):
            assert not isinstance(node, EFFECTS), f"line {check.lineno}: {ast.unparse(node)}"
            if isinstance(node, ast.Call):
                call = ast.unparse(node.func)
                assert call in HARMLESS_CALLS, f"line {check.lineno}: {call}"


@each_pure_file
def test_the_core_has_no_io_no_clock_and_no_chance(path: Path) -> None:
    """Wherever the import stands: in a function as well as at the top."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            modules = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules = {(node.module or "").partition(".")[0]}
        else:
            modules = set()
        assert not modules & IMPURE_MODULES, f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in IMPURE_CALLS, f"line {node.lineno}"


@pytest.mark.parametrize("package", PACKAGES, ids=name)
def test_a_package_is_typed_and_known_to_every_tool(package: Path) -> None:
    assert (package / "py.typed").is_file()
    assert (package / "__init__.py").is_file()
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    root = package.parent.name
    assert name(package) in tools["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert root in tools["mypy"]["files"]
    assert root in tools["mypy"]["mypy_path"]
    assert root in tools["pyright"]["include"]
    assert root in tools["pyright"]["extraPaths"]
    assert root in tools["ruff"]["src"]
    assert package.name in tools["importlinter"]["root_packages"]


def test_nothing_is_left_for_later() -> None:
    assert not places(UNFINISHED)


def test_no_path_of_one_machine_and_no_place_to_download_from() -> None:
    assert not places(HOME_PATH)
    assert not places(PACKAGE_HOSTS)


def test_constraints_are_exact_versions_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    exact = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.!+]*")
    assert lines
    assert [line for line in lines if not exact.fullmatch(line)] == []
