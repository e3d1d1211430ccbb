"""`shoprank run`, `demo`, `tune` and `refresh`: pipelines on this machine."""

import json
import shutil
import time
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.table import Table
from rich.text import Text

from components.shared.errors import InputError
from components.shared.release.registry import CHAMPION, Registry, Root
from components.shared.release.signing import PRIVATE_FILE, create_key, public_path
from components.shared.tuning.hyperparameters import FILE, Hyperparameters, read_hyperparameters
from components.shared.wording import counted
from pipelines.cli.console import StageProgress, console, show_answer
from pipelines.cli.parameters import (
    Config,
    Data,
    GuessTypes,
    Items,
    Json,
    Mapping,
    Out,
    Preset,
    Set,
    Size,
    Users,
    emit,
    existing_registry,
)

STUDIES = {"retriever": "tune-hyperparameters-2", "ranker": "tune-hyperparameters-4"}
"""Task that finishes each model's study; KFP numbers the task names."""


def run(
    pipeline: Annotated[str, typer.Argument(help="training")],
    size: Size = "",
    data: Data = "",
    items: Items = "",
    users: Users = "",
    mapping: Mapping = "",
    preset: Preset = "",
    guess_types: GuessTypes = False,
    config: Config = None,
    set_: Set = None,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Run a pipeline on this machine, without a cluster."""
    given = options_of(
        config, set_, size=size, data=data, items=items, users=users, mapping=mapping, preset=preset, guess=guess_types
    )
    finished = train(pipeline, given, out, as_json, set_)
    name = str(given.get("model_name", "shop"))
    if as_json:
        champion = Registry(_registry(given, out)).aliases(name).get(CHAMPION)
        emit({"run": finished.folder, "champion": champion, "stages": dict(finished.stages)})


def demo(size: Size = "", out: Out = Path("out")) -> None:
    """Train on a real shop's data, serve the model, send it requests and write a report."""
    from pipelines.local import demo as shop

    started = time.monotonic()
    given = {"compile": {"search": {"synonyms": list(shop.SYNONYMS)}}}
    finished = train("training", {"size": size, **given} if size else given, out)
    console.print("\nAsking the real predictor\n", style="bold")
    answers = shop.ask_all(shop.champion(out / "registry"), public_path(out / "keys" / "signing.pem"))
    for question, answer in answers:
        # The cursor is for who goes on asking; here it would be longer than the answer's reasons.
        show_answer(question.title, {**answer, "cursor": ""})
    path = shop.report(finished, out / "report.html", answers)
    console.print(Text.assemble(("done", "green"), f" in {shop.elapsed(started)}: open {path}"))


def tune(
    size: Size = "",
    data: Data = "",
    items: Items = "",
    users: Users = "",
    mapping: Mapping = "",
    preset: Preset = "",
    guess_types: GuessTypes = False,
    config: Config = None,
    set_: Set = None,
    out: Out = Path("out"),
    trials: Annotated[int, typer.Option(help="Trials per model, defaults included. 0: as configured.")] = 0,
    workers: Annotated[int, typer.Option(help="Trials in parallel (KFP's local runner: at most 2).")] = 1,
    as_json: Json = False,
) -> None:
    """Search for better hyperparameters of retriever and ranker on this machine, without a cluster."""
    from components.tune_hyperparameters.config import TuningOptions
    from pipelines.config import check

    if workers not in (1, 2):
        raise InputError(f"--workers is {workers}", "give 1 or 2: KFP's local runner runs at most two tasks at once")
    if trials < 0:
        raise InputError(f"--trials is {trials}", "give a number of trials, or 0 for those of the configuration")
    given = options_of(
        config, set_, size=size, data=data, items=items, users=users, mapping=mapping, preset=preset, guess=guess_types
    )
    folder = out.resolve()
    studies = {"storage": str(folder / "tuning" / "studies")}
    budget = {"retriever_trials": trials, "ranker_trials": trials} if trials else {}
    tuning = dict(given.get("tuning", {}))
    if tuning.get("storage") == TuningOptions().storage:
        del tuning["storage"]  # the default folder, for clusters, as printed by `shoprank config`
    given = {**given, "tuning": {**studies, **tuning, **budget}}
    check(given)
    names = {"workers": [f"worker-{number}" for number in range(workers)]}
    finished = _run("tuning", {**given, **names}, folder, as_json, set_)
    found = {}
    for model, task in STUDIES.items():
        kept = folder / "tuning" / model
        shutil.copytree(finished.artifact(task, "best"), kept, dirs_exist_ok=True)
        shutil.copyfile(finished.artifact(task, "report"), kept / "tuning.html")
        found[model] = read_hyperparameters(str(kept), model)
        if not as_json:
            _show(found[model])
            console.print(f"page {kept / 'tuning.html'}\n", soft_wrap=True)
    if as_json:
        return emit({model: json.loads(one.text) for model, one in found.items()})
    words = " ".join(f"--set {model}.hyperparameters={folder / 'tuning' / model / FILE}" for model in STUDIES)
    console.print(f"train with them: shoprank run training{f' --size {size}' * bool(size)} {words}", soft_wrap=True)


def refresh(
    items: Annotated[str, typer.Argument(help="File, folder, URI or glob of items in Parquet, CSV or JSON.")],
    mapping: Mapping = "",
    config: Config = None,
    set_: Set = None,
    out: Out = Path("out"),
    as_json: Json = False,
) -> None:
    """Add new and changed items to the champion without training; verify and release the result."""
    given = options_of(config, set_, mapping=mapping)
    folder = out.resolve()
    existing_registry(out, own_registry(given))
    _run("catalog", {**given, "items_source": absolute_source(items)}, folder, as_json, set_)
    version = Registry(_registry(given, folder)).aliases(str(given.get("model_name", "shop")))[CHAMPION]
    if as_json:
        return emit({"champion": version})
    console.print(f"champion is {version}")


def train(
    pipeline: str, given: MappingOf[str, Any], out: Path, quiet: bool = False, words: Sequence[str] | None = None
) -> Any:
    """Run the training pipeline and return the finished run.

    Raises:
        RunFailed: a stage failed, the release gates refused the model, or its rollout took it back.
    """
    from components.shared.options import merged
    from pipelines.compiling import pipeline_named
    from pipelines.local.outcomes import check_released
    from pipelines.local.runs import lineage

    pipeline_named(pipeline)
    if pipeline != "training":
        raise InputError(f"PIPELINE is '{pipeline}', which does not train", "use `shoprank tune` or `shoprank refresh`")
    origin = {"lineage": lineage(str(given.get("source", "complete-journey")), str(given.get("size", "small")))}
    finished = _run(pipeline, merged({"release": origin}, given), out.resolve(), quiet, words)
    check_released(finished)
    if not quiet:
        console.print(Text.assemble(("blessed and released", "green"), f" ({finished.folder})"))
    return finished


def _registry(given: MappingOf[str, Any], out: Path) -> Root:
    """The registry of a local run: the given one, or the output folder's."""
    return own_registry(given) or out / "registry"


def own_registry(given: MappingOf[str, Any]) -> str:
    """The registry that a user names; '' for the output folder's."""
    from pipelines.config import without_defaults

    return without_defaults(given, "registry").get("registry", "")


def absolute_source(data: str) -> str:
    """A data source given by the user, with paths made absolute because steps run in other folders."""
    return data if "://" in data or data == "complete-journey" else str(Path(data).resolve())


def _run(
    pipeline: str, given: MappingOf[str, Any], folder: Path, quiet: bool = False, words: Sequence[str] | None = None
) -> Any:
    from pipelines.compiling import parameters_of
    from pipelines.config import named_in, pipeline_arguments, without_defaults
    from pipelines.local.runs import exclusive, run_local

    known = parameters_of(pipeline)
    key, given = folder / "keys" / PRIVATE_FILE, without_defaults(given, "registry", "signing_key", "public_key")
    public = public_path(Path(given.get("signing_key", key)))
    here = {"registry": str(folder / "registry"), "signing_key": str(key), "public_key": str(public)}
    here = {name: value for name, value in here.items() if name in known}
    arguments = {**here, **pipeline_arguments(given, known, named_in(words or ()))}
    with exclusive(folder), StageProgress(quiet) as progress:
        if arguments.get("signing_key") == str(key):
            # A machine of one's own has its own key; a cluster's is made by `shoprank keys create`.
            create_key(key)
        return run_local(pipeline, arguments, folder, progress.watch)


def options_of(config: Path | None, words: list[str] | None, guess: bool = False, **named: str) -> dict[str, Any]:
    """Options from --config, --set and dedicated flags; flags take precedence."""
    from components.shared.options import merged
    from pipelines.config import check, given_options

    given = given_options(config, words or [])
    if named.get("data"):
        given = merged(given, {"source": absolute_source(named["data"])})
    for name in ("items", "users"):
        if named.get(name):
            given = merged(given, {"data": {f"{name}_source": absolute_source(named[name])}})
    if named.get("size"):
        given = merged(given, {"size": named["size"]})
    if named.get("mapping"):
        given = merged(given, {"data": {"mapping": _mapping(named["mapping"])}})
    if named.get("preset"):
        given = merged(given, {"data": {"preset": named["preset"]}})
    if guess:
        given = merged(given, {"data": {"guess_types": True}})
    search = (given.get("compile") or {}).get("search") or {}
    learned = {name: absolute_source(search[name]) for name in ("encoder", "relevance") if search.get(name)}
    if learned:
        given = merged(given, {"compile": {"search": learned}})
    if judgments := ((given.get("release") or {}).get("search") or {}).get("judgments"):
        given = merged(given, {"release": {"search": {"judgments": absolute_source(judgments)}}})
    check(given)
    return given


def _mapping(text: str) -> dict[str, Any]:
    """The mapping of --mapping: JSON itself, or the name of a file with it."""
    from components.shared.yaml_text import read_yaml

    fix = 'give the path of a JSON or YAML file, or an object such as {"user_id": "visitor"}'
    inline = text.lstrip().startswith(("{", "["))
    where = "--mapping" if inline else f"--mapping {text}"
    is_yaml = not inline and text.endswith((".yaml", ".yml"))
    try:
        # The mark that some editors put before UTF-8 is no part of the JSON.
        content = text if inline else Path(text).read_text(encoding="utf-8-sig")
        found = read_yaml(content) if is_yaml else json.loads(content)
    except yaml.YAMLError as error:
        raise InputError(
            f"{where} is not YAML: {' '.join(str(error).split())}", "write lines such as user_id: visitor"
        ) from error
    except FileNotFoundError as error:
        kind = "there is no such file" if text.endswith((".json", ".yaml", ".yml")) else "neither a file nor JSON"
        raise InputError(f"{where}: {kind}", fix) from error
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror}", fix) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8: {error.reason} at byte {error.start}", "save it as UTF-8") from error
    except ValueError as error:
        raise InputError(f"{where} is not JSON: {error}", 'write an object such as {"user_id": "visitor"}') from error
    if not isinstance(found, dict):
        kind = "a list" if isinstance(found, list) else repr(found)
        raise InputError(f"{where} is {kind}, not an object", 'write an object such as {"user_id": "visitor"}')
    return found


def _show(found: Hyperparameters) -> None:
    table = Table(title=f"{found.model}: {counted(found.trials, 'trial')}, study {found.study}", title_justify="left",
                  show_edge=False, pad_edge=False)  # fmt: skip
    for heading in ("hyperparameter", "best"):
        table.add_column(heading)
    for name, value in found.values.items():
        table.add_row(name, json.dumps(value))
    console.print(table)
    if found.value is not None and found.default_value is not None:
        console.print(f"{found.metric}: {found.value:.4f}, defaults {found.default_value:.4f}")
