"""Hardware that this machine may lack: each subsystem over a tree that has it."""

import pytest

from obsd.services.host import (
    edac,
    hwmon,
    kernel_hung,
    netclass,
    power_supply,
    pressure,
    rapl,
    selinux,
    softnet,
    system_time,
    thermal_zone,
    timex,
    uname,
)
from obsd.services.host.cpu import CpuSubsystem, collect_cpufreq, monotonic_times
from obsd.services.host.diskstats import DiskstatsSubsystem
from obsd.services.host.dmi import DmiSubsystem
from obsd.services.host.os_release import OsSubsystem
from obsd.services.host.sources import AbsentSourceError


def test_sensors_are_named_by_bus_and_address(tree, values) -> None:
    chip = "sys/devices/platform/coretemp.0/hwmon/hwmon1"
    paths = tree(
        {
            f"{chip}/name": "coretemp\n",
            f"{chip}/temp1_input": "42500\n",
            f"{chip}/temp1_crit": "100000\n",
            f"{chip}/temp1_crit_hyst": "95000\n",
            f"{chip}/temp1_crit_alarm": "1\n",
            f"{chip}/temp1_max": "90000\n",
            f"{chip}/temp1_label": "Core 0\n",
            f"{chip}/fan2_input": "1200\n",
            f"{chip}/fan2_min": "300\n",
            f"{chip}/fan2_alarm": "0\n",
            f"{chip}/in0_input": "1050\n",
            f"{chip}/curr1_input": "250\n",
            f"{chip}/power1_input": "15500000\n",
            f"{chip}/energy1_input": "2000000\n",
            f"{chip}/pwm1": "128\n",
            f"{chip}/fan2_beep": "1\n",
            f"{chip}/fan2_div": "8\n",
            f"{chip}/humidity1_input": "456000\n",
            f"{chip}/power1_average_interval": "300000\n",
            f"{chip}/temp1_type": "4\n",
            f"{chip}/temp2_input": "not a number\n",
            f"{chip}/uevent": "",
        }
    )
    (paths.sysfs / "devices/platform/coretemp.0/hwmon/hwmon1/device").symlink_to("../..")
    (paths.sysfs / "class/hwmon").mkdir(parents=True)
    (paths.sysfs / "class/hwmon/hwmon1").symlink_to(
        "../../devices/platform/coretemp.0/hwmon/hwmon1"
    )
    found = values(hwmon.collect(paths))
    name = "chip=platform_coretemp_0"
    assert found == pytest.approx(
        {
            f"node_hwmon_chip_names{{{name},chip_name=coretemp}}": 1,
            f"node_hwmon_sensor_label{{{name},label=Core 0,sensor=temp1}}": 1,
            f"node_hwmon_temp_celsius{{{name},sensor=temp1}}": 42.5,
            f"node_hwmon_temp_crit_celsius{{{name},sensor=temp1}}": 100,
            f"node_hwmon_temp_crit_hyst_celsius{{{name},sensor=temp1}}": 95,
            f"node_hwmon_temp_crit_alarm_celsius{{{name},sensor=temp1}}": 0.001,
            f"node_hwmon_temp_max_celsius{{{name},sensor=temp1}}": 90,
            f"node_hwmon_fan_rpm{{{name},sensor=fan2}}": 1200,
            f"node_hwmon_fan_min_rpm{{{name},sensor=fan2}}": 300,
            f"node_hwmon_fan_alarm{{{name},sensor=fan2}}": 0,
            f"node_hwmon_in_volts{{{name},sensor=in0}}": 1.05,
            f"node_hwmon_curr_amps{{{name},sensor=curr1}}": 0.25,
            f"node_hwmon_power_watt{{{name},sensor=power1}}": 15.5,
            f"node_hwmon_energy_joule_total{{{name},sensor=energy1}}": 2,
            f"node_hwmon_pwm{{{name},sensor=pwm1}}": 128,
            f"node_hwmon_fan_beep_enabled{{{name},sensor=fan2}}": 1,
            f"node_hwmon_fan_div{{{name},sensor=fan2}}": 8,
            f"node_hwmon_humidity{{{name},sensor=humidity1}}": 0.456,
            f"node_hwmon_power_average_interval_seconds{{{name},sensor=power1}}": 300,
            f"node_hwmon_temp_type{{{name},sensor=temp1}}": 4,
        }
    )


