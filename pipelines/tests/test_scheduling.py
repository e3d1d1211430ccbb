"""`shoprank upload` and `shoprank schedule`, against a server that answers as KFP does."""

import json

import pytest

from pipelines.compiling import COMPILED
from pipelines.tests.kfp_api import kfp_server


def test_upload_makes_the_pipeline_then_versions_of_it(shoprank):
    with kfp_server() as api:
        first = shoprank("upload", "training", "--host", api.host)
        second = shoprank("upload", "training", "--host", api.host, "--version", "1 peak")
        third = shoprank("upload", "catalog", "--host", api.host, "--name", "Catalog of the shop", "--json")
    assert first.code == second.code == third.code == 0, first.err + second.err + third.err
    assert [one["display_name"] for one in api.pipelines] == ["shoprank-training", "Catalog of the shop"]
    text = (COMPILED / "training.yaml").read_text()
    assert api.pipelines[0]["file"] == api.versions[0]["file"] == text
    assert first.out == f"{api.host}/#/pipelines/details/p1\n"
    assert second.out == f"{api.host}/#/pipelines/details/p1/version/v1\n"
    assert api.versions[0]["display_name"] == "1 peak"
    assert json.loads(third.out) == {"pipeline": f"{api.host}/#/pipelines/details/p2", "uploaded": True}


def test_unchanged_pipeline_is_uploaded_once_and_a_taken_version_is_refused(shoprank):
    with kfp_server() as api:
        shoprank("upload", "training", "--host", api.host)
        made = shoprank("upload", "training", "--host", api.host)
        again = shoprank("upload", "training", "--host", api.host)
        assert len(api.versions) == 1 and made.code == again.code == 0
        assert made.out.strip() in again.out and "already" in again.out
        shoprank("upload", "training", "--host", api.host, "--version", "one")
        taken = shoprank("upload", "training", "--host", api.host, "--version", "one")
        assert taken.code == 2 and "--version one" in taken.err and len(api.versions) == 2


def test_upload_of_a_multi_user_server_is_the_namespaces_own(shoprank):
    with kfp_server(multi_user=True) as api:
        assert shoprank("upload", "tuning", "--host", api.host, "--namespace", "team-a").code == 0
        listing = next(path for method, path, _ in api.asked if method == "GET" and "/pipelines?" in path)
    assert api.pipelines[0]["namespace"] == "team-a" and "namespace=team-a" in listing


def test_schedule_has_trigger_arguments_and_limits(shoprank):
    with kfp_server() as api:
        done = shoprank("schedule", "training", "--host", api.host, "--cron", "30 2 * * 1-5", "--set", "size=full",
                        "--catch-up", "--max-concurrency", 2, "--experiment", "nightly", "--service-account", "trainer",
                        "--pipeline-root", "s3://runs/x")  # fmt: skip
    assert done.code == 0, done.err
    assert done.out == f"{api.host}/#/recurringrun/details/s1\n"
    made = api.schedules[0]
    assert made["trigger"] == {"cron_schedule": {"cron": "0 30 2 * * 1-5"}}, "KFP's cron begins with seconds"
    assert made["runtime_config"] == {"parameters": {"size": "full"}, "pipeline_root": "s3://runs/x"}
    assert (made["no_catchup"], int(made["max_concurrency"]), made["mode"]) == (False, 2, "ENABLE")
    assert made["display_name"] == "training" and made["service_account"] == "trainer"
    assert set(made["pipeline_spec"]) == {"pipeline_spec", "platform_spec"}
    assert api.experiments[0]["display_name"] == "nightly" and made["experiment_id"] == "e1"


@pytest.mark.parametrize(("every", "seconds"), [("90s", 90), ("15m", 900), ("6h", 21600), ("1d", 86400)])
def test_interval_is_given_with_its_unit(shoprank, every, seconds):
    with kfp_server() as api:
        assert shoprank("schedule", "tuning", "--host", api.host, "--every", every, "--disable").code == 0
    made = api.schedules[0]
    assert int(made["trigger"]["periodic_schedule"]["interval_second"]) == seconds
    assert (made["mode"], made["no_catchup"], int(made["max_concurrency"])) == ("DISABLE", True, 1)


@pytest.mark.parametrize("cron", ["0 0 2 * * *", "@daily"])
def test_crons_of_kfp_are_left_alone(shoprank, cron):
    with kfp_server() as api:
        assert shoprank("schedule", "training", "--host", api.host, "--cron", cron).code == 0
    assert api.schedules[0]["trigger"]["cron_schedule"]["cron"] == cron


def test_schedule_of_a_taken_name_is_replaced_only_when_asked(shoprank):
    command = ("schedule", "training", "--name", "nightly", "--every")
    with kfp_server() as api:
        assert shoprank(*command, "6h", "--host", api.host).code == 0
        taken = shoprank(*command, "1h", "--host", api.host)
        assert taken.code == 2 and "--name nightly" in taken.err and "--replace" in taken.err
        assert shoprank(*command, "1h", "--replace", "--host", api.host).code == 0
    assert [(one["display_name"], int(one["trigger"]["periodic_schedule"]["interval_second"]))
            for one in api.schedules] == [("nightly", 3600)]  # fmt: skip


def test_existing_schedule_is_disabled_and_enabled(shoprank):
    command = ("schedule", "training", "--name", "nightly")
    with kfp_server() as api:
        shoprank(*command, "--every", "6h", "--host", api.host)
        assert shoprank(*command, "--disable", "--host", api.host).code == 0
        assert api.schedules[0]["mode"] == "DISABLE"
        assert shoprank(*command, "--enable", "--host", api.host).code == 0
        assert api.schedules[0]["mode"] == "ENABLE" and len(api.schedules) == 1
        unknown = shoprank("schedule", "training", "--name", "x", "--disable", "--host", api.host)
        assert unknown.code == 2 and "--name x" in unknown.err and "nightly" in unknown.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--cron or --every"),
        (("--cron", "@daily", "--every", "1h"), "--cron and --every"),
        (("--cron", "daily"), "--cron daily"),
        (("--cron", "0 2 * *"), "--cron 0 2 * *"),
        (("--every", "6"), "--every 6"),
        (("--every", "0h"), "--every 0h"),
        (("--every", "1h", "--max-concurrency", "11"), "--max-concurrency is 11"),
        (("--every", "1h", "--set", "nope=1"), "nope is not an option"),
        (("--disable", "--replace"), "--replace"),
    ],
)
def test_invalid_schedules_are_refused_before_anything_is_sent(shoprank, arguments, says):
    with kfp_server() as api:
        done = shoprank("schedule", "training", "--host", api.host, *arguments)
        assert done.code == 2 and says in done.err and "fix:" in done.err and api.asked == []
