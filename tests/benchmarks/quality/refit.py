"""Effect of training the final ranker on the validation window, too, on events that end where the test window begins.

`python -m tests.benchmarks.quality.refit --data DATA` writes results/refit.md;
finished parts in `--out` are kept, so a stopped run can be resumed.
"""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.quality.architectures import DEFAULT, ONCE, measured
from tests.benchmarks.quality.shops import go_on, shop_arguments, shops
from tests.benchmarks.quality.tuning import spread
from tests.benchmarks.tables import provenance, write_table


def table(results: Mapping[str, Mapping[str, dict]]) -> str:
    """Return the result table in Markdown.

    Args:
        results: Shop -> result of `architectures.measured` for both kinds.
    """
    lines = ["| shop | NDCG@10 without refit | with it | gain, 95 % |", "|---|---|---|---|"]
    for shop, found in results.items():
        gap = found[ONCE]["difference"]
        gain = f"{-gap['mean']:+.4f} [{-gap['high']:+.4f}, {-gap['low']:+.4f}]"
        lines.append(f"| {shop} | {spread(found[ONCE]['test'])} | {spread(found[DEFAULT]['test'])} | {gain} |")
    return "\n".join(lines)


def main() -> None:
    """Measure on every shop and write the table."""
    given = shop_arguments(__doc__, Path("out/refit")).parse_args()
    results = {}
    for shop in shops(given.data):
        root = given.out.resolve() / shop.folder
        go_on(root, {"size": given.size})
        results[shop.name] = measured(
            shop.earlier(root, given.size), root, given.size, given.seeds, [DEFAULT, ONCE]
        )  # fmt: skip
    shoppers = ", ".join(f"{found[DEFAULT]['shoppers']:,} of {name}" for name, found in results.items())
    facts = (
        f"Events that end where the test window begins, so that the window judged on is the one before it. Size "
        f"{given.size}, {len(given.seeds)} seeds of the ranker (mean ± deviation) on one retriever's candidates; gain "
        f"by paired bootstrap over shoppers ({shoppers}), each averaged over seeds."
    )
    command = shlex.join(["python -m tests.benchmarks.quality.refit", *sys.argv[1:]]).replace("'", "")
    write_table(given.results, "refit", f"{facts}\n\n{table(results)}\n\n{provenance(command)}")
    print(table(results))


if __name__ == "__main__":
    main()
