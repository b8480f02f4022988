"""`cluster certificates`: make and renew the certificates of a topology, replace its CA, and report when each one ends.

Called by the command line. The files are in OUT/certificates, where `cluster render` takes them from. The library for
certificates is imported late, so that `--help` does not wait for it. Nothing here is sent to a host.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from matinee import config as configuration
from matinee.cli.output import Json, as_json, table, tell
from matinee.cli.output_files import require_output
from matinee.errors import OperatorError
from matinee.ops import topology as topologies

if TYPE_CHECKING:
    from matinee.ops.certificates import Outcome

FOLDER = "certificates"
_LEAST_DAYS = 14  # below it the exit code is 1, so that a daily run by cron or a systemd timer reports it
_COLUMNS = ("name", "hosts", "expires", "days left", "what was done")


def certificates(
    file: Annotated[Path, typer.Option("--topology", help="The topology file.")] = Path("topology.toml"),
    out: Annotated[Path, typer.Option("--out", help="The folder of `cluster render`; files go to its certificates/.")] = Path(
        "rendered"
    ),
    renew: Annotated[bool, typer.Option("--renew", help="Make every certificate anew; the CA stays.")] = False,
    new_ca: Annotated[bool, typer.Option("--new-ca", help="Make a new CA that is trusted beside the old one.")] = False,
    drop_old_ca: Annotated[bool, typer.Option("--drop-old-ca", help="End the trust in the old CA.")] = False,
    running: Annotated[
        bool, typer.Option("--running", help="Those of the cluster that `cluster up` made; its nodes use them at once.")
    ] = False,
    as_json_: Json = False,
) -> None:
    """Make and renew the certificates of a topology; exit code 1 when one has fewer than 14 days left after that.

    A certificate lasts a year and is renewed when less than a third of that is left, or when its node's addresses changed.
    Safe to run daily.
    """
    if renew + new_ca + drop_old_ca > 1:
        raise OperatorError("--renew, --new-ca and --drop-old-ca are steps of their own; give one at a time.")
    if running and (new_ca or drop_old_ca):
        raise OperatorError("--running renews certificates only; a cluster on one machine gets a new CA when it is made anew.")
    if running:
        folder, outcomes = _renew_running(renew=renew)
    else:
        said = topologies.read(file)
        require_output(configuration.load(), out, file)
        folder = out.resolve() / FOLDER
        outcomes = _run(folder, said, renew=renew, new_ca=new_ca, drop_old_ca=drop_old_ca)
    now = datetime.now(UTC)
    rows = [_row(outcome, now) for outcome in outcomes]
    if as_json_:
        as_json(rows)
    else:
        table(_COLUMNS, [(row["name"], " ".join(row["hosts"]), row["expires"], row["days_left"], row["done"]) for row in rows])
    if running:
        tell(f"Certificates renewed and in use: {sum(bool(outcome.written) for outcome in outcomes)}.")
    else:
        _say_what_is_next(folder, outcomes, new_ca=new_ca)
    late = [row["name"] for row in rows if row["days_left"] < _LEAST_DAYS]
    if late:
        tell(f"Fewer than {_LEAST_DAYS} days left: {', '.join(late)}. Renew with --renew; for ca use --new-ca.")
    raise typer.Exit(1 if late else 0)


def _run(folder: Path, said: topologies.Topology, *, renew: bool, new_ca: bool, drop_old_ca: bool) -> list[Outcome]:
    from matinee.ops import certificates as files
    from matinee.ops.wanted_certificates import wanted_certificates

    wanted = wanted_certificates(said)
    if new_ca:
        return files.start_new_ca(folder, said.name, wanted)
    if drop_old_ca:
        return files.drop_old_ca(folder, said.name, wanted)
    return files.issue(folder, said.name, wanted, renew=renew)


def _renew_running(*, renew: bool) -> tuple[Path, list[Outcome]]:
    from matinee.cli.cluster_home import alone
    from matinee.ops import renewal

    with alone() as (_, cluster):
        if not cluster.shape.tls:
            raise OperatorError("This cluster has no certificates: `matinee cluster up --ha` makes one that has.")
        return cluster.certificates, renewal.renew(cluster, all_of_them=renew)


def _row(outcome: Outcome, now: datetime) -> dict[str, Any]:
    return {
        "name": outcome.name,
        "hosts": list(outcome.hosts),
        "expires": outcome.ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "days_left": (outcome.ends - now).days,
        "done": outcome.what,
        "files": [str(path) for path in outcome.written],
    }


def _say_what_is_next(folder: Path, outcomes: list[Outcome], *, new_ca: bool) -> None:
    from matinee.ops.certificates import KEPT_WITH_OLD

    written = sum(len(outcome.written) for outcome in outcomes)
    if written:
        tell(f"Files written in {folder}: {written}. Never copy ca.key to a host; keep it there and in a backup.")
        tell("Run `matinee cluster render`, install its files on the hosts, and reload each service.")
    else:
        tell(f"Nothing was due in {folder}.")
    if new_ca:
        tell("When every host has the new ca.crt, run `matinee cluster certificates` again: the new CA signs then.")
    elif outcomes[0].what == KEPT_WITH_OLD:
        tell("When every host has the new certificates, end the trust in the old CA with --drop-old-ca.")
