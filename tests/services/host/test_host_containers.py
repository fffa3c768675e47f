import pytest

from obsd.services.host import cgroup
from obsd.services.host.cgroup import container_name, find_hierarchy, iter_groups
from obsd.services.host.containers import MAX_GROUPS, ContainerSubsystem
from obsd.services.host.sources import AbsentSourceError
from obsd.services.host.stat import TICKS_PER_SECOND

ID = "0123456789abcdef" * 4
UNIFIED = "sys/fs/cgroup"
CONTAINER = f"{UNIFIED}/system.slice/docker-{ID}.scope"
UNIFIED_FILES = {
    f"{UNIFIED}/cgroup.controllers": "cpuset cpu io memory pids\n",
    f"{UNIFIED}/cpu.stat": "usage_usec 5000000\nuser_usec 3000000\nsystem_usec 2000000\n",
    f"{UNIFIED}/memory.stat": "anon 1000\nfile 500\ninactive_file 200\n",
    f"{CONTAINER}/cpu.stat": (
        "usage_usec 2500000\nuser_usec 1500000\nsystem_usec 1000000\n"
        "nr_periods 10\nnr_throttled 4\nthrottled_usec 700000\n"
    ),
    f"{CONTAINER}/cpu.max": "50000 100000\n",
    f"{CONTAINER}/memory.current": "8000\n",
    f"{CONTAINER}/memory.stat": "anon 4000\nfile 3000\ninactive_file 1000\nfile_mapped 77\n",
    f"{CONTAINER}/memory.max": "16000\n",
    f"{CONTAINER}/memory.swap.current": "9\n",
    f"{CONTAINER}/memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n",
    f"{CONTAINER}/pids.current": "12\n",
    f"{CONTAINER}/pids.max": "max\n",
    f"{CONTAINER}/io.stat": "254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n",
}


def test_version_2(tree, values) -> None:
    paths = tree(UNIFIED_FILES)
    (paths.sysfs / "dev/block").mkdir(parents=True)
    (paths.sysfs / "dev/block/254:0").symlink_to("../../devices/virtio3/block/vda")
    found = values(ContainerSubsystem(paths, now_s=lambda: 123.0).collect())
    labels = f"id=/system.slice/docker-{ID}.scope,name=0123456789ab"
    expected = {
        f"container_cpu_usage_seconds_total{{cpu=total,{labels}}}": 2.5,
        f"container_cpu_user_seconds_total{{{labels}}}": 1.5,
        f"container_cpu_system_seconds_total{{{labels}}}": 1.0,
        f"container_cpu_cfs_periods_total{{{labels}}}": 10,
        f"container_cpu_cfs_throttled_periods_total{{{labels}}}": 4,
        f"container_cpu_cfs_throttled_seconds_total{{{labels}}}": 0.7,
        f"container_spec_cpu_quota{{{labels}}}": 50_000,
        f"container_spec_cpu_period{{{labels}}}": 100_000,
        f"container_memory_usage_bytes{{{labels}}}": 8000,
        f"container_memory_working_set_bytes{{{labels}}}": 7000,
        f"container_memory_rss{{{labels}}}": 4000,
        f"container_memory_cache{{{labels}}}": 3000,
        f"container_memory_swap{{{labels}}}": 9,
        f"container_memory_mapped_file{{{labels}}}": 77,
        f"container_memory_failcnt{{{labels}}}": 3,
        f"container_oom_events_total{{{labels}}}": 2,
        f"container_spec_memory_limit_bytes{{{labels}}}": 16000,
        f"container_threads{{{labels}}}": 12,
        f"container_threads_max{{{labels}}}": 0,
        f"container_fs_reads_bytes_total{{device=/dev/vda,{labels}}}": 1,
        f"container_fs_writes_bytes_total{{device=/dev/vda,{labels}}}": 2,
        f"container_fs_reads_total{{device=/dev/vda,{labels}}}": 3,
        f"container_fs_writes_total{{device=/dev/vda,{labels}}}": 4,
        f"container_last_seen{{{labels}}}": 123.0,
        "container_cpu_usage_seconds_total{cpu=total,id=/}": 5.0,
        "container_memory_usage_bytes{id=/}": 1500,
        "container_memory_working_set_bytes{id=/}": 1300,
        "obsd_host_cgroups_not_shown": 0,
    }
    assert {key: found.get(key) for key in expected} == pytest.approx(expected)
    assert "container_memory_rss{id=/system.slice}" not in found, "no controller is on there"


