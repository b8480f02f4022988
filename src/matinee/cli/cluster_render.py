"""`cluster topology` and `cluster render`: from one file that says the cluster to the configuration of all its engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from matinee import config as configuration
from matinee.cli.output import tell
from matinee.cli.output_files import require_output
from matinee.errors import OperatorError
from matinee.ops import public_name, rendering
from matinee.ops import topology as topologies
from matinee.ops.host_names import HostNames


def topology(
    servers: Annotated[int, typer.Option(min=1, max=99, help="Servers.")] = 3,
    followers: Annotated[int, typer.Option(min=0, max=9, help="Followers of PostgreSQL.")] = 2,
    ha: Annotated[bool, typer.Option("--ha", help="PostgreSQL under Patroni, with three etcd.")] = False,
    balancer: Annotated[str, typer.Option(help="haproxy or nginx.")] = "haproxy",
    redis: Annotated[bool, typer.Option("--redis", help="A Redis that the servers share.")] = False,
) -> None:
    """Print a topology.toml to begin with: three hosts, to be given their addresses."""
    if balancer not in topologies.BALANCERS:
        raise OperatorError(f"{balancer!r} is no balancer; choose one of: {', '.join(topologies.BALANCERS)}.")
    made = topologies.example(servers=servers, followers=followers, high_availability=ha, balancer=balancer, redis=redis)
    if faults := topologies.faults_of(made):
        raise OperatorError(f"Such a cluster cannot run: {faults[0]}.")
    typer.echo(topologies.write(made), nl=False)


def render(
    out: Annotated[Path, typer.Argument(help="Folder that the files are written into.")],
    target: Annotated[str, typer.Option(help=f"What they are for: {' or '.join(rendering.TARGETS)}.")] = "systemd",
    file: Annotated[Path, typer.Option("--topology", help="The file that says the cluster.")] = Path("topology.toml"),
) -> None:
    """Write the configuration of every engine and server of a topology, readable and with reasons."""
    if target not in rendering.TARGETS:
        raise OperatorError(f"There is no target {target!r}; choose one of: {', '.join(rendering.TARGETS)}.")
    said = topologies.read(file)
    require_output(configuration.load(), out, file)
    names = HostNames()
    written = rendering.render(said, target, out.resolve(), names)
    for path in written:
        typer.echo(str(path))
    tell(
        f"{len(written)} files; what to do with them stands in each host's README.md."
        if target == "systemd"
        else f"{len(written)} files."
    )
    for place in said.of("server") if said.balancer == "nginx" else []:
        if names.address(place) is None:
            tell(f"{place.address} does not resolve here: nginx leaves {place.name} out until you render again.")
    if target == "systemd":
        listening = [(place.port, place.ports.get("http_port", 80)) for place in said.of("balancer")]
        for warning in public_name.warnings(said.public_url, said.https, listening):
            tell(warning)
    tell(f"Passwords are in {out / 'secrets.json'}: keep it, the next `render` uses it again.")