def test_a_chip_without_a_device_goes_by_its_name(tree, values) -> None:
    paths = tree(
        {
            "sys/class/hwmon/hwmon0/name": "Nvme Disk\n",
            "sys/class/hwmon/hwmon0/temp1_input": "30000\n",
        }
    )
    found = values(hwmon.collect(paths))
    assert found["node_hwmon_temp_celsius{chip=nvme_disk,sensor=temp1}"] == 30


def test_thermal_zones_and_cooling(tree, values) -> None:
    paths = tree(
        {
            "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp\n",
            "sys/class/thermal/thermal_zone0/temp": "-5500\n",
            "sys/class/thermal/cooling_device3/type": "Processor\n",
            "sys/class/thermal/cooling_device3/cur_state": "1\n",
            "sys/class/thermal/cooling_device3/max_state": "10\n",
        }
    )
    assert values(thermal_zone.collect(paths)) == {
        "node_thermal_zone_temp{type=x86_pkg_temp,zone=0}": -5.5,
        "node_cooling_device_cur_state{name=3,type=Processor}": 1,
        "node_cooling_device_max_state{name=3,type=Processor}": 10,
    }


def test_power_supplies(tree, values) -> None:
    paths = tree(
        {
            "sys/class/power_supply/AC/online": "1\n",
            "sys/class/power_supply/AC/type": "Mains\n",
            "sys/class/power_supply/BAT0/capacity": "81\n",
            "sys/class/power_supply/BAT0/voltage_now": "12229000\n",
        }
    )
    found = values(power_supply.collect(paths))
    assert found["node_power_supply_online{power_supply=AC}"] == 1
    assert found["node_power_supply_capacity{power_supply=BAT0}"] == 81
    assert found["node_power_supply_voltage_volt{power_supply=BAT0}"] == pytest.approx(12.229)
    assert found["node_power_supply_info{power_supply=AC,type=Mains}"] == 1


def test_memory_errors(tree, values) -> None:
    mc = "sys/devices/system/edac/mc/mc0"
    paths = tree(
        {
            f"{mc}/ce_count": "1\n",
            f"{mc}/ue_count": "2\n",
            f"{mc}/ce_noinfo_count": "3\n",
            f"{mc}/csrow0/ce_count": "4\n",
            f"{mc}/csrow0/ue_count": "5\n",
        }
    )
    assert values(edac.collect(paths)) == {
        "node_edac_correctable_errors_total{controller=0}": 1,
        "node_edac_uncorrectable_errors_total{controller=0}": 2,
        "node_edac_csrow_correctable_errors_total{controller=0,csrow=unknown}": 3,
        "node_edac_csrow_correctable_errors_total{controller=0,csrow=0}": 4,
        "node_edac_csrow_uncorrectable_errors_total{controller=0,csrow=0}": 5,
    }


def test_energy_of_packages(tree, values) -> None:
    base = "sys/class/powercap"
    paths = tree(
        {
            f"{base}/intel-rapl:0/name": "package-0\n",
            f"{base}/intel-rapl:0/energy_uj": "240422366267\n",
            f"{base}/intel-rapl:0:0/name": "core\n",
            f"{base}/intel-rapl:0:0/energy_uj": "1000000\n",
        }
    )
    where = f"{paths.sysfs}/class/powercap"
    assert values(rapl.collect(paths)) == pytest.approx(
        {
            f"node_rapl_package_joules_total{{index=0,path={where}/intel-rapl:0}}": 240422.366267,
            f"node_rapl_core_joules_total{{index=0,path={where}/intel-rapl:0:0}}": 1,
        }
    )


@pytest.mark.parametrize(
    "collect", [hwmon.collect, rapl.collect, pressure.collect, kernel_hung.collect]
)
def test_what_a_machine_lacks_is_said_to_be_absent(collect, tree) -> None:
    with pytest.raises(AbsentSourceError):
        collect(tree({}))


def test_frequencies(tree, values) -> None:
    cpu = "sys/devices/system/cpu"
    paths = tree(
        {
            f"{cpu}/cpu0/cpufreq/scaling_cur_freq": "1699981\n",
            f"{cpu}/cpu0/cpufreq/scaling_max_freq": "3700000\n",
            f"{cpu}/cpufreq/policy0": "",
        }
    )
    assert values(collect_cpufreq(paths)) == {
        "node_cpu_scaling_frequency_hertz{cpu=0}": 1_699_981_000,
        "node_cpu_scaling_frequency_max_hertz{cpu=0}": 3_700_000_000,
    }


