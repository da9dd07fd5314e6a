"""The code of user-defined members: what it is, whether it may run, and running it.

Code that a command or a config file of the user names runs unasked, as it is then. Code that a run
folder names runs only if its checksum is trusted: this machine ran it for the user before, or the
user says so (`--trust`, `trust=True`).
"""

import ast
import builtins
import contextlib
import hashlib
import importlib
import importlib.util
import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from vae_jax.errors import UserError, tell
from vae_jax.words import page

# {(name, checksum of its code): the module}: each version is made once.
MODULES: dict[tuple[str, str], ModuleType] = {}
IMPORTING = threading.RLock()
TRUSTED: set[str] = set()  # checksums, besides those that are recorded on this machine
TRUSTING: ContextVar[bool] = ContextVar("TRUSTING", default=False)
SHOWN = 16  # digits of a checksum, in messages


class Untrusted(UserError):
    """A run folder names code that this machine has not run for the user."""


class Code(NamedTuple):
    """A module, and the modules of the user that it imports."""

    name: str
    texts: Mapping[str, str]  # {module: its text}
    files: Mapping[str, Path]

    @property
    def file(self) -> Path:
        return self.files[self.name]

    @property
    def checksum(self) -> str:
        """The sha256 of the names and texts."""
        digest = hashlib.sha256()
        for name, text in sorted(self.texts.items()):
            digest.update(f"{name}\0{len(text)}\0{text}".encode())
        return digest.hexdigest()

    @property
    def named(self) -> str:
        return f"{self.file} (sha256 {self.checksum[:SHOWN]})"

    @property
    def names(self) -> set[str]:
        """Its modules, and the packages that they are in, which may have no text."""
        parts = [name.split(".") for name in self.texts]
        return {".".join(part[: i + 1]) for part in parts for i in range(len(part))}

    def part(self, name: str) -> "Code":
        """The code of one of its modules: it, what it imports, and the whole package it is in."""
        names = self.names
        used: set[str] = set()
        left = [name]
        while left:
            module = left.pop()
            if module in names and module not in used:
                used.add(module)
                is_package = any(other.startswith(f"{module}.") for other in names)
                with contextlib.suppress(SyntaxError, ValueError):  # its import says what is wrong
                    left += imported(self.texts.get(module, ""), module, is_package)
                left += [other for other in names if other.startswith(f"{module}.")]
                left += [module.rpartition(".")[0]]
        texts = {module: self.texts[module] for module in used if module in self.texts}
        return Code(name, texts, {module: self.files[module] for module in texts})


def located(name: str) -> Path | None:
    """The file of a module, installed or in the current folder; nothing is imported."""
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top) or PathFinder.find_spec(top, [os.getcwd()])
    except (ValueError, ImportError, OSError):  # such as __main__
        return None
    for i in range(len(rest)):
        places = spec.submodule_search_locations if spec else None
        spec = PathFinder.find_spec(".".join([top, *rest[: i + 1]]), places) if places else None
    origin = spec.origin if spec else None
    return Path(origin) if origin and origin.endswith(".py") else None


@cache
def imported(text: str, name: str, is_package: bool) -> tuple[str, ...]:
    """The names of the modules that a text may import, those inside functions too.

    Raises:
      SyntaxError, ValueError: it is not Python.
    """
    package = name if is_package else name.rpartition(".")[0]
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(parts if node.level else []), *filter(None, [node.module])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(names)


def root_of(name: str, file: Path) -> Path:
    """The folder that the top of the module's name is found in."""
    return file.parents[name.count(".") + (file.name == "__init__.py")]


def code_here(name: str) -> Code | None:
    """The code of a module as the current folder has it, or as it is installed; None: nowhere.

    The modules that it imports belong to it if they are of the same package, or lie in the same
    folder and are not installed.
    """
    file = located(name)
    if file is None:
        return None
    root, top = root_of(name, file), name.partition(".")[0]
    installed = str(root) in sysconfig.get_paths().values()
    texts: dict[str, str] = {}
    files: dict[str, Path] = {}
    left = [name]
    while left:
        module = left.pop()
        path = located(module)
        its_top = module.partition(".")[0]
        if module in texts or path is None or its_top == "vae_jax":
            continue
        if root_of(module, path) != root or (installed and its_top != top):
            continue
        try:
            texts[module], files[module] = path.read_text("utf-8"), path
            left += filter(None, imported(texts[module], module, path.name == "__init__.py"))
        except (OSError, SyntaxError, ValueError):  # importing it says what is wrong
            continue
        left += [module.rpartition(".")[0]] if "." in module else []
    return Code(name, texts, files) if name in texts else None


