"""What is rendered from a topology is what each engine's own checker takes, and says what the topology says."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from matinee.errors import OperatorError
from matinee.ops import host_names, host_secrets, node_config, rendering, topology
from matinee.ops.engines import program
from matinee.ops.layout import System
from matinee.ops.patroni import REST_USER
from matinee.ops.patroni import program as patroni_program
from tests.processes import matinee

pytestmark = pytest.mark.sqlite_only("it is of no engine: once is enough")
_MATINEE = str(Path(sys.executable).with_name("matinee"))


def example(balancer: str = "haproxy", **changes: object) -> topology.Topology:
    """Return a cluster with everything in it, all on this machine so that the checkers find its addresses."""
    made = topology.example(servers=3, followers=2, high_availability=True, balancer=balancer, redis=True)
    hosts = {
        "one": "127.0.0.2",
        "two": "127.0.0.3",
        "three": "127.0.0.4",
    }  # Patroni refuses 127.0.0.1 as one that nobody reaches
    places = tuple(replace(place, address=hosts[place.host]) for place in made.places)
    return replace(made, hosts=hosts, places=places, program=_MATINEE, **changes)  # type: ignore[arg-type]


def checked(*command: str) -> tuple[int, str]:
    """Return the exit code and the words of a checker, on both of its streams."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate with its key in one file, for the checkers: on a host it lies where only root writes."""
    path = tmp_path_factory.mktemp("tls") / "public.pem"
    made = node_config.Cluster(example(), System(), {}, {})
    script = node_config.public_certificate_script(made, example().of("balancer")[0])
    script = script.replace("/etc/matinee/tls", str(path.parent))
    subprocess.run(["sh", "-s", "placeholder"], input=script, text=True, timeout=60, check=True)
    return path


def use(path: Path, certificate: Path) -> None:
    """Write a certificate that is there into a balancer's file."""
    text = path.read_text().replace("/etc/matinee/tls/public.pem", str(certificate))
    path.write_text(text.replace("/etc/matinee/", f"{path.parent}/"))  # the files of the node itself, where they were rendered


@pytest.mark.parametrize("target", rendering.TARGETS)
@pytest.mark.parametrize("balance", topology.BALANCES)
@pytest.mark.parametrize("micro_cache", [False, True])
def test_haproxy_takes_its_files_without_a_warning(
    tmp_path: Path, certificate: Path, target: str, balance: str, micro_cache: bool
) -> None:
    made = example(balance=balance, micro_cache=micro_cache, drained=frozenset({"server-2"}))
    files = [path for path in rendering.render(made, target, tmp_path) if path.suffix == ".cfg"]

    assert sorted(path.name for path in files) == ["balancer.cfg", "front.cfg"]
    for path in files:
        use(path, certificate)
        assert checked(program("haproxy"), "-c", "-q", "-f", str(path)) == (0, "")


def test_haproxy_finds_further_servers_by_their_srv_records(tmp_path: Path) -> None:
    made = example(discovery="_matinee._tcp.example.org", resolver="127.0.0.1:53")
    (path,) = [path for path in rendering.render(made, "local", tmp_path) if path.name == "balancer.cfg"]

    assert checked(program("haproxy"), "-c", "-q", "-f", str(path)) == (0, "")
    assert path.read_text().count("server-template found- 1-32 _matinee._tcp.example.org") == 2


@pytest.mark.parametrize("target", rendering.TARGETS)
@pytest.mark.parametrize("balance", topology.BALANCES)
@pytest.mark.parametrize("micro_cache", [False, True])
def test_nginx_takes_its_file_without_a_warning(
    tmp_path: Path, certificate: Path, target: str, balance: str, micro_cache: bool
) -> None:
    made = example("nginx", balance=balance, micro_cache=micro_cache, drained=frozenset({"server-2"}))
    (path,) = [path for path in rendering.render(made, target, tmp_path) if path.name == "balancer.conf"]
    # The folder that a unit makes on its host is made here for the checker, in the test's own.
    data = tmp_path / "data" / "balancer"
    data.mkdir(parents=True)
    path.write_text(path.read_text().replace("/var/lib/matinee-balancer", str(data)))
    use(path, certificate)

    code, said = checked(program("nginx"), "-t", "-c", str(path), "-p", str(data))

    assert (code, "warn" in said or "emerg" in said) == (0, False), said


