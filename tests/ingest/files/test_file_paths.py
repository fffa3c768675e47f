from pathlib import Path

import pytest

from obsd.ingest.files.paths import PathSpec, iter_files, parse_spec, service_name


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("/var/log/*.log", PathSpec("", "/var/log/*.log")),
        (" shop=/srv/**/*.log ", PathSpec("shop", "/srv/**/*.log")),
        ("/odd/a=b.log", PathSpec("", "/odd/a=b.log")),
    ],
)
def test_entries_are_read(text: str, spec: PathSpec) -> None:
    assert parse_spec(text) == spec


@pytest.mark.parametrize("text", ["", "logs/*.log", "shop=logs/x.log", "="])
def test_entries_without_an_absolute_path_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="absolute path"):
        parse_spec(text)


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/var/log/nginx/access.log", "nginx"),
        ("/var/log/nginx/error.log.2.gz", "nginx"),
        ("/var/log/syslog", "syslog"),
        ("/var/log/syslog.1", "syslog"),
        ("/srv/shop/log/shop-api.log", "shop-api"),
        ("/srv/shop/log/shop-api.log-20260131.gz", "shop-api"),
        ("/srv/shop/log/shop-api-2026-01-31.log", "shop-api"),
        ("/var/log/error.log", "error"),
        ("/x/42.log", "42"),
        ("/x/.log", ".log"),
    ],
)
def test_services_are_found_in_names(path: str, service: str) -> None:
    assert service_name(path) == service


def test_each_file_is_found_once_and_not_when_excluded(tmp_path: Path) -> None:
    for name in ("a.log", "b.log", "c.txt", "deep/er/d.log"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    specs = [parse_spec(f"one={tmp_path}/a*"), parse_spec(f"{tmp_path}/**/*.log")]
    found = iter_files(specs, [f"{tmp_path}/b*"])
    assert [(Path(path).name, spec.service) for path, spec in found] == [
        ("a.log", "one"),
        ("d.log", ""),
    ]