def code_copied(name: str, copies: Path) -> Code | None:
    """The code of a module that a run folder brings; None: it does not."""
    files = {path.name.removesuffix(".py"): path for path in sorted(copies.glob("*.py"))}
    if name not in files:
        return None
    try:
        texts = {module: path.read_text("utf-8") for module, path in files.items()}
        used: set[str] = set()
        left = [name]
        while left:  # the folder may bring other modules too
            module = left.pop()
            if module in texts and module not in used:
                used.add(module)
                is_package = any(other.startswith(f"{module}.") for other in texts)
                left += imported(texts[module], module, is_package)
                left += [module.rpartition(".")[0]]
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{copies} can't be read as Python ({error})") from error
    return Code(
        name, {module: texts[module] for module in used}, {module: files[module] for module in used}
    )


def record_file() -> Path | None:
    """Where this machine records what the user trusts; None: there is no home folder."""
    try:
        home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    except RuntimeError:
        return None
    return home / "vae_jax" / "trusted_code"


def is_trusted(code: Code) -> bool:
    path = record_file()
    recorded = ""
    if path is not None:
        with contextlib.suppress(OSError, ValueError):
            recorded = path.read_text()
    return code.checksum in TRUSTED or any(
        line.split(" ")[0] == code.checksum for line in recorded.splitlines()
    )


def trust(code: Code) -> None:
    """Records the code, so that run folders that name it may run it on this machine."""
    if is_trusted(code):
        return
    TRUSTED.add(code.checksum)
    path = record_file()
    if path is not None:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "a") as record:
                record.write(f"{code.checksum} {code.name}\n")


@contextlib.contextmanager
def trusting(wanted: bool = True) -> Iterator[None]:
    """In this context, code that a run folder names is trusted, and recorded as such."""
    token = TRUSTING.set(wanted or TRUSTING.get())
    try:
        yield
    finally:
        TRUSTING.reset(token)


def refuse_untrusted(code: Code, where: str) -> None:
    """Raises Untrusted unless the code of a run folder may run; says which `--trust` runs."""
    if is_trusted(code):
        return
    if not TRUSTING.get():
        raise Untrusted(
            f"{where} names code, {code.named}, that this machine has not run yet; read it, and "
            f"run it by --trust (in Python: trust=True): {page('troubles#untrusted-code')}"
        )
    tell(f"runs {code.named}, as the run folder names it")
    trust(code)


class Texts:
    """Imports the modules of a Code from their texts, whatever compiled files lie beside them.

    They are modules of vae_jax alone: what the rest of the process imports under their names is
    neither used nor replaced. So several versions of a module can be in use.
    """

    def __init__(self, code: Code):
        self.code = code
        self.keys = {name: (name, code.part(name).checksum) for name in code.names}

    @contextlib.contextmanager
    def in_force(self) -> Iterator[None]:
        """In this context, an import of these names gives these modules; each is made once."""
        with IMPORTING:
            others = {name: sys.modules.pop(name) for name in self.keys if name in sys.modules}
            made = {name: MODULES[key] for name, key in self.keys.items() if key in MODULES}
            sys.modules.update(made)
            sys.meta_path.insert(0, self)
            try:
                yield
                modules = [name for name in self.keys if name in sys.modules]
                MODULES.update({self.keys[name]: sys.modules[name] for name in modules})
            finally:
                sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
                for name in self.keys:
                    sys.modules.pop(name, None)
                sys.modules.update(others)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        texts, files = self.code.texts, self.code.files
        package = any(other.startswith(f"{name}.") for other in texts)
        if name not in texts:
            lost = package and PathFinder.find_spec(name, path) is None
            return ModuleSpec(name, None, is_package=True) if lost else None
        is_init = files[name].name == "__init__.py"
        places = [str(files[name].parent)] if is_init else []
        return importlib.util.spec_from_file_location(
            name,
            files[name],
            loader=self,  # type: ignore[arg-type]
            submodule_search_locations=places if package or is_init else None,
        )

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        text, file = self.code.texts[name], str(self.code.files[name])
        # An import inside a function may run when other modules have these names.
        module.__dict__["__builtins__"] = vars(builtins) | {"__import__": self.importer(module)}
        exec(compile(text, file, "exec", dont_inherit=True), module.__dict__)

    def importer(self, module: ModuleType) -> Callable[..., Any]:
        """What an import statement of the module calls."""

        def import_for_module(*arguments: Any, **named: Any) -> Any:
            with IMPORTING:
                if sys.modules.get(module.__name__) is module:  # they are in force
                    return builtins.__import__(*arguments, **named)
                with self.in_force():
                    return builtins.__import__(*arguments, **named)

        return import_for_module