@pytest.fixture
def reachable_etcd() -> Iterator[topology.Topology]:
    """Return a cluster in whose etcd's places somebody listens: Patroni's checker looks whether it gets there."""
    made = example()
    with ExitStack() as listening:

        def listened_to(place: topology.Place) -> topology.Place:
            listener = listening.enter_context(socket.create_server((place.address, 0)))
            return replace(place, ports={**place.ports, "port": listener.getsockname()[1]})

        yield replace(made, places=tuple(listened_to(place) if place.role == "etcd" else place for place in made.places))


def checked_by_patroni(path: Path) -> tuple[int, str]:
    """Return what Patroni says of a file, with passwords as it gets them."""
    environment = os.environ | {f"PATRONI_{role}_PASSWORD": "of a test" for role in host_secrets.PATRONI_PASSWORDS}
    environment["PATRONI_RESTAPI_USERNAME"] = REST_USER
    command = [*patroni_program(), "--validate-config", "--ignore-listen-port", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("target", rendering.TARGETS)
def test_patroni_takes_its_files(tmp_path: Path, target: str, reachable_etcd: topology.Topology) -> None:
    files = [path for path in rendering.render(reachable_etcd, target, tmp_path) if path.name.startswith("database-")]
    configurations = [path for path in files if path.suffix == ".yml"]

    assert len(configurations) == 3
    for path in configurations:
        # The folder that a unit makes on its host is one of the test's own here.
        path.write_text(path.read_text().replace("/var/lib/", f"{tmp_path}/"))
        assert checked_by_patroni(path) == (0, "")


def test_patroni_refuses_a_file_with_a_planted_fault(tmp_path: Path, reachable_etcd: topology.Topology) -> None:
    path = next(path for path in rendering.render(reachable_etcd, "local", tmp_path) if path.name == "database-1.yml")
    path.write_text(path.read_text().replace("ttl: 20", "ttl: twenty"))

    code, said = checked_by_patroni(path)

    assert (code, "ttl" in said) == (1, True)


def test_systemd_takes_the_units_of_every_host_and_says_nothing(tmp_path: Path) -> None:
    made = example()
    written = rendering.render(made, "systemd", tmp_path)
    units = [str(path) for path in written if path.suffix == ".service"]

    assert len(units) == len(made.places)
    assert checked("systemd-analyze", "verify", "--man=no", *units) == (0, "")


@pytest.mark.parametrize("balancer", topology.BALANCERS)
def test_each_unit_runs_as_a_user_of_its_own_and_is_exposed_less_than_three_of_ten(tmp_path: Path, balancer: str) -> None:
    made = example(balancer)
    sentinel = topology.Place("sentinel", "sentinel", "one", "127.0.0.2", {"port": 26379})
    places = (replace(p, ports={**p.ports, "redis_port": 6380}) if p.role == "front" else p for p in made.places)
    rendering.render(replace(made, places=(*places, sentinel)), "systemd", tmp_path)
    units = sorted((tmp_path / "one/etc/systemd/system").iterdir())

    users = {unit.name: next(line for line in unit.read_text().splitlines() if line.startswith("User=")) for unit in units}
    assert users == {
        "matinee-balancer.service": "User=haproxy" if balancer == "haproxy" else "User=www-data",
        "matinee-database-1.service": "User=postgres",
        "matinee-etcd-1.service": "User=etcd",
        "matinee-front.service": "User=haproxy",
        "matinee-redis.service": "User=redis",
        "matinee-sentinel.service": "User=redis",
        "matinee-server-1.service": "User=matinee",
    }
    for unit in units:
        code, said = checked("systemd-analyze", "security", "--offline=true", "--threshold=29", str(unit))
        assert code == 0, said


@pytest.mark.parametrize("balancer", topology.BALANCERS)
def test_only_a_balancer_with_a_low_port_may_listen_below_1024(tmp_path: Path, balancer: str) -> None:
    made = example(balancer)
    low = tuple(replace(p, ports={**p.ports, "port": 443}) if p.role == "balancer" else p for p in made.places)
    rendering.render(replace(made, places=low), "systemd", tmp_path)
    units = sorted((tmp_path / "one/etc/systemd/system").iterdir())

    granted = [unit.name for unit in units if "AmbientCapabilities=CAP_NET_BIND_SERVICE" in unit.read_text().splitlines()]
    assert granted == ["matinee-balancer.service"]
    code, said = checked("systemd-analyze", "security", "--offline=true", "--threshold=29", str(units[0]))
    assert code == 0, said


def test_each_host_gets_what_runs_on_it_and_passwords_are_for_nobody_else(tmp_path: Path) -> None:
    written = rendering.render(example(), "systemd", tmp_path / "out")

    shown = sorted(
        str(path.relative_to(tmp_path / "out/three")) for path in written if path.is_relative_to(tmp_path / "out/three")
    )
    assert shown == [
        "README.md",
        "etc/matinee/database-3.yml",
        "etc/matinee/etcd-3.yml",
        "etc/matinee/patroni.env",
        "etc/matinee/secrets.env",
        "etc/matinee/server-3.env",
        "etc/matinee/tls/ca.crt",
        "etc/matinee/tls/database-3.crt",
        "etc/matinee/tls/database-3.key",
        "etc/matinee/tls/etcd-3.crt",
        "etc/matinee/tls/etcd-3.key",
        "etc/systemd/system/matinee-database-3.service",
        "etc/systemd/system/matinee-etcd-3.service",
        "etc/systemd/system/matinee-server-3.service",
        "install",
    ]
    programs = {"install", "public-certificate"}
    assert {path.stat().st_mode & 0o777 for path in written if path.name not in programs} == {0o600}
    folders = [tmp_path / "out", *(tmp_path / "out" / name for name in ("one", "two", "three"))]
    assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700] * 4


