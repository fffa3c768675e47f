"""Every parser of kernel text: what it reads, and that nothing makes it fail in another way."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from obsd.services.host import (
    arp,
    cgroup,
    conntrack,
    cpu,
    diskstats,
    entropy,
    filefd,
    filesystem,
    loadavg,
    meminfo,
    netdev,
    netstat,
    os_release,
    pressure,
    process_table,
    schedstat,
    sockstat,
    softnet,
    stat,
    udp_queues,
    vmstat,
)
from obsd.services.host.sources import MalformedSourceError

# Parser -> a text that it reads whole.
SAMPLES: dict[Callable[[str], object], str] = {
    arp.parse_arp: (
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        "10.0.0.1         0x1         0x2         02:00:00:00:00:01     *        eth0\n"
    ),
    cgroup.parse_blkio: "8:0 Read 5\n8:0 Write 6\n8:0 Total 11\nTotal 11\n",
    cgroup.parse_flat_keyed: "usage_usec 12\nuser_usec 10\n",
    cgroup.parse_io_stat: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n8:16 \n",
    cgroup.parse_limit: "42",
    conntrack.parse_conntrack_stat: "entries found drop\n0000000a 0000001f 00000000\n0a 01 02\n",
    cpu.parse_cpuinfo: "processor\t: 0\nvendor_id\t: Acme\ncore id\t\t: 3\n\nprocessor\t: 1\n",
    diskstats.parse_diskstats: " 8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n",
    diskstats.parse_udev_properties: "S:disk/by-id/x\nE:ID_MODEL=Disk_1\nE:ID_WWN=0x5\n",
    entropy.parse_bits: "256\n",
    filefd.parse_file_nr: "638\t0\t2466183\n",
    filesystem.parse_mounts: "/dev/sda1 /a\\040b ext4 rw,relatime 0 0\n",
    loadavg.parse_loadavg: "0.74 0.30 0.17 2/171 11112\n",
    meminfo.parse_meminfo: "MemTotal:  100 kB\nActive(anon):  7 kB\nHugePages_Total:  3\n",
    netdev.parse_net_dev: "Inter-|\n face |\n eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
    netstat.parse_netstat: "Tcp: InSegs MaxConn\nTcp: 5 -1\n",
    netstat.parse_snmp6: "Ip6InOctets 128\nUdpLite6InErrors 2\nIcmp6OutType133 4\n",
    os_release.parse_os_release: '# comment\nID=debian\nNAME="Debian \\"GNU\\"/Linux"\n',
    pressure.parse_pressure: (
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
    ),
    process_table.parse_process_stat: (
        "42 (a (b) c) S 1 42 42 0 -1 4194560 900 0 3 0 250 50 0 0 20 0 4 0 1000 8192 10 0 0\n"
    ),
    schedstat.parse_schedstat: (
        "version 15\ntimestamp 1\ncpu0 0 0 0 0 0 0 2000000000 500000000 77\ndomain0 03 1 2\n"
    ),
    sockstat.parse_sockstat: "sockets: used 23\nTCP: inuse 4 orphan 0 tw 1 alloc 4 mem 3\n",
    softnet.parse_softnet: "00000005 00000001 00000000\n0000001f 0 0 0 0 0 0 0 0 0 0 0 00000003\n",
    stat.parse_stat: (
        "cpu  100 0 0 0 0 0 0 0 0 0\ncpu0 200 100 50 1000 5 0 1 2 0 0\n"
        "intr 333265 0 0 1\nctxt 542582\nbtime 1795515681\nprocesses 11112\n"
    ),
    udp_queues.parse_udp: (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n"
        "  1: 0100007F:0035 00000000:0000 07 0000000A:00000010 00:00000000 00000000\n"
    ),
    vmstat.parse_vmstat: "nr_free_pages 5\npgpgin 7\npgfault 9\noom_kill 1\n",
}
PARSERS = sorted(SAMPLES, key=lambda parse: parse.__name__)


@pytest.mark.parametrize(
    ("parse", "expected"),
    [
        (arp.parse_arp, {"eth0": 1}),
        (cgroup.parse_blkio, {"8:0": {"Read": 5, "Write": 6, "Total": 11}}),
        (cgroup.parse_io_stat, {"8:0": cgroup.DeviceIo(1, 2, 3, 4)}),
        (conntrack.parse_conntrack_stat, {"entries": 20, "found": 32, "drop": 2}),
        (cpu.parse_cpuinfo, {"0": {"vendor": "Acme", "core": "3"}, "1": {}}),
        (
            diskstats.parse_diskstats,
            [diskstats.Disk(8, 0, "sda", (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11))],
        ),
        (diskstats.parse_udev_properties, {"ID_MODEL": "Disk_1", "ID_WWN": "0x5"}),
        (filefd.parse_file_nr, (638, 2466183)),
        (
            filesystem.parse_mounts,
            [filesystem.Mount("/dev/sda1", "/a b", "ext4", frozenset({"rw", "relatime"}))],
        ),
        (loadavg.parse_loadavg, (0.74, 0.30, 0.17)),
        (
            meminfo.parse_meminfo,
            {"MemTotal_bytes": 102400, "Active_anon_bytes": 7168, "HugePages_Total": 3},
        ),
        (netstat.parse_netstat, {"Tcp_InSegs": 5, "Tcp_MaxConn": -1}),
        (
            netstat.parse_snmp6,
            {"Ip6_InOctets": 128, "UdpLite6_InErrors": 2, "Icmp6_OutType133": 4},
        ),
        (os_release.parse_os_release, {"id": "debian", "name": 'Debian "GNU"/Linux'}),
        (pressure.parse_pressure, {"some": 1.5, "full": 7e-6}),
        (schedstat.parse_schedstat, {"0": schedstat.CpuSchedule(2.0, 0.5, 77)}),
        (
            sockstat.parse_sockstat,
            {
                ("sockets", "used"): 23,
                ("TCP", "inuse"): 4,
                ("TCP", "orphan"): 0,
                ("TCP", "tw"): 1,
                ("TCP", "alloc"): 4,
                ("TCP", "mem"): 3,
            },
        ),
        (softnet.parse_softnet, {"0": [5, 1, 0], "3": [31, *[0] * 11, 3]}),
        (udp_queues.parse_udp, (10, 16)),
        (vmstat.parse_vmstat, {"pgpgin": 7, "pgfault": 9, "oom_kill": 1}),
    ],
)
def test_reads(parse: Callable[[str], object], expected: object) -> None:
    assert parse(SAMPLES[parse]) == expected


def test_reads_cpu_times_and_totals_of_stat() -> None:
    found = stat.parse_stat(SAMPLES[stat.parse_stat])
    assert found.cpus == {"0": [2.0, 1.0, 0.5, 10.0, 0.05, 0.0, 0.01, 0.02, 0.0, 0.0]}
    assert found.totals == {
        "intr": 333265,
        "ctxt": 542582,
        "btime": 1795515681,
        "processes": 11112,
    }


def test_reads_net_dev_of_a_device_with_a_colon_in_its_name() -> None:
    text = "Inter-|\n face |\neth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
    assert netdev.parse_net_dev(text)["eth0:1"]["transmit_bytes"] == 9


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@given(data=st.data())
def test_text_of_any_kind_parses_or_is_reported(
    parse: Callable[[str], object], data: st.DataObject
) -> None:
    text = data.draw(st.one_of(st.text(), damaged(SAMPLES[parse])))
    with contextlib.suppress(MalformedSourceError):
        parse(text)


def damaged(text: str) -> st.SearchStrategy[str]:
    """The text with one stretch replaced: what real files differ by is in their details."""
    position = st.integers(0, len(text))
    new = st.one_of(
        st.text(max_size=5), st.just("9" * 5000), st.sampled_from(["-1", "", "\n", ":", "=", "("])
    )
    return st.builds(
        lambda a, b, put: text[: min(a, b)] + put + text[max(a, b) :], position, position, new
    )


@given(text=st.text())
@example("a -1 b")
def test_a_limit_is_none_or_a_number(text: str) -> None:
    try:
        limit = cgroup.parse_limit(text)
    except MalformedSourceError:
        return
    assert limit is None or limit < 1 << 62


@pytest.mark.parametrize("text", [None, "", "max", "-1", "9223372036854771712"])
def test_a_limit_that_is_none(text: str | None) -> None:
    assert cgroup.parse_limit(text) is None
