"""Predictor requests that events refer to: their shopper and their time."""

import pyarrow.parquet as pq


def test_events_without_request_ids_write_no_requests_file(built):
    assert not (built.folder / "requests.parquet").exists()


def test_request_belongs_to_its_shopper_from_its_first_event(shop, built_from):
    first, second, *_, other = [event for event in shop.events if event["event_type"] == "purchase"]
    assert first["user_id"] == second["user_id"] != other["user_id"]
    for event, request in ((first, "mine"), (second, "mine"), (other, "another's")):
        event["request_id"] = request
    search = {**first, "event_type": "search", "item_id": None, "query": "milk", "request_id": "search"}
    shop.events += [search, {**first, "request_id": "both"}, {**other, "request_id": "both"}]
    built = built_from(shop)
    found = {
        row["request_id"]: (built.users[row["shopper"]], row["timestamp"])
        for row in pq.read_table(built.folder / "requests.parquet").to_pylist()
    }
    earliest = int(min(first["timestamp"], second["timestamp"]).timestamp())
    assert found == {
        "mine": (first["user_id"], earliest), "another's": (other["user_id"], int(other["timestamp"].timestamp())),
        "search": (first["user_id"], int(first["timestamp"].timestamp())),
    }, "a request that two shoppers carry on is nobody's"  # fmt: skip
