"""`sql explain`, `sql report`, `status`: what is really sent, what it costs, how the running server is."""

from __future__ import annotations

import json
from pathlib import Path

from tests import postgres
from tests.processes import Server, free_port, matinee


def test_explain_prints_each_statement_of_a_request_with_its_plan(small_catalogue: Path) -> None:
    shown = matinee(small_catalogue, "sql", "explain", "/v1/movies?genre=Drama&sort=-year", "--json")

    found = json.loads(shown.stdout)
    assert (shown.returncode, found["status"]) == (0, 200)
    assert [item["name"] for item in found["statements"]] == ["facets", "page_by_facet"]
    assert "ORDER BY f.year_key DESC" in found["statements"][1]["sql"]
    assert any(" f " in line or "facet_year" in line for line in found["statements"][1]["plan"])


def test_explain_is_written_for_people_too(small_catalogue: Path) -> None:
    shown = matinee(small_catalogue, "sql", "explain", "/v1/movies/1")

    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("-- movie_by_id on ")
    assert "1 rows, with {'id': 1}" in shown.stdout
    assert shown.stderr == "/v1/movies/1: 200, 1 statements.\n"


def test_explain_of_an_address_that_is_wrong_says_so_with_exit_code_1(small_catalogue: Path) -> None:
    shown = matinee(small_catalogue, "sql", "explain", "/v1/movies?genres=Drama")

    assert (shown.returncode, shown.stdout, shown.stderr) == (1, "", "/v1/movies?genres=Drama: 400, 0 statements.\n")


def test_report_shows_what_the_running_server_has_timed(server: Server) -> None:
    for movie_id in (1, 2, 3):
        server.get(f"/v1/movies/{movie_id}")
    port = server.url.rpartition(":")[2]

    report = json.loads(matinee(server.home, "sql", "report", "--json", PORT=port).stdout)

    timed = {row["name"]: row["calls"] for row in report["timings"]}
    assert timed["movie_by_id"] == 3
    assert len(report["copies"]) == postgres.wanted()


def test_report_without_a_server_and_without_statistics_says_what_is_missing(small_catalogue: Path) -> None:
    report = matinee(small_catalogue, "sql", "report", PORT=str(free_port()))

    assert report.returncode == 0, report.stderr
    assert "no server answers, or it has answered nothing yet" in report.stdout
    assert ("CREATE EXTENSION pg_stat_statements" in report.stdout) == postgres.wanted()


def test_status_shows_the_running_server(server: Server) -> None:
    shown = matinee(server.home, "status", "--url", server.url)

    assert shown.returncode == 0, shown.stderr
    first, heads, catalogue, *copies = shown.stdout.splitlines()
    assert first == f"{server.url}: ready"
    assert heads.split("\t")[:4] == ["name", "role", "status", "reason"]
    assert catalogue.split("\t")[:5] == ["catalogue", "", "ok", "", "12"]
    assert [line.split("\t")[1:3] for line in copies] == [["leader", "healthy"]] * postgres.wanted()


def test_status_without_a_server_says_how_to_name_one(small_catalogue: Path) -> None:
    shown = matinee(small_catalogue, "status", "--url", f"http://127.0.0.1:{free_port()}")

    assert (shown.returncode, shown.stdout) == (2, "")
    assert "start one, or name it with --url URL." in shown.stderr