def import_module(code: Code | None, name: str, where: str) -> ModuleType:
    """The module, made from these texts; None: as any import gives it.

    Raises:
      UserError: it raised, whatever that was.
    """
    # The main program is no module that can be made once more.
    has_texts = code is not None and name != "__main__"
    try:
        with Texts(code).in_force() if has_texts and code else contextlib.nullcontext():
            return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as error:
        if error.name == name.partition(".")[0] or error.name == name:
            needed = ""
        else:
            needed = f" (it needs {error.name})"
        raise UserError(
            f"{where}: there is no module {name!r}{needed} in the current folder, and none is "
            "installed"
        ) from error
    except BaseException as error:  # the user's code may do anything, such as sys.exit()
        reason = " ".join(str(error).split()) or "no reason given"
        kind = "" if isinstance(error, Exception) else f"{type(error).__name__}: "
        raise UserError(f"{where}: {name} can't be imported: {kind}{reason}") from error


def together(codes: Sequence[Code]) -> list[Code]:
    """The same, each with the texts of all that go with it: they share what they import."""
    texts: dict[str, str] = {}
    files: dict[str, Path] = {}
    joined: list[Code] = []
    for code in codes:
        if all(texts.get(name, text) == text for name, text in code.texts.items()):
            texts |= code.texts
            files |= {name: path for name, path in code.files.items() if name not in files}
            joined.append(code)
    return [Code(code.name, texts, files) if code in joined else code for code in codes]


def chosen_code(name: str, where: str, copies: Path, wanted: str | None) -> Code | None:
    """The code of a module that a run folder names: of the current folder, installed, or its copy.

    Args:
      wanted: the checksum that it must have; None: any that is trusted.

    Returns:
      It may run; None: there is none.

    Raises:
      UserError: it is other code, or is not trusted.
    """
    here, copy = code_here(name), code_copied(name, copies)
    known = [code for code in (here, copy) if code is not None]
    fitting = [code for code in known if wanted in (None, code.checksum)]
    if known and not fitting:
        raise other_code(where, known[0], wanted or "", copies)
    if not fitting:
        return None
    code = next(filter(is_trusted, fitting), fitting[0])
    refuse_untrusted(code, where)
    if here is not None and code is not here:
        tell_of_copy(here.file, code.file)
    return code


@cache
def tell_of_copy(file: Path, copy: Path) -> None:
    """Says, once, that the copy is used."""
    tell(
        f"{file} was changed since this run was trained; the copy {copy} is used: "
        f"{page('troubles#changed-code')}"
    )


def other_code(where: str, code: Code, wanted: str, copies: Path) -> UserError:
    copy = copies / f"{code.name}.py"
    known = copy.exists() and copy != code.file
    restore = f"restore it ({copy} is a copy)" if known else "restore it"
    return UserError(
        f"{where}: {code.named} is not the code that this run began with (sha256 "
        f"{wanted[:SHOWN]}); {restore}, or take another --workdir: "
        f"{page('troubles#changed-code')}"
    )


class Member(NamedTuple):
    """A user-defined member."""

    cls: type
    code: Code | None  # None: no file has it


# By family key and name, such as ("model.likelihood", "mine:student_t").
Members = Mapping[tuple[str, str], Member]
NO_MEMBERS: Members = {}