def test_version_1_where_the_unified_tree_has_no_controllers(tree, values) -> None:
    service = "system.slice/web.service"
    paths = tree(
        {
            f"{UNIFIED}/unified/cgroup.controllers": "\n",
            f"{UNIFIED}/cpuacct/{service}/cpuacct.usage": "2500000000\n",
            f"{UNIFIED}/cpuacct/{service}/cpuacct.stat": f"user {TICKS_PER_SECOND}\nsystem 0\n",
            f"{UNIFIED}/cpu/{service}/cpu.stat": "nr_periods 1\nnr_throttled 1\n"
            "throttled_time 500000000\n",
            f"{UNIFIED}/cpu/{service}/cpu.cfs_quota_us": "-1\n",
            f"{UNIFIED}/memory/{service}/memory.usage_in_bytes": "8000\n",
            f"{UNIFIED}/memory/{service}/memory.limit_in_bytes": "9223372036854771712\n",
            f"{UNIFIED}/memory/{service}/memory.stat": "total_rss 5\ntotal_inactive_file 1000\n",
            f"{UNIFIED}/memory/{service}/memory.failcnt": "6\n",
            f"{UNIFIED}/memory/{service}/memory.oom_control": "under_oom 0\noom_kill 1\n",
            f"{UNIFIED}/pids/{service}/pids.current": "3\n",
            f"{UNIFIED}/blkio/{service}/blkio.throttle.io_service_bytes_recursive": (
                "8:0 Read 10\n8:0 Write 20\nTotal 30\n"
            ),
            f"{UNIFIED}/blkio/{service}/blkio.throttle.io_serviced_recursive": "8:0 Read 1\n",
        }
    )
    found = values(ContainerSubsystem(paths).collect())
    expected = {
        f"container_cpu_usage_seconds_total{{cpu=total,id=/{service}}}": 2.5,
        f"container_cpu_user_seconds_total{{id=/{service}}}": 1.0,
        f"container_cpu_cfs_throttled_seconds_total{{id=/{service}}}": 0.5,
        f"container_memory_working_set_bytes{{id=/{service}}}": 7000,
        f"container_spec_memory_limit_bytes{{id=/{service}}}": 0,
        f"container_memory_rss{{id=/{service}}}": 5,
        f"container_memory_failcnt{{id=/{service}}}": 6,
        f"container_oom_events_total{{id=/{service}}}": 1,
        f"container_threads{{id=/{service}}}": 3,
        f"container_fs_reads_bytes_total{{device=8:0,id=/{service}}}": 10,
        f"container_fs_writes_bytes_total{{device=8:0,id=/{service}}}": 20,
        f"container_fs_reads_total{{device=8:0,id=/{service}}}": 1,
    }
    assert {key: found.get(key) for key in expected} == pytest.approx(expected)
    assert f"container_spec_cpu_quota{{id=/{service}}}" not in found


def test_containers_come_before_other_groups_when_there_are_too_many(tree, values) -> None:
    many = {
        f"{UNIFIED}/user.slice/session-{n}.scope/memory.current": "1\n" for n in range(MAX_GROUPS)
    }
    paths = tree(UNIFIED_FILES | many)
    found = values(ContainerSubsystem(paths).collect())
    shown = [key for key in found if key.startswith("container_last_seen")]
    assert len(shown) == MAX_GROUPS
    assert any(f"docker-{ID}" in key for key in shown)
    # The root, two slices, the container and the sessions.
    assert found["obsd_host_cgroups_not_shown"] == 4 + MAX_GROUPS - MAX_GROUPS


def test_a_walk_has_an_end(tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "MAX_WALKED", 3)
    paths = tree({f"{UNIFIED}/cgroup.controllers": "cpu\n", f"{UNIFIED}/a/b/c/d/e": ""})
    hierarchy = find_hierarchy(paths)
    assert hierarchy is not None
    assert list(iter_groups(hierarchy)) == ["/", "/a", "/a/b"]


def test_a_host_without_control_groups_says_so(tree) -> None:
    with pytest.raises(AbsentSourceError):
        ContainerSubsystem(tree({})).collect()


@pytest.mark.parametrize(
    ("group", "name"),
    [
        (f"/docker/{ID}", "0123456789ab"),
        (f"/system.slice/docker-{ID}.scope", "0123456789ab"),
        (f"/kubepods.slice/pod1/cri-containerd-{ID}.scope", "0123456789ab"),
        (f"/kubepods/besteffort/pod1/{ID}", "0123456789ab"),
        (f"/machine.slice/libpod-{ID}.scope", "0123456789ab"),
        ("/machine.slice/machine-debian.scope", "debian"),
        ("/lxc.payload.web", "web"),
        ("/system.slice/ssh.service", ""),
        ("/user.slice/user-1000.slice", ""),
        ("/", ""),
    ],
)
def test_names_of_containers(group: str, name: str) -> None:
    assert container_name(group) == name
