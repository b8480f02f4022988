"""The cluster of a data folder, as the commands get it: to look at, or to change alone. Called by the files of `cluster`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from matinee import config as configuration
from matinee.cli import cluster_settings
from matinee.config import Config
from matinee.errors import OperatorError
from matinee.ops import cluster_file
from matinee.ops.cluster import Cluster

Name = Annotated[str, typer.Argument(help="The node's name, as `matinee cluster status` shows it.")]


def home(config: Config) -> Path:
    """Return the folder of the cluster's files."""
    return cluster_settings.cluster_home(config.home)


def load(config: Config | None = None) -> Cluster:
    """Return the cluster. Raises: OperatorError when there is none."""
    config = config or configuration.load()
    cluster = cluster_file.load(home(config))
    if cluster is None or not cluster.nodes:
        raise OperatorError(f"There is no cluster in {config.home}; make one with `matinee cluster up`, or set MATINEE_HOME.")
    cluster.look_who_leads()
    return cluster


@contextmanager
def alone() -> Iterator[tuple[Config, Cluster]]:
    """Yield the cluster to a command that changes it. Raises: OperatorError."""
    config = configuration.load()
    load(config)  # where there is no cluster, no folder is made either
    with cluster_file.alone(home(config)):
        yield config, load(config)
