"""`shoprank counterfactual`: estimates the performance of a shadow version from the champion's logs."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.console import console
from pipelines.cli.parameters import Json, emit


def counterfactual(
    log: Annotated[Path, typer.Option(help="folder with the inference logs of champion and shadow")],
    candidate: Annotated[str, typer.Option(help="version that answered as a shadow")],
    events: Annotated[Path, typer.Option(help="folder with the shop's events in Parquet, with a request_id column")],
    event_type: Annotated[str, typer.Option(help="event type to count: view, cart or purchase")] = "purchase",
    as_json: Json = False,
) -> None:
    """Estimate a candidate's event rate at the last position from the champion's exploration, without live traffic."""
    from components.evaluate_model.logged import compare_logged

    found = compare_logged(log, candidate, events, event_type)
    if as_json:
        return emit(dataclasses.asdict(found))
    console.print(
        f"{found.decisions:,} explored answers; {event_type} rate of the item at the last position:", highlight=False
    )
    console.print(
        f"  {found.excluded:,} of {found.decisions + found.excluded:,} left out, {100 * found.share:.1f} % remain: "
        "the answers differ in length, or the champion ranks the candidate's last item higher", highlight=False,
    )  # fmt: skip
    console.print(f"  champion         {found.champion:.4f}", highlight=False)
    for name, one in (("IPS", found.candidate_ips), ("SNIPS", found.candidate_snips), ("DR", found.candidate_dr)):
        console.print(
            f"  candidate, {name:5} {one.value:.4f}, 95 % {one.low:.4f} to {one.high:.4f}, "
            f"{one.effective_samples:,.0f} effective samples", highlight=False,
        )  # fmt: skip
