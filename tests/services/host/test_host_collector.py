"""The collector as a whole, over trees of files."""

import fnmatch
import logging
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obsd.services.host import HostCollector

DOCS = Path(__file__).parents[3] / "docs" / "host-metrics.md"
LINE = re.compile(
    r"# (HELP|TYPE) \w+ .*"
    r'|\w+(\{\w+="(?:[^"\\\n]|\\[\\"n])*"(,\w+="(?:[^"\\\n]|\\[\\"n])*")*\})? '
    r"(NaN|[+-]Inf|-?[0-9.]+(e[+-]?\d+)?)"
)
# Files, each read by another parser, whose text hypothesis chooses.
FILES = (
    *("proc/loadavg", "proc/stat", "proc/meminfo", "proc/vmstat", "proc/diskstats"),
    *("proc/1/mounts", "proc/1/stat", "proc/self/stat", "proc/cpuinfo", "proc/schedstat"),
    *("proc/net/dev", "proc/net/netstat", "proc/net/snmp", "proc/net/snmp6", "proc/net/arp"),
    *("proc/net/sockstat", "proc/net/softnet_stat", "proc/net/udp", "proc/pressure/cpu"),
    *("proc/sys/fs/file-nr", "proc/sys/kernel/hostname", "proc/sys/kernel/pid_max"),
    *("proc/sys/kernel/random/entropy_avail", "proc/sys/net/netfilter/nf_conntrack_count"),
    *("sys/class/net/eth0/speed", "sys/class/net/eth0/operstate", "sys/fs/cgroup/cgroup.max"),
    *("sys/fs/cgroup/cgroup.controllers", "sys/fs/cgroup/cpu.stat", "sys/fs/cgroup/io.stat"),
    *("sys/class/hwmon/hwmon0/temp1_input", "sys/class/thermal/thermal_zone0/temp"),
    *("sys/class/power_supply/AC/online", "sys/class/dmi/id/bios_date", "root/etc/os-release"),
)
TEXT = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(["cpu0", "Tcp:", "eth0:", "8", "0", "-1", "max", "1e9", "9" * 400, "(a)"]),
        max_size=24,
    ).map(" ".join),
)


def collector_over(directory: Path) -> HostCollector:
    return HostCollector(
        procfs=directory / "proc", sysfs=directory / "sys", rootfs=directory / "root"
    )


def successes(text: str) -> dict[str, str]:
    return dict(
        re.findall(r'^node_scrape_collector_success\{collector="(\w+)"\} (\d)$', text, re.MULTILINE)
    )


@settings(max_examples=60)
@given(files=st.dictionaries(st.sampled_from(FILES), TEXT, max_size=12))
def test_any_files_give_well_formed_text(files: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for file, text in files.items():
            path = directory / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", errors="surrogatepass")
        collector = collector_over(directory)
        for _ in range(2):  # The second time with what the first one kept.
            text = collector.collect().decode()
            assert set(successes(text).values()) <= {"0", "1"}
            for line in text.split("\n")[:-1]:
                assert LINE.fullmatch(line), line


def test_an_empty_tree_fails_each_subsystem_by_itself(tmp_path: Path) -> None:
    found = successes(collector_over(tmp_path).collect().decode())
    assert found["loadavg"] == found["meminfo"] == found["uname"] == "0"
    assert found["time"] == found["timex"] == "1"


def test_one_broken_file_hurts_only_its_subsystem(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/loadavg").write_text("0.74 0.30 0.17 2/171 11112\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal: many kB\n")
    collector = collector_over(tmp_path)
    with caplog.at_level(logging.WARNING):
        text = collector.collect().decode()
        again = collector.collect().decode()
    assert "\nnode_load1 0.74\n" in text
    assert successes(text)["meminfo"] == successes(again)["meminfo"] == "0"
    assert successes(text)["loadavg"] == "1"
    told = [r for r in caplog.records if getattr(r, "subsystem", "") == "meminfo"]
    assert len(told) == 1, "a lasting failure is logged once"


def test_a_subsystem_comes_back(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    collector = collector_over(tmp_path)
    assert successes(collector.collect().decode())["loadavg"] == "0"
    (tmp_path / "proc/loadavg").write_text("1.5 0.30 0.17 2/171 11112\n")
    text = collector.collect().decode()
    assert successes(text)["loadavg"] == "1"
    assert "\nnode_load1 1.5\n" in text


def test_every_subsystem_and_every_family_is_documented() -> None:
    page = DOCS.read_text()
    text = HostCollector().collect().decode()
    rows = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert successes(text).keys() - rows == set()
    patterns = re.findall(r"`([a-zA-Z0-9_*]+)(?:\{[^}`]*\})?`", page)
    families = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    undocumented = [
        name for name in families if not any(fnmatch.fnmatchcase(name, p) for p in patterns)
    ]
    assert undocumented == []


def test_no_series_and_no_family_is_there_twice() -> None:
    text = HostCollector().collect().decode()
    series = [line.rsplit(" ", 1)[0] for line in text.splitlines() if not line.startswith("#")]
    types = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(series) == len(set(series))
    assert len(types) == len(set(types))
    assert len(series) > 300
