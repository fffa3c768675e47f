"""Stack traces as text, in the forms of the runtimes that people run, read into frames.

Forms: Python's traceback module, `Throwable.printStackTrace` of the JVM, V8's `Error.stack`, .NET's
`Exception.ToString`, Go's panics and `debug.Stack`, Ruby's `full_message`, PHP's
`getTraceAsString` and Rust's panics with a backtrace. What is in none of these has no frames.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

MAX_TEXT_CHARACTERS: Final = 65_536
"""What of a trace is read; deep recursion writes longer ones, whose ends look alike."""

MAX_FRAMES: Final = 200
_MAX_NAME: Final = 300
_MAX_LINE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Frame:
    """One call.

    Attributes:
        function: with its module or class where the runtime tells it.
        file: "" where it is not told.
        line: 0 where it is not told.
    """

    function: str
    file: str
    line: int

    @property
    def is_library(self) -> bool:
        """Whether it is in a runtime or an installed package, as far as names tell."""
        return bool(_LIBRARY_FILE.search(self.file) or _LIBRARY_FUNCTION.match(self.function))


@dataclass(frozen=True, slots=True)
class Raised:
    """One exception of a chain.

    Attributes:
        type: "" where the runtime has none, as for Go's panics.
        frames: the innermost call first.
    """

    type: str
    message: str
    frames: tuple[Frame, ...]


_LIBRARY_FILE: Final = re.compile(
    r"(?:site-packages|dist-packages|node_modules|/gems/|/vendor/|/pkg/mod/|/rustc/|\.cargo/)"
    r"|/lib/(?:python|ruby)[\d.]*/|/usr/local/go/src/|/go/src/runtime/|^node:|^<frozen |^internal/"
)
_LIBRARY_FUNCTION: Final = re.compile(
    r"(?:java|javax|jdk|sun|kotlin|scala|com\.sun|jakarta|org\.(?:springframework|apache|hibernate|"
    r"jboss|eclipse|junit|postgresql)|io\.(?:netty|grpc|micrometer)|com\.(?:zaxxer|mysql|fasterxml|"
    r"google)|oracle|reactor|System|Microsoft|runtime|std|core|alloc)(?:\.|::)"
)
_PYTHON_FRAME: Final = re.compile(r'^\s+File "([^"]{1,1000})", line (\d{1,9})(?:, in (.{1,300}))?$')
_PYTHON_START: Final = re.compile(r"^\s*(?:[+|]\s*)*(?:Exception Group )?Traceback \(most recent")
_JVM_FRAME: Final = re.compile(
    r"^\s+at (?:[\w.@-]{1,200}/)*([\w.$<>\[\]/-]{1,300})"
    r"\(([\w$.-]{1,200}\.(?:java|kt|kts|scala|groovy|clj)|Unknown Source|Native Method|<generated>)"
    r"(?::(\d{1,9}))?\)"
)
_V8_FRAME: Final = re.compile(
    r"^\s+at (?:async )?(?:(.{1,300}?) \()?((?:file://|node:|webpack:)?[^\s():]{1,1000}"
    r"|<anonymous>):(\d{1,9})(?::\d{1,9})?\)?$"
)
_DOTNET_FRAME: Final = re.compile(
    r"^\s+at ([\w.`<>+\[\],$|-]{1,300})\([^)]{0,1000}\)(?: in (.{1,1000}):line (\d{1,9}))?\s*$"
)
_GO_FUNCTION: Final = re.compile(
    r"^(?:created by )?([\w./*()\[\]-]{1,300}?)(?:\([^)]{0,500}\)?)?(?: in .*)?$"
)
_GO_PLACE: Final = re.compile(r"^\t(\S{1,1000}\.(?:go|s)):(\d{1,9})(?: \+0x[0-9a-f]{1,16})?$")
_RUBY_FRAME: Final = re.compile(
    r"^\s*(?:from )?(\S{1,1000}\.rb):(\d{1,9}):in [`'](.{1,300}?)'(?:: (.*))?$"
)
_PHP_FRAME: Final = re.compile(r"^#\d{1,4} (.{1,1000}?)\((\d{1,9})\): (.{1,300}?)\(")
_RUST_PANIC: Final = re.compile(r"^thread '(.{0,200}?)' (?:\(\d+\) )?panicked at (.{0,1000})$")
_RUST_FRAME: Final = re.compile(r"^\s{1,4}\d{1,4}: (?:0x[0-9a-f]{1,16} - )?(.{1,300})$")
_RUST_PLACE: Final = re.compile(r"^\s+at (\S{1,1000}?):(\d{1,9})(?::\d{1,9})?$")
_HEAD: Final = re.compile(
    r"^(?:Caused by: |Uncaught |Unhandled exception\. |Exception in thread \"[^\"]{0,200}\" "
    r"| ?---> |Suppressed: |PHP Fatal error:  Uncaught )?"
    r"([A-Za-z_][\w.$]{0,200}(?:\\\w{1,100}){0,10})(?::\s?(.*))?$"
)


def read_stack_trace(text: str) -> tuple[Raised, ...]:
    """The exceptions of a chain, the one that was seen first and its causes after it.

    Empty where the text has no frames.
    """
    lines = [line[:_MAX_LINE] for line in text[:MAX_TEXT_CHARACTERS].splitlines()]
    for read in _READERS:
        chain = read(lines)
        if any(each.frames for each in chain):
            return tuple(chain)
    return ()


def _python(lines: list[str]) -> list[Raised]:
    """Python shows causes first, and the innermost frame last."""
    chain: list[Raised] = []
    frames: list[Frame] | None = None
    for line in lines:
        if _PYTHON_START.match(line):
            frames = []
        elif frames is None:
            continue
        elif match := _PYTHON_FRAME.match(line):
            file, number, function = match.groups()
            frames.append(Frame(function or "<module>", file, int(number)))
        elif not line[:1].isspace() and (head := _HEAD.match(line)):
            chain.append(Raised(head[1], head[2] or "", tuple(frames[::-1][:MAX_FRAMES])))
            frames = None
    if frames:
        chain.append(Raised("", "", tuple(frames[::-1][:MAX_FRAMES])))
    return chain[::-1]


def _by_line(frame_of: Callable[[str], Frame | None]) -> Callable[[list[str]], list[Raised]]:
    """Runtimes with a head, and then a line for each frame, the innermost first."""

    def read(lines: list[str]) -> list[Raised]:
        chain: list[Raised] = []
        head: tuple[str, str] = ("", "")
        frames: list[Frame] = []
        for line in lines:
            if frame := frame_of(line):
                if len(frames) < MAX_FRAMES:
                    frames.append(frame)
            elif match := _HEAD.match(line):
                if frames:
                    chain.append(Raised(*head, tuple(frames)))
                    head, frames = ("", ""), []
                # A message of several lines has lines that look like heads; the first is one, and
                # so are those that say that they are.
                if head == ("", "") or line.startswith(("Caused by: ", " ---> ", "Suppressed: ")):
                    head = match[1], match[2] or ""
        if frames:
            chain.append(Raised(*head, tuple(frames)))
        return chain

    return read


def _jvm_frame(line: str) -> Frame | None:
    match = _JVM_FRAME.match(line)
    return match and Frame(match[1], match[2], int(match[3] or 0))


def _v8_frame(line: str) -> Frame | None:
    match = _V8_FRAME.match(line)
    return match and Frame(match[1] or "<anonymous>", match[2], int(match[3]))


def _dotnet_frame(line: str) -> Frame | None:
    match = _DOTNET_FRAME.match(line)
    return match and Frame(match[1], match[2] or "", int(match[3] or 0))


def _php_frame(line: str) -> Frame | None:
    match = _PHP_FRAME.match(line)
    return match and Frame(match[3], match[1], int(match[2]))


def _go(lines: list[str]) -> list[Raised]:
    message = next((line[7:] for line in lines if line.startswith("panic: ")), "")
    frames = [
        Frame(function[1], place[1], int(place[2]))
        for above, line in itertools.pairwise(lines)
        if (place := _GO_PLACE.match(line)) and (function := _GO_FUNCTION.match(above))
    ]
    # What handles the panic is above the call that panicked.
    handlers = [i for i, frame in enumerate(frames) if frame.function == "panic"]
    begin = handlers[-1] + 1 if handlers else 0
    return [Raised("panic" if message else "", message, tuple(frames[begin:][:MAX_FRAMES]))]


def _ruby(lines: list[str]) -> list[Raised]:
    frames: list[Frame] = []
    raised = ("", "")
    for line in lines:
        if match := _RUBY_FRAME.match(line):
            frames.append(Frame(match[3], match[1], int(match[2])))
            if match[4] and raised == ("", ""):
                message, _, kind = match[4].rpartition(" (")
                raised = (kind.rstrip(")"), message) if message else ("", match[4])
    return [Raised(*raised, tuple(frames[:MAX_FRAMES]))]


def _rust(lines: list[str]) -> list[Raised]:
    message = ""
    functions: list[Frame] = []
    for above, line in itertools.pairwise(["", *lines]):
        if _RUST_PANIC.match(above):
            message = line
        elif match := _RUST_FRAME.match(line):
            functions.append(Frame(match[1], "", 0))
        elif functions and (place := _RUST_PLACE.match(line)):
            functions[-1] = Frame(functions[-1].function, place[1], int(place[2]))
    if not message:  # Frames alone could be of anybody.
        return []
    inner = [f for f in functions if "panicking" not in f.function and "unwind" not in f.function]
    return [Raised("panic", message, tuple(inner[:MAX_FRAMES]))]


_READERS: Final = (
    _python,
    _rust,
    _by_line(_jvm_frame),
    _by_line(_v8_frame),
    _by_line(_dotnet_frame),
    _go,
    _by_line(_php_frame),
    _ruby,
)

_VARYING: Final = (
    re.compile(r"\$\$Lambda[$\d/a-fx]*"),  # The JVM's names for lambdas,
    re.compile(r"\$\$(?:EnhancerBy|FastClassBy|SpringCGLIB)\w*\$\$\w*"),  # proxies
    re.compile(
        r"(?:GeneratedMethodAccessor|GeneratedConstructorAccessor|\$Proxy)\d+"
    ),  # and stubs.
    re.compile(r"::h[0-9a-f]{16}$"),  # Rust's hashes,
    re.compile(r"0x[0-9a-fA-F]+"),  # addresses,
    re.compile(r"(?<=\.func)\d+(?:\.\d+)*"),  # and the numbers of Go's closures.
    re.compile(r"<locals>\."),
)


def stable_name(function: str) -> str:
    """The function without what differs from one build or run to the next."""
    for varying in _VARYING:
        function = varying.sub("", function)
    return function[:_MAX_NAME]


def top_frames(frames: Iterable[Frame], count: int) -> list[Frame]:
    """The innermost frames of the application; of all where none is its own."""
    frames = list(frames)
    own = [frame for frame in frames if not frame.is_library]
    return (own or frames)[:count]
