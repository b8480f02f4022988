"""The documentation is true: settings, commands, addresses and links are checked against the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from matinee.config import SETTINGS
from tests.client import Client

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_settings_and_commands_are_documented_as_the_code_says() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "docs", "--check"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_every_address_is_documented_and_every_documented_address_is_served(client: Client) -> None:
    served = {
        (method, re.sub(r":\w+}", "}", route.path))
        for route in client.front.api.routes
        for method in getattr(route, "methods", ())
        if method != "OPTIONS"
    }

    documented = set(re.findall(r"\| `([A-Z]+) (/[^`]*)` \|", (ROOT / "docs" / "http.md").read_text()))

    assert documented == served


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text())
        if not target.startswith("http") and not (page.parent / target).exists()
    ]

    assert broken == []


def test_pages_name_only_commands_and_settings_that_exist() -> None:
    known = {setting.metadata["env"] for setting in SETTINGS}
    commands = set(re.findall(r"^## `matinee ([a-z-]+)`", (ROOT / "docs" / "cli.md").read_text(), re.MULTILINE))
    text = "\n".join(page.read_text() for page in PAGES)

    injected = {"MATINEE_PORT", "MATINEE_SERVICE_HOST"}  # by Kubernetes; docs/settings.md says that they are ignored
    settings = set(re.findall(r"\bMATINEE_[A-Z_]*[A-Z]\b", text)) - injected
    used = set(re.findall(r"`(?:\.venv/bin/)?matinee ([a-z-]+)", text))

    assert (settings - known, used - commands) == (set(), set())


def test_files_that_pages_name_are_there() -> None:
    text = "\n".join(page.read_text() for page in PAGES)

    named = set(re.findall(r"`((?:src|scripts|bench|tests|docs|requirements)/[\w./-]+)`", text))

    assert {name for name in named if not (ROOT / name).exists()} == set()
