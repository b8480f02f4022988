"""The memory that may be used: the smallest limit of any control group above this process, in both versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from matinee import config as config_module
from matinee.config import load
from matinee.machine import MemoryLimit, memory_bytes, memory_limit

MIB = 2**20
V1_UNLIMITED = 9223372036854771712
V2_MOUNT = "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"


def tree(root: Path, **files: object) -> Path:
    """Make a tree with these files; __ stands for a slash."""
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(content))
    return root


def test_without_control_groups_the_machine_is_the_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) == MemoryLimit(memory_bytes(tmp_path), "this machine")


def test_a_nested_group_has_the_smallest_limit_of_those_above_it(tmp_path: Path) -> None:
    root = tree(
        tmp_path, proc__self__cgroup="0::/a/b/c\n", proc__self__mountinfo=V2_MOUNT,
        sys__fs__cgroup__a__memory_dot_max=256 * MIB, sys__fs__cgroup__a__b__memory_dot_max="max",
        sys__fs__cgroup__a__b__c__memory_dot_max=512 * MIB,
    )  # fmt: skip

    assert memory_limit(root) == MemoryLimit(256 * MIB, "/sys/fs/cgroup/a/memory.max")


def test_what_is_throttled_above_a_bound_may_not_be_used(tmp_path: Path) -> None:
    root = tree(
        tmp_path, proc__self__cgroup="0::/a\n", sys__fs__cgroup__a__memory_dot_max=512 * MIB,
        sys__fs__cgroup__a__memory_dot_high=128 * MIB,
    )  # fmt: skip

    assert memory_limit(root) == MemoryLimit(128 * MIB, "/sys/fs/cgroup/a/memory.high")


@pytest.mark.parametrize("seen", ["0::/\n", "0::/docker/0123\n", "0::/../../other\n", ""])
def test_in_a_container_the_mount_is_its_own_group_whatever_path_it_sees(tmp_path: Path, seen: str) -> None:
    root = tree(tmp_path, proc__self__cgroup=seen, sys__fs__cgroup__memory_dot_max=256 * MIB)

    assert memory_bytes(root) == 256 * MIB


def test_version_1_is_read_along_its_own_path(tmp_path: Path) -> None:
    root = tree(
        tmp_path, proc__self__cgroup="5:cpu:/x\n4:memory:/docker/abc\n0::/ignored\n",
        sys__fs__cgroup__memory__memory_dot_limit_in_bytes=V1_UNLIMITED,
        sys__fs__cgroup__memory__docker__abc__memory_dot_limit_in_bytes=256 * MIB,
        sys__fs__cgroup__cpu__x__memory_dot_limit_in_bytes=1 * MIB,
    )  # fmt: skip

    assert memory_bytes(root) == 256 * MIB


def test_version_1_in_a_container_shows_its_group_at_the_mount(tmp_path: Path) -> None:
    root = tree(
        tmp_path, proc__self__cgroup="4:memory:/docker/abc\n",
        proc__self__mountinfo="40 30 0:30 /docker/abc /cg/mem ro - cgroup cgroup rw,memory\n",
        cg__mem__memory_dot_limit_in_bytes=V1_UNLIMITED, cg__mem__memory_dot_stat=f"hierarchical_memory_limit {192 * MIB}\n",
    )  # fmt: skip

    assert memory_limit(root) == MemoryLimit(192 * MIB, "/cg/mem/memory.stat")


def test_a_hybrid_of_both_versions_has_the_smaller_limit(tmp_path: Path) -> None:
    root = tree(
        tmp_path, proc__self__cgroup="4:memory:/a\n0::/b\n", sys__fs__cgroup__memory__a__memory_dot_limit_in_bytes=300 * MIB,
        sys__fs__cgroup__unified__b__memory_dot_max=200 * MIB,
    )  # fmt: skip

    assert memory_bytes(root) == 200 * MIB


@pytest.mark.parametrize(
    ("memory_mib", "workers", "bound_mib"), [(256, 1, 25), (64, 1, 12), (256, 4, 12), (32, 4, 1), (10**6, 1, 2048)]
)
def test_the_local_cache_of_all_processes_fits_a_small_memory(
    monkeypatch: pytest.MonkeyPatch, memory_mib: int, workers: int, bound_mib: int
) -> None:
    monkeypatch.setattr(config_module, "memory_bytes", lambda: memory_mib * MIB)

    config = load({"MATINEE_HOME": "/nonexistent", "SECRET_KEY": "s" * 40, "WEB_CONCURRENCY": str(workers)})

    assert config.local_cache_bound_bytes // MIB == bound_mib