def test_cpu_times_throttling_and_info(tree, values) -> None:
    files = {
        "proc/stat": "cpu  1 1 1 1\ncpu0 200 0 0 1000 50 0 0 0 30 20\n",
        "proc/cpuinfo": "processor : 0\nmodel name : Acme 9000\n",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "5\n",
        "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "6\n",
        "sys/devices/system/cpu/cpu0/topology/core_id": "0\n",
        "sys/devices/system/cpu/cpu0/topology/physical_package_id": "1\n",
    }
    subsystem = CpuSubsystem(tree(files))
    found = values(subsystem.collect())
    assert found["node_cpu_seconds_total{cpu=0,mode=user}"] == 2
    assert found["node_cpu_seconds_total{cpu=0,mode=idle}"] == 10
    assert found["node_cpu_guest_seconds_total{cpu=0,mode=user}"] == 0.3
    assert found["node_cpu_guest_seconds_total{cpu=0,mode=nice}"] == 0.2
    assert found["node_cpu_core_throttles_total{core=0,package=1}"] == 5
    assert found["node_cpu_package_throttles_total{package=1}"] == 6
    assert any("model_name=Acme 9000" in key for key in found)
    assert "node_cpu_seconds_total{cpu=0,mode=guest}" not in found

    tree({"proc/stat": "cpu0 210 0 0 990 40 0 0 0 30 20\n"})
    found = values(subsystem.collect())
    assert found["node_cpu_seconds_total{cpu=0,mode=idle}"] == 10, "idle stepped back by rounding"
    assert found["node_cpu_seconds_total{cpu=0,mode=user}"] == 2.1


def test_a_cpu_that_restarted_counts_from_zero() -> None:
    assert monotonic_times([9.0] * 10, [1.0] * 10) == [1.0] * 10
    assert monotonic_times([9.0] * 10, [8.0] * 10) == [9.0] * 10
    assert monotonic_times(None, [8.0] * 10) == [8.0] * 10


def test_disks_with_and_without_newer_columns(tree, values) -> None:
    paths = tree(
        {
            "proc/diskstats": (
                "254 0 vda 10 1 8 2000 20 2 16 3000 1 4000 5000 6 7 8 9000 10 11000\n"
                "8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n7 0 loop0 1 2 3 4 5 6 7 8 9 10 11\n"
                "254 1 vda1 1 2 3 4 5 6 7 8 9 10 11\n"
            ),
            "root/run/udev/data/b254:0": "E:ID_MODEL=Quick\nE:ID_SERIAL_SHORT=77\n",
        }
    )
    found = values(DiskstatsSubsystem(paths).collect())
    assert found["node_disk_read_bytes_total{device=vda}"] == 4096
    assert found["node_disk_written_bytes_total{device=vda}"] == 8192
    assert found["node_disk_read_time_seconds_total{device=vda}"] == 2
    assert found["node_disk_io_now{device=vda}"] == 1
    assert found["node_disk_discarded_sectors_total{device=vda}"] == 8
    assert found["node_disk_flush_requests_time_seconds_total{device=vda}"] == 11
    assert found["node_disk_io_time_weighted_seconds_total{device=sda}"] == 0.011
    assert "node_disk_discards_completed_total{device=sda}" not in found
    assert not any("loop0" in key or "vda1" in key for key in found)
    labels = "device=vda,major=254,minor=0,model=Quick,path=,revision=,serial=77,wwn="
    assert found[f"node_disk_info{{{labels}}}"] == 1


def test_interfaces(tree, values) -> None:
    eth0 = "sys/class/net/eth0"
    paths = tree(
        {
            "sys/class/net/bonding_masters": "",
            f"{eth0}/address": "02:fc:00:00:00:01\n",
            f"{eth0}/operstate": "up\n",
            f"{eth0}/speed": "1000\n",
            f"{eth0}/flags": "0x1003\n",
            f"{eth0}/carrier_up_count": "2\n",
            f"{eth0}/mtu": "1500\n",
        }
    )
    found = values(netclass.collect(paths))
    info = "address=02:fc:00:00:00:01,broadcast=,device=eth0,duplex=,ifalias=,operstate=up"
    assert found == {
        f"node_network_info{{{info}}}": 1,
        "node_network_up{device=eth0}": 1,
        "node_network_speed_bytes{device=eth0}": 125_000_000,
        "node_network_flags{device=eth0}": 0x1003,
        "node_network_carrier_up_changes_total{device=eth0}": 2,
        "node_network_mtu_bytes{device=eth0}": 1500,
    }


