"""`shoprank inspect` as a command."""

import json
import shlex

from components.ingest_events.tests.test_presets import RETAILROCKET

EVENTS = "customer,sku,kind of event,time\nu1,a,buy,2024-03-01\nu2,b [x],pv,2024-03-02\n"


def test_inspect_prints_the_command_that_trains(shoprank, tmp_path):
    events, items = tmp_path / "my events.csv", tmp_path / "items.csv"
    events.write_text(EVENTS)
    items.write_text("sku,name\na,Lamp\n")
    done = shoprank("inspect", events, "--items", items, "--mapping", '{"event_type": "kind of event"}')
    assert done.code == 0, done.err
    assert "user_id (guessed)" in done.out and "2 rows in the beginning: 2 can be read" in done.out
    assert "event_type buy: read as purchase (guessed)" in done.out and "b [x]" in done.out
    command = shlex.split(done.out.split("Train on it with")[1].strip())
    assert command[:3] == ["shoprank", "run", "training"] and command[4] == str(events) and command[6] == str(items)
    assert json.loads(command[8]) == {
        "user_id": "customer", "item_id": "sku", "timestamp": "time", "event_type": "kind of event",
        "event_types": {"buy": "purchase", "pv": "view"}, "items.item_id": "sku", "items.title": "name",
    }  # fmt: skip


def test_inspect_as_json_names_the_preset(shoprank, tmp_path):
    (tmp_path / "events.csv").write_text(RETAILROCKET)
    done = shoprank("inspect", tmp_path / "events.csv", "--json")
    found = json.loads(done.out)
    assert found["command"].endswith("--preset retailrocket") and found["tables"][0]["account"]["kept"] == 3


def test_inspect_says_which_column_is_not_found(shoprank, tmp_path):
    (tmp_path / "events.csv").write_text("a,time,sku\n1,2024-03-01,b\n")
    done = shoprank("inspect", tmp_path / "events.csv")
    assert done.code == 2 and "seems to be user_id" in done.err and "map one of a, time, sku" in done.err
