from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from obsd.services.host import processes
from obsd.services.host.process_groups import MAX_GROUPS, STAY_COLLECTIONS, ProcessGroups
from obsd.services.host.process_table import (
    KERNEL_GROUP,
    Process,
    ProcessTable,
    parse_process_stat,
    read_process_table,
)
from obsd.services.host.sockstat import PAGE_BYTES
from obsd.services.host.stat import TICKS_PER_SECOND

IDLE = Process(
    pid=1,
    name="init",
    state="S",
    threads=1,
    start_ticks=0,
    user_s=0.0,
    system_s=0.0,
    major_faults=0,
    minor_faults=0,
    virtual_bytes=0,
    resident_pages=0,
    is_kernel_thread=False,
)


def stat_line(pid: int, name: str, parent: int = 1, state: str = "S", threads: int = 1) -> str:
    return (
        f"{pid} ({name}) {state} {parent} 1 1 0 -1 0 900 0 3 0 250 50 0 0 20 0 {threads} 0"
        f" 1000 8192 10 0\n"
    )


def test_a_process_of_any_name_is_read() -> None:
    found = parse_process_stat(stat_line(42, "a) S (b c", threads=4))
    assert found.pid == 42
    assert found.name == found.group == "a) S (b c"
    assert (found.state, found.threads, found.start_ticks) == ("S", 4, 1000)
    assert found.user_s == 250 / TICKS_PER_SECOND
    assert found.system_s == 50 / TICKS_PER_SECOND
    assert (found.minor_faults, found.major_faults) == (900, 3)
    assert (found.virtual_bytes, found.resident_pages) == (8192, 10)


def test_kernel_threads_are_one_group() -> None:
    assert parse_process_stat(stat_line(2, "kthreadd", parent=0)).group == KERNEL_GROUP
    assert parse_process_stat(stat_line(9, "kworker/0:1", parent=2)).group == KERNEL_GROUP
    assert parse_process_stat(stat_line(1, "init", parent=0)).group == "init"


def test_states_and_limits(tree, values) -> None:
    paths = tree(
        {
            "proc/1/stat": stat_line(1, "init"),
            "proc/7/stat": stat_line(7, "worker", state="R", threads=3),
            "proc/8/stat": stat_line(8, "other"),
            "proc/9/status": "a process that ended before its stat was read",
            "proc/sys/kernel/pid_max": "4194304\n",
            "proc/sys/kernel/threads-max": "192675\n",
        }
    )
    assert values(processes.collect(paths, lambda: read_process_table(paths))) == {
        "node_processes_state{state=R}": 1,
        "node_processes_state{state=S}": 2,
        "node_processes_pids": 3,
        "node_processes_threads": 5,
        "node_processes_max_processes": 4194304,
        "node_processes_max_threads": 192675,
    }


def test_the_table_is_read_once_for_each_round_of_readers(tree) -> None:
    table = ProcessTable(tree({"proc/1/stat": stat_line(1, "init")}))
    first = table.read_for("a")
    assert table.read_for("b") is first
    assert table.read_for("a") is not first


class Host:
    """A list of processes that a test changes, and the groups that are seen of it."""

    def __init__(self) -> None:
        self.table: list[Process] = []
        self.groups = ProcessGroups(lambda: self.table, lambda: 1_000.0)

    def look(self, values) -> dict[str, float]:
        return values(self.groups.collect())


def cpu(found: dict[str, float], group: str) -> float | None:
    return found.get(f"namedprocess_namegroup_cpu_seconds_total{{groupname={group},mode=user}}")


def test_a_group_sums_its_processes_and_keeps_what_ended_ones_used(values) -> None:
    host = Host()
    one = replace(IDLE, name="web", pid=10, user_s=5.0, resident_pages=2, threads=3)
    two = replace(one, pid=11, user_s=1.0, start_ticks=TICKS_PER_SECOND)
    host.table = [one, two]
    found = host.look(values)
    assert cpu(found, "web") == 6.0
    assert found["namedprocess_namegroup_num_procs{groupname=web}"] == 2
    assert found["namedprocess_namegroup_num_threads{groupname=web}"] == 6
    resident = "namedprocess_namegroup_memory_bytes{groupname=web,memtype=resident}"
    assert found[resident] == 4 * PAGE_BYTES

    host.table = [replace(two, user_s=1.5)]
    found = host.look(values)
    assert cpu(found, "web") == 6.5
    assert found["namedprocess_namegroup_num_procs{groupname=web}"] == 1
    assert found["namedprocess_namegroup_oldest_start_time_seconds{groupname=web}"] == 1_001.0


def test_a_reused_pid_is_another_process(values) -> None:
    host = Host()
    host.table = [replace(IDLE, name="job", pid=10, user_s=5.0, start_ticks=7)]
    host.look(values)
    host.table = [replace(IDLE, name="job", pid=10, user_s=2.0, start_ticks=9)]
    assert cpu(host.look(values), "job") == 7.0


def test_a_group_that_is_gone_stays_for_a_while_and_then_leaves(values) -> None:
    host = Host()
    host.table = [replace(IDLE, name="job", pid=10, user_s=5.0)]
    host.look(values)
    host.table = [IDLE]
    shown = [cpu(host.look(values), "job") for _ in range(STAY_COLLECTIONS + 1)]
    assert shown == [5.0] * (STAY_COLLECTIONS - 1) + [None, None]


PROCESSES = st.builds(
    lambda pid, name, start, user, pages: replace(
        IDLE, pid=pid, name=f"p{name}", start_ticks=start, user_s=user, resident_pages=pages
    ),
    st.integers(1, 300),
    st.integers(0, 120),
    st.integers(0, 3),
    st.floats(0, 1e6),
    st.integers(0, 1 << 40),
)


@given(rounds=st.lists(st.lists(PROCESSES, max_size=150, unique_by=lambda p: p.pid), max_size=6))
def test_groups_are_few_and_their_counters_never_step_back(
    rounds: list[list[Process]],
) -> None:
    host = Host()
    last: dict[str, float] = {}
    for table in rounds:
        host.table = table
        families = {family.name: family for family in host.groups.collect()}
        samples = families["namedprocess_namegroup_cpu_seconds_total"].samples
        now = {labels["groupname"]: v for labels, v in samples if labels["mode"] == "user"}
        assert len(now) <= MAX_GROUPS
        for group, value in now.items():
            assert value >= last.get(group, 0.0)
        last = now
