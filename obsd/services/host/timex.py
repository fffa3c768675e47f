"""How the kernel disciplines its clock: adjtimex(2)."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from typing import Final

from obsd.services.host.family import Family, counter, gauge

_TIME_ERROR: Final = 5  # The state in which the clock is not synchronised.
_STA_NANO: Final = 0x2000
_SCALED_PPM: Final = 65536.0 * 1e6  # Frequencies are parts per million with 16 bits of fraction.


class Timex(ctypes.Structure):
    """`struct timex` of linux/timex.h."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time_s", ctypes.c_long),
        ("time_fraction", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def read_timex() -> tuple[Timex, int]:
    """The clock's discipline and its state; with `modes` 0 nothing is changed.

    Raises:
        OSError: the kernel, or a seccomp filter, refuses the call.
    """
    timex = Timex()
    state = _libc().adjtimex(ctypes.byref(timex))
    if state < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return timex, state


class TimexSubsystem:
    """Takes the system call as a parameter, since no file has these numbers."""

    def __init__(self, read: Callable[[], tuple[Timex, int]] = read_timex) -> None:
        self._read = read

    def collect(self) -> list[Family]:
        return to_families(*self._read())


def to_families(timex: Timex, state: int) -> list[Family]:
    fraction = 1e9 if timex.status & _STA_NANO else 1e6
    gauges = (
        (
            "offset_seconds",
            timex.offset / fraction,
            "Time offset in between local system and reference clock.",
        ),
        (
            "frequency_adjustment_ratio",
            1 + timex.freq / _SCALED_PPM,
            "Local clock frequency adjustment.",
        ),
        ("maxerror_seconds", timex.maxerror / 1e6, "Maximum error in seconds."),
        ("estimated_error_seconds", timex.esterror / 1e6, "Estimated error in seconds."),
        ("status", timex.status, "Value of the status array bits."),
        ("loop_time_constant", timex.constant, "Phase-locked loop time constant."),
        ("tick_seconds", timex.tick / 1e6, "Seconds between clock ticks."),
        (
            "pps_frequency_hertz",
            timex.ppsfreq / _SCALED_PPM,
            "Pulse per second frequency.",
        ),
        ("pps_jitter_seconds", timex.jitter / fraction, "Pulse per second jitter."),
        ("pps_shift_seconds", timex.shift, "Pulse per second interval duration."),
        (
            "pps_stability_hertz",
            timex.stabil / _SCALED_PPM,
            "Pulse per second stability, average of recent frequency changes.",
        ),
        ("tai_offset_seconds", timex.tai, "International Atomic Time (TAI) offset."),
        (
            "sync_status",
            state != _TIME_ERROR,
            "Is clock synchronized to a reliable server (1 = yes, 0 = no).",
        ),
    )
    counters = (
        (
            "pps_jitter_total",
            timex.jitcnt,
            "Pulse per second count of jitter limit exceeded events.",
        ),
        (
            "pps_calibration_total",
            timex.calcnt,
            "Pulse per second count of calibration intervals.",
        ),
        ("pps_error_total", timex.errcnt, "Pulse per second count of calibration errors."),
        (
            "pps_stability_exceeded_total",
            timex.stbcnt,
            "Pulse per second count of stability limit exceeded events.",
        ),
    )
    return [gauge(f"node_timex_{name}", text, value) for name, value, text in gauges] + [
        counter(f"node_timex_{name}", text, value) for name, value, text in counters
    ]
