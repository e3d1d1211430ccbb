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


def test_the_command_has_every_option_that_was_given(shoprank, tmp_path):
    events, config = tmp_path / "events.csv", tmp_path / "my shop.yaml"
    events.write_text("customer;sku;kind;time;text\nu1;a;buy;01/03/2024;x\n")
    config.write_text("data: {mapping: {event_type: kind, event_types: {pv: view}}, time_format: '%d/%m/%Y'}\n")
    words = ["--set", "data.null_words=[none, '?']", "--set", "size=tiny"]
    done = shoprank("inspect", events, "--config", config, *words, "--mapping", '{"query": "text"}', "--json")
    command = shlex.split(json.loads(done.out)["command"])
    assert command[:9] == ["shoprank", "run", "training", "--data", str(events), "--config", str(config), *words[:2]]
    assert command[9:12] == [*words[2:], "--mapping"] and len(command) == 13
    assert json.loads(command[12]) == {
        "user_id": "customer", "item_id": "sku", "timestamp": "time", "event_types": {"buy": "purchase"},
        "query": "text",
    }  # fmt: skip
    given = ["--preset", "retailrocket", "--guess-types"]
    events.write_text(RETAILROCKET)
    assert shoprank("inspect", events, *given).out.split()[-3:] == given


def test_no_command_is_printed_where_no_row_can_be_read(shoprank, tmp_path):
    events = tmp_path / "events.csv"
    events.write_text("user_id,item_id,event_type,timestamp\nu1,a,view,03-01\n,a,view,2024-03-01\n")
    done = shoprank("inspect", events)
    assert done.code == 2 and "no row of the beginning of" in done.err and "Train on it" not in done.out
    assert "timestamp cannot be read: 1 ('03-01' 1)" in done.err and "correct the data or its mapping" in done.err
    done = shoprank("inspect", events, "--json")
    assert done.code == 2 and json.loads(done.out)["command"] == ""
    events.write_text("user_id,item_id,event_type,timestamp\nu1,a,scroll,2024-03-01\n")
    done = shoprank("inspect", events, "--mapping", '{"event_types": {"*": "ignore"}}')
    assert done.code == 2 and "left out by event_types of the mapping: 1 ('scroll' 1)" in done.err


def test_signs_that_a_terminal_would_obey_are_replaced(shoprank, tmp_path):
    lines = ["user_id,item_id,event_type,timestamp,a\x1bb", "u1,a\x1b[31m,view,2024-03-01,\x07", "u2,b,\x1b]0;,2024,x"]
    (tmp_path / "events.csv").write_text("\n".join(lines))
    done = shoprank("inspect", tmp_path / "events.csv")
    assert done.code == 0 and not {"\x1b", "\x07", "\x9b"} & {*done.out} and "a\ufffd[31m" in done.out
    (tmp_path / "events.jsonl").write_text(json.dumps({"\x1bname": 1, "\x9bx": 2, "sku": "\ud83d"}))
    done = shoprank("inspect", tmp_path / "events.jsonl")
    assert done.code == 2 and not {"\x1b", "\x9b"} & {*done.out, *done.err} and "map one of \ufffdname" in done.err
    (tmp_path / "events.csv").write_text("customer_id,sku,kind,time\nu1,a,view,2024-03-01\n".replace("sku", "sku\x9b"))
    done = shoprank("inspect", tmp_path / "events.csv", "--mapping", '{"item_id": "sku\x9b", "event_type": "kind"}')
    assert done.code == 0 and "\x9b" not in done.out
    assert json.loads(shlex.split(done.out)[-1])["item_id"] == "sku\x9b"


def test_of_many_columns_those_that_are_read_are_shown(shoprank, tmp_path):
    header = ",".join([*(f"c{at}" for at in range(298)), "user_id", "item_id", "event_type", "timestamp"])
    (tmp_path / "events.csv").write_text(f"{header}\n{',' * 298}u1,a,view,2024-03-01\n")
    done = shoprank("inspect", tmp_path / "events.csv")
    assert done.code == 0 and "c199" in done.out and "c200" not in done.out and "and 98 columns more" in done.out
    assert " user_id " in done.out
