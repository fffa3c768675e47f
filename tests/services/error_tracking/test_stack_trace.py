import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.services.error_tracking.stack_trace import (
    MAX_FRAMES,
    MAX_TEXT_CHARACTERS,
    read_stack_trace,
    stable_name,
    top_frames,
)
from tests.services.error_tracking.traces import TRACES


@pytest.mark.parametrize("runtime", TRACES)
def test_runtimes_are_read(runtime: str) -> None:
    text, chain, innermost = TRACES[runtime]
    found = read_stack_trace(text)
    assert [(raised.type, raised.message) for raised in found] == chain
    frame = top_frames(found[-1].frames, 1)[0]
    assert (frame.function, frame.file, frame.line) == innermost


@pytest.mark.parametrize(
    "text",
    [
        "",
        "all is well",
        "at noon we (all) met",
        'File "x", line',
        "Traceback (most recent call last):",
    ],
)
def test_other_texts_have_no_frames(text: str) -> None:
    assert read_stack_trace(text) == ()


@given(st.text(max_size=500))
def test_any_text_is_read(text: str) -> None:
    read_stack_trace(text)


@pytest.mark.parametrize("runtime", TRACES)
def test_a_trace_cut_anywhere_is_read(runtime: str) -> None:
    text = TRACES[runtime][0]
    for end in range(len(text)):
        read_stack_trace(text[:end])


@pytest.mark.parametrize(
    "piece",
    ["    at ", "((((", "a.b.c", "/x", '  File "', "from x.rb:1:in `", "#0 ", "0x", "\t/a.go:"],
)
def test_hostile_texts_come_to_an_end(piece: str) -> None:
    """An expression that tries all ways to match would be at it for hours."""
    text = piece * (MAX_TEXT_CHARACTERS // len(piece))
    assert read_stack_trace(text) == ()
    assert len(read_stack_trace(text.replace(piece, piece + "\n"))) <= 1


def test_deep_recursion_is_cut() -> None:
    text = "Error: deep\n" + "    at f (/a.js:1:1)\n" * 3 * MAX_FRAMES
    assert len(read_stack_trace(text)[0].frames) == MAX_FRAMES


def test_libraries_are_told_from_the_application() -> None:
    chain = read_stack_trace(TRACES["java"][0])
    assert [frame.is_library for frame in chain[1].frames] == [True, False]


@pytest.mark.parametrize(
    ("function", "stable"),
    [
        ("com.acme.Main$$Lambda$14/0x0000000800066840.run", "com.acme.Main.run"),
        ("jdk.internal.GeneratedMethodAccessor57.invoke", "jdk.internal..invoke"),
        ("demo::work::h0123456789abcdef", "demo::work"),
        ("main.main.func1.2", "main.main.func"),
        ("outer.<locals>.inner", "outer.inner"),
    ],
)
def test_names_lose_what_differs_between_runs(function: str, stable: str) -> None:
    assert stable_name(function) == stable