def test_who_renders_again_gets_the_same_passwords(tmp_path: Path) -> None:
    first = {path: path.read_text() for path in rendering.render(example(), "systemd", tmp_path)}

    second = {path: path.read_text() for path in rendering.render(example(), "systemd", tmp_path)}

    assert second == first


def test_the_servers_of_every_host_are_told_settings_that_matinee_takes(tmp_path: Path) -> None:
    rendering.render(example(micro_cache=True), "systemd", tmp_path)
    folder = tmp_path / "two" / "etc" / "matinee"
    lines = [*(folder / "secrets.env").read_text().splitlines(), *(folder / "server-2.env").read_text().splitlines()]
    told = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    shown = matinee(tmp_path, "config", "show", "--json", **told | {"MATINEE_HOME": str(tmp_path)})

    assert shown.returncode == 0, shown.stderr
    values = {row["setting"]: row["value"] for row in json.loads(shown.stdout)}
    assert (values["MATINEE_HOST"], values["PORT"], values["MATINEE_ENV"]) == ("127.0.0.3", 8001, "production")
    # The address of the balancer, which tells the servers whom it asks for.
    assert values["MATINEE_TRUSTED_PROXIES"] == f"{example().of('balancer')[0].address}/32"


def resolving(monkeypatch: pytest.MonkeyPatch, **names: str) -> list[str]:
    """Let these names resolve, and no others; return the list of what is looked up from now on."""
    asked: list[str] = []

    def look(host: str) -> list[str]:
        asked.append(host)
        if host not in names:
            raise OperatorError("no")
        return names[host].split()

    monkeypatch.setattr(host_names, "resolved", look)
    return asked


def named(made: topology.Topology, role: str) -> topology.Topology:
    """Return a cluster in which each node of a role is given by its own name."""
    return replace(made, places=tuple(replace(p, address=p.name) if p.role == role else p for p in made.places))


def test_servers_trust_all_addresses_of_a_balancer_given_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, balancer="192.0.2.8 2001:db8::8", **{f"127.0.0.{n}": f"127.0.0.{n}" for n in (2, 3, 4)})

    rendering.render(named(example(), "balancer"), "local", tmp_path)

    lines = (tmp_path / "server-2.env").read_text().splitlines()
    assert "MATINEE_TRUSTED_PROXIES=192.0.2.8,2001:db8::8" in lines