def test_names_of_kernel_host_and_distribution(tree, values) -> None:
    kernel = "proc/sys/kernel"
    paths = tree(
        {
            f"{kernel}/ostype": "Linux\n",
            f"{kernel}/osrelease": "6.1.0\n",
            f"{kernel}/version": "#1 SMP\n",
            f"{kernel}/hostname": "web1\n",
            f"{kernel}/domainname": "(none)\n",
            f"{kernel}/arch": "x86_64\n",
            "root/usr/lib/os-release": 'ID=debian\nNAME="Debian"\nVERSION="12 (bookworm)"\n',
        }
    )
    labels = (
        "domainname=(none),machine=x86_64,nodename=web1,release=6.1.0,sysname=Linux,version=#1 SMP"
    )
    assert values(uname.collect(paths)) == {f"node_uname_info{{{labels}}}": 1}
    found = values(OsSubsystem(paths).collect())
    assert found["node_os_version{id=debian,id_like=,name=Debian}"] == 12


def test_firmware_is_read_once(tree, values) -> None:
    paths = tree({"sys/class/dmi/id/sys_vendor": "Acme\n", "sys/class/dmi/id/bios_date": "1/2\n"})
    subsystem = DmiSubsystem(paths)
    expected = {"node_dmi_info{bios_date=1/2,system_vendor=Acme}": 1}
    assert values(subsystem.collect()) == expected
    (paths.sysfs / "class/dmi/id/sys_vendor").unlink()
    assert values(subsystem.collect()) == expected


def test_clock_discipline(values) -> None:
    struct = timex.Timex(offset=5_000_000, status=0x2001, freq=65536, tick=10_000, tai=37)
    found = values(timex.TimexSubsystem(lambda: (struct, 0)).collect())
    assert found["node_timex_offset_seconds"] == 0.005
    assert found["node_timex_sync_status"] == 1
    assert found["node_timex_frequency_adjustment_ratio"] == 1.000001
    assert found["node_timex_tick_seconds"] == 0.01
    assert found["node_timex_tai_offset_seconds"] == 37
    struct.status = 0x40
    found = values(timex.TimexSubsystem(lambda: (struct, 5)).collect())
    assert found["node_timex_offset_seconds"] == 5
    assert found["node_timex_sync_status"] == 0


def test_clock_sources(tree, values) -> None:
    base = "sys/devices/system/clocksource/clocksource0"
    paths = tree(
        {f"{base}/available_clocksource": "tsc hpet\n", f"{base}/current_clocksource": "tsc\n"}
    )
    found = values(system_time.collect(paths))
    assert found["node_time_clocksource_available_info{clocksource=hpet,device=0}"] == 1
    assert found["node_time_clocksource_current_info{clocksource=tsc,device=0}"] == 1
    assert found["node_time_seconds"] > 1_700_000_000


def test_selinux(tree, values) -> None:
    assert values(selinux.collect(tree({}))) == {"node_selinux_enabled": 0}
    paths = tree({"sys/fs/selinux/enforce": "1"})
    assert values(selinux.collect(paths)) == {
        "node_selinux_enabled": 1,
        "node_selinux_current_mode": 1,
    }


def test_pressure_of_interrupts_where_the_kernel_tells_it(tree, values) -> None:
    paths = tree(
        {
            "proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n",
            "proc/pressure/irq": "full avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n",
        }
    )
    assert values(pressure.collect(paths)) == {
        "node_pressure_cpu_waiting_seconds_total": 1.5,
        "node_pressure_irq_stalled_seconds_total": 2.5,
    }


def test_hung_tasks_and_short_softnet_rows(tree, values) -> None:
    paths = tree(
        {
            "proc/sys/kernel/hung_task_detect_count": "3\n",
            "proc/net/softnet_stat": "0000000a 00000001 00000002\n",
        }
    )
    assert values(kernel_hung.collect(paths)) == {
        "node_kernel_hung_tasks": 3,
        "node_kernel_hung_tasks_total": 3,
    }
    assert values(softnet.collect(paths)) == {
        "node_softnet_processed_total{cpu=0}": 10,
        "node_softnet_dropped_total{cpu=0}": 1,
        "node_softnet_times_squeezed_total{cpu=0}": 2,
    }
