"""The code of user-defined members: what it is, whether it may run, and running it.

Code that a command or a config file of the user names runs as any import does. Code that a run
folder names runs only if its checksum is trusted: this machine ran it for the user before, or the
user says so (`--trust`, `trust=True`).
"""

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from vae_jax.errors import UserError, tell

# {module: the code that it was made from}, of those that user-defined members were taken from.
LOADED: dict[str, "Code"] = {}
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


def imported(text: str, name: str, *, is_package: bool) -> Iterator[str]:
    """The names of the modules that a text may import, those inside functions too."""
    package = name if is_package else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(parts if node.level else []), *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def root_of(name: str, file: Path) -> Path:
    """The folder that the top of the module's name is found in."""
    return file.parents[name.count(".") + (file.name == "__init__.py")]


def found(name: str) -> Code | None:
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
        at = left.pop()
        path = located(at)
        own_top = at.partition(".")[0]
        if at in texts or path is None or own_top == "vae_jax" or root_of(at, path) != root:
            continue
        if installed and own_top != top:
            continue
        try:
            texts[at], files[at] = path.read_text("utf-8"), path
            more = imported(texts[at], at, is_package=path.name == "__init__.py")
            left += [n for n in more if n]
        except (OSError, SyntaxError, ValueError):  # importing it says what is wrong
            continue
        left += [at.rpartition(".")[0]] if "." in at else []
    return Code(name, texts, files) if name in texts else None


def copied(name: str, copies: Path) -> Code | None:
    """The code of a module that a run folder brings; None: it does not."""
    files = {path.name.removesuffix(".py"): path for path in sorted(copies.glob("*.py"))}
    if name not in files:
        return None
    try:
        texts = {own: path.read_text("utf-8") for own, path in files.items()}
        every = Code(name, texts, files)
        used, left = set(), [name]
        while left:  # the folder may bring other modules too
            at = left.pop()
            if at in texts and at not in used:
                used.add(at)
                package = any(other.startswith(f"{at}.") for other in texts)
                left += [*imported(texts[at], at, is_package=package), at.rpartition(".")[0]]
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{copies} can't be read as Python ({error})") from error
    return every._replace(
        texts={own: texts[own] for own in used}, files={own: files[own] for own in used}
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
            f"{where} is code of one's own, {code.named}, that this machine has not run yet; read "
            "it, and run it by --trust (in Python: trust=True)"
        )
    tell(f"runs {code.named}, as the run folder names it")
    trust(code)


class Texts:
    """Imports the modules of a Code from their texts, whatever compiled files lie beside them."""

    def __init__(self, code: Code):
        self.code = code

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        texts, files = self.code.texts, self.code.files
        package = any(other.startswith(f"{name}.") for other in texts)
        if name not in texts:
            lost = package and PathFinder.find_spec(name, path) is None
            return ModuleSpec(name, None, is_package=True) if lost else None
        own = files[name].name == "__init__.py"
        return importlib.util.spec_from_file_location(
            name,
            files[name],
            loader=self,  # type: ignore[arg-type]
            submodule_search_locations=[str(files[name].parent)] * own if package or own else None,
        )

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        text, file = self.code.texts[name], str(self.code.files[name])
        exec(compile(text, file, "exec", dont_inherit=True), module.__dict__)


def run(code: Code | None, name: str, where: str, *, from_texts: bool = False) -> ModuleType:
    """The module, imported; `from_texts`: from these texts alone.

    Raises:
      UserError: it raised, whatever that was.
    """
    finders = [Texts(code)] if from_texts and code is not None else []
    sys.meta_path[:0] = finders
    try:
        module = importlib.import_module(name)
        finders = []  # it stays, for what the module imports later
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
    finally:
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in finders]
    if code is not None:
        LOADED[name] = code
    return module


def of_user(name: str, where: str) -> ModuleType:
    """The module that the user's command or config file names.

    Raises:
      UserError: there is none, or it raised.
    """
    code = found(name)
    module = run(code, name, where)
    if code is not None:
        trust(code)
    return module


def of_folder(name: str, where: str, copies: Path, wanted: str | None) -> ModuleType:
    """The module that a run folder names, from the current folder, installed, or from its copy.

    `wanted`: the checksum that its code must have; None: any that is trusted.

    Raises:
      UserError: there is none, it is other code, it is not trusted, or it raised.
    """
    here, copy = found(name), copied(name, copies)
    there = [code for code in (here, copy) if code is not None]
    fitting = [code for code in there if wanted in (None, code.checksum)]
    if there and not fitting:
        raise other_code(where, there[0], wanted or "", copies)
    if not fitting:
        return run(None, name, where)  # says that there is none
    code = next(filter(is_trusted, fitting), fitting[0])
    refuse_untrusted(code, where)
    if here is not None and code is not here:
        tell(
            f"{here.file} is not what it was when this run was trained; {code.file} is, and is used"
        )
    refuse_other_modules(code, where)
    if name in sys.modules:
        LOADED[name] = code
        return sys.modules[name]
    return run(code, name, where, from_texts=True)


def refuse_other_modules(code: Code, where: str) -> None:
    """Raises UserError if this process has imported other modules of these names."""
    in_use = {name: text for one in LOADED.values() for name, text in one.texts.items()}
    for name, text in code.texts.items():
        if name not in sys.modules:
            continue
        there = found(name)
        if in_use.get(name, there and there.texts[name]) != text:
            raise UserError(
                f"{where}: this process has imported another {name} than {code.named} needs; load "
                "the run in a new process"
            )


def other_code(where: str, code: Code, wanted: str, copies: Path) -> UserError:
    copy = copies / f"{code.name}.py"
    known = copy.exists() and copy != code.file
    restore = f"restore it ({copy} is a copy)" if known else "restore it"
    return UserError(
        f"{where}: {code.named} is not the code that this run began with (sha256 "
        f"{wanted[:SHOWN]}); {restore}, or take another --workdir"
    )


def changed(name: str) -> bool:
    """Whether the files of a module that is in use are not what they were when it was imported."""
    code = LOADED.get(name)
    if code is None:
        return False
    with contextlib.suppress(OSError, ValueError):
        return any(code.files[own].read_text("utf-8") != text for own, text in code.texts.items())
    return False  # they are gone, and so is the question