@pytest.mark.parametrize("found", [{}, {"balancer": "127.0.1.1"}], ids=["nowhere", "to loopback"])
def test_a_balancer_whose_name_has_no_address_for_others_is_not_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: dict[str, str]
) -> None:
    resolving(monkeypatch, **found)

    with pytest.raises(OperatorError, match=r"^balancer: 'balancer' does not resolve .* Write the IP address of one under"):
        rendering.render(named(example(), "balancer"), "systemd", tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_each_name_is_looked_up_once_in_a_render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolving(monkeypatch, **{"server-1": "192.0.2.1", "127.0.0.2": "127.0.0.2"})

    rendering.render(named(example("nginx"), "server"), "systemd", tmp_path)

    assert sorted(asked) == ["127.0.0.2", "server-1", "server-2", "server-3"]


WAYS: dict[str, dict[str, object]] = {
    "given files": {"https": "certificate", "public_url": "https://films.example.org"},
    "ACME with a path": {"https": "acme", "public_url": "https://example.org/films-x.y"},
    "a proxy ends TLS": {"https": "off", "public_url": "https://example.org/films", "trusted_proxies": ("10.1.0.0/16", "::1")},
    "plain HTTP": {"https": "off", "public_url": "http://films.example.org:8000"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("micro_cache", [False, True])
@pytest.mark.parametrize("balancer", topology.BALANCERS)
def test_both_balancers_take_every_way_to_reach_them(
    tmp_path: Path, certificate: Path, balancer: str, micro_cache: bool, way: str
) -> None:
    made = topology.read(written(tmp_path, example(balancer, micro_cache=micro_cache, **WAYS[way])))
    name = "balancer.cfg" if balancer == "haproxy" else "balancer.conf"
    (path,) = [path for path in rendering.render(made, "systemd", tmp_path) if path.name == name]
    (tmp_path / "data").mkdir()
    path.write_text(path.read_text().replace("/var/lib/matinee-balancer", f"{tmp_path}/data"))
    use(path, certificate)
    words = {"haproxy": ("-c", "-q", "-f", str(path)), "nginx": ("-t", "-q", "-c", str(path), "-p", str(tmp_path))}

    assert checked(program(balancer), *words[balancer]) == (0, "")


def written(folder: Path, made: topology.Topology) -> Path:
    """Return a topology's file; the ports of its balancer are the usual ones again."""
    path = folder / "topology.toml"
    lines = topology.write(made).splitlines()
    path.write_text("\n".join(re.sub(r'(^balancer = {.*host = "one").*', r"\1 }", line) for line in lines))
    return path


def test_servers_know_the_public_name_and_believe_the_proxies_in_front(tmp_path: Path) -> None:
    made = example(trusted_proxies=("10.1.0.0/16",), public_url="https://films.example.org:8443/cat")

    rendering.render(made, "systemd", tmp_path)

    folder = tmp_path / "two" / "etc" / "matinee"
    own, shared = (folder / "server-2.env").read_text().splitlines(), (folder / "secrets.env").read_text().splitlines()
    assert {"MATINEE_PUBLIC_URL=https://films.example.org:8443/cat", "MATINEE_TRUSTED_PROXIES=127.0.0.2,10.1.0.0/16"} <= {*own}
    assert "ALLOWED_HOSTS=films.example.org,localhost,127.0.0.1,127.0.0.2" in shared


def test_hosts_without_a_public_url_are_refused_with_the_two_lines_to_add(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r'(?s)Add two lines above \[sizes\].*public_url = .*https = "certificate"'):
        rendering.render(example(public_url=""), "systemd", tmp_path)

    assert list(tmp_path.iterdir()) == []
    assert "bind 127.0.0.2:443\n" in next(
        path.read_text() for path in rendering.render(example(), "local", tmp_path) if path.name == "balancer.cfg"
    )


def test_the_commands_go_from_a_first_file_to_the_files_of_all_hosts(tmp_path: Path) -> None:
    file = tmp_path / "topology.toml"
    file.write_text(matinee(tmp_path, "cluster", "topology", "--ha", "--redis").stdout)

    done = matinee(tmp_path, "cluster", "render", str(tmp_path / "out"), "--topology", str(file))

    assert done.returncode == 0, done.stderr
    assert "movies.example.org is an example: write your own name into public_url" in done.stderr
    made = ["certificates", "one", "secrets.json", "three", "two"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == made
    assert matinee(tmp_path, "cluster", "render", "out", "--topology", "none.toml").returncode == 2
