"""The command `rowscan`: parses, calls one public function, prints its result. No logic here."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.exceptions import NoArgsIsHelpError

import rowscan
from rowscan.errors import RowscanError, UsageError, requires

if TYPE_CHECKING:
    from rowscan.training.runs import Run

_DEVICE = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    help="Where to train.",
)
_ALPHABET = click.option(
    "--alphabet",
    metavar="CHARS|NAME",
    help="Read only these characters, or those of digits, amount, date, time or phone.",
)
_PATTERN = click.option(
    "--pattern",
    metavar="REGEX",
    help=r"Read only what matches, such as \d{6} or \d{2}/\d{2}/\d{4}; each line must.",
)
_MODEL = click.option(
    "--model", type=click.Path(path_type=Path), help="A model file or run directory."
)
_HOST = click.option("--host", default="127.0.0.1", show_default=True, help="Name or address.")
_PORT = click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="0 for any free port.",
)
_HOSTS = click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Another name by which browsers call this machine.",
)
_OFFLINE = click.option("--offline", is_flag=True, help="Never look for data outside this machine.")
_FORMAT = click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    help="For people or for programs.",
)

_LAYOUTS = {"": "text", ".txt": "text", ".csv": "csv", ".jsonl": "jsonl", ".xlsx": "xlsx"}
"""What the name of an output file says."""


class _Probability(click.FloatRange):
    name = "number from 0 to 1"  # click names it where it is none


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(rowscan.__version__, message="rowscan %(version)s")
def cli() -> None:
    """Read handwritten numbers the way people read text: as a sequence, with recurrent networks."""


@cli.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["text", "jsonl", "csv", "table", "xlsx", "parquet"]),
    help="One line for each page (text, the default), one object for each page (jsonl, and with "
    "--on parquet, the default there), one row for each line of writing (csv), or the tables of "
    "each page with rows and columns: for the terminal (table), or a sheet for each page (xlsx).",
)
@click.option(
    "--output",
    metavar="FILE",
    help="The file to write, with --on a folder. .txt, .csv, .jsonl and .xlsx say the format. "
    "Pictures that text, jsonl or csv already has are not read again.",
)
@_MODEL
@click.option(
    "--min-confidence",
    type=_Probability(0, 1),
    default=0.0,
    metavar="P",
    help="Write ? for characters below this confidence, 0 to 1.",
)
@_ALPHABET
@_PATTERN
@click.option("--show-other", is_flag=True, help="Write □ for characters that are not known.")
@click.option(
    "--max-pages",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    metavar="N",
    help="Read no more than this many pages of a document.",
)
@click.option(
    "--annotate",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Draw boxes and texts on copies of the pictures, in DIR.",
)
@click.option(
    "--jobs", type=click.IntRange(1), help="Processes that read; by default one for each core."
)
@click.option(
    "--form",
    "forms",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Read the fields of this form (a form.toml): a row for each filled form, into csv, jsonl, "
    "xlsx or parquet. For several forms in one folder give it several times.",
)
@click.option(
    "--on",
    "cluster",
    metavar="ray|ray://HOST:PORT",
    help="Read on a Ray cluster, into a folder of many files.",
)
def read(
    paths: tuple[str, ...],
    layout: str | None,
    output: str | None,
    model: Path | None,
    min_confidence: float,
    alphabet: str | None,
    pattern: str | None,
    show_other: bool,
    max_pages: int,
    annotate: Path | None,
    jobs: int | None,
    forms: tuple[Path, ...],
    cluster: str | None,
) -> int:
    """Read the numbers in pictures: files, folders with all subfolders, or - for standard input.

    Formats: PNG, JPEG, TIFF, WebP, AVIF, JPEG 2000, BMP, GIF, PPM, PCX and TGA; PDF with the extra
    pdf, HEIC with the extra heic. All pages of TIFF and PDF are read.

    A path can also be an address, such as s3://bucket/scans, or a shard: a tar or Parquet file of
    pictures.
    """
    from rowscan.batch.items import Job

    job = Job(
        model=model,
        min_confidence=min_confidence,
        alphabet=alphabet,
        pattern=pattern,
        show_other=show_other,
        max_pages=max_pages,
        annotate=annotate,
        forms=forms,
    )
    if forms:
        if cluster or annotate or alphabet or pattern or show_other or min_confidence:
            raise UsageError(
                "--form: leave out --on, --annotate, --alphabet, --pattern, --show-other and "
                "--min-confidence"
            )
        from rowscan.batch.forms import read_forms_to

        to = None if output is None else Path(output)
        return 0 if read_forms_to(to, paths, job, output_format=layout, jobs=jobs) else 1
    if cluster is not None:
        if cluster != "ray" and not cluster.startswith("ray://"):
            raise UsageError(f"--on: expected ray or ray://HOST:PORT, got {cluster!r}")
        if output is None:
            raise UsageError("--on writes many files: expected --output with a folder")
        with requires("ray", "reading with Ray"):
            from rowscan.batch.cluster import read_on
        well = read_on(cluster, output, paths, job, output_format=layout or "parquet", jobs=jobs)
        return 0 if well else 1
    if layout == "parquet":
        raise UsageError("--format parquet needs --on ray")
    from rowscan.batch.local import read_to
    from rowscan.io.storage import is_address

    if output is not None and is_address(output):
        raise UsageError(f"{output}: writing to an address needs --on ray")
    file = None if output is None else Path(output)
    if layout is None:
        layout = _LAYOUTS.get("" if file is None else file.suffix.lower())
        if layout is None:
            known = ", ".join(filter(None, _LAYOUTS))
            raise UsageError(f"{file}: expected a name that ends in {known}, or --format")
    return 0 if read_to(file, paths, job, output_format=layout, jobs=jobs) else 1


@cli.command()
@click.argument("recipe", required=False)
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Change the recipe.")
@click.option("--data", metavar="NAME|PATH", help="Train on these images instead of the recipe's.")
@click.option(
    "--from",
    "start",
    metavar="MODEL",
    help="Start from the weights of a model file or run; `shipped`: the model in the package.",
)
@click.option("--epochs", type=click.IntRange(1), help="As --set epochs=N.")
@click.option("--seed", type=click.IntRange(0), help="As --set seed=N.")
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="The run directory.")
@click.option(
    "--resume",
    "resumed",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Continue a run that was interrupted.",
)
@_DEVICE
@_OFFLINE
def train(
    recipe: str | None,
    settings: tuple[str, ...],
    data: str | None,
    start: str | None,
    epochs: int | None,
    seed: int | None,
    output: Path | None,
    resumed: Path | None,
    device: str,
    offline: bool,
) -> None:
    """Train RECIPE: a name from `rowscan recipes`, or a TOML file of your own."""
    changes: dict[str, Any] = dict(_key_value(setting) for setting in settings)
    changes |= {k: v for k, v in (("epochs", epochs), ("seed", seed)) if v is not None}
    if resumed is not None and (recipe or changes or data or start or output):
        raise UsageError(
            "--resume continues a run with its own recipe: leave out the other options"
        )
    with requires("train", "training"):
        from rowscan.training import loop
    try:
        if resumed is not None:
            run = loop.resume(resumed, device=device, offline=offline)
        elif recipe is None:
            raise UsageError("expected a recipe: a name from `rowscan recipes`, or a TOML file")
        else:
            run = loop.train(
                recipe,
                data=data,
                start=start,
                output=output,
                device=device,
                offline=offline,
                **changes,
            )
    except KeyboardInterrupt as interrupt:
        for note in getattr(interrupt, "__notes__", ()):
            click.echo(f"rowscan: {note}", err=True)
        raise
    if os.environ.get("RANK", "0") == "0":  # of the processes of torchrun one prints
        click.echo(_summary(run))


@cli.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option(
    "--data", default="mnist", metavar="mnist|fashion-mnist|PATH", help="Labelled data to read."
)
@_ALPHABET
@_PATTERN
@_FORMAT
@_OFFLINE
def evaluate(
    model: Path | None,
    data: str,
    alphabet: str | None,
    pattern: str | None,
    output_format: str,
    offline: bool,
) -> int:
    """Measure MODEL: a model file, a run directory, or the models that ship with Rowscan.

    PATH holds images of single digits, or is a folder of numbers with a labels.csv.
    """
    from rowscan.evaluation import evaluate as score
    from rowscan.reader import Reader

    reader = Reader(model, alphabet=alphabet, pattern=pattern)
    result = score(reader, data, offline=offline, quiet=False)
    click.echo(json.dumps(result.to_dict()) if output_format == "json" else result.to_text())
    return 1 if getattr(result, "unreadable", 0) else 0


@cli.command()
@click.argument("recipes", nargs=-1)
@click.option("--seeds", type=click.IntRange(1), default=1, help="Trainings of each system.")
@_FORMAT
@_DEVICE
@_OFFLINE
def reproduce(
    recipes: tuple[str, ...], seeds: int, output_format: str, device: str, offline: bool
) -> None:
    """Train the published systems again and compare their figures (all, or those named)."""
    with requires("train", "training"):
        from rowscan.training import reproduce as module
    results = list(module.reproduce(recipes, seeds=seeds, device=device, offline=offline))
    if output_format == "json":
        click.echo(json.dumps([result.to_dict() for result in results]))
    else:
        click.echo(module.to_text(results))


@cli.command()
@click.argument("name", required=False)
def recipes(name: str | None) -> None:
    """List the recipes, or show all that recipe NAME says."""
    from rowscan.recipes import RECIPES, describe, find

    if name:
        click.echo(describe(find(name)))
        return
    width = max(map(len, RECIPES))
    for recipe in RECIPES.values():
        claim = f"; published: {recipe.published.claim}" if recipe.published else ""
        click.echo(f"{recipe.name.ljust(width)}  {recipe.summary}{claim}")


@cli.command()
@click.argument("name", default="mnist", type=click.Choice(["mnist", "fashion-mnist"]))
@_OFFLINE
def data(name: str, offline: bool) -> None:
    """Find a data set, by default MNIST, or download it; check it, and print its folder."""
    from rowscan.datasets.digits import find, load_digits

    folder = find(name, offline=offline)
    digits = load_digits(name, offline=offline)
    click.echo(f"{name}: {folder}")
    for part in ("train", "validation", "test"):
        click.echo(f"  {part:<10} {len(getattr(digits, part)):>6,} images")


@cli.command()
@click.argument("image", type=click.Path(path_type=Path))
@_MODEL
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw the picture into FILE (.png, .svg).",
)
def explain(image: Path, model: Path | None, output: Path | None) -> None:
    """Show what the network believed of the digit in IMAGE after each row."""
    from rowscan import explanation as module
    from rowscan.reader import Reader

    explanation = module.explain(image, Reader(model))
    click.echo(module.table(explanation))
    if output:
        module.draw(explanation, output)
        click.echo(f"\npicture: {output}")


@cli.command()
@_HOST
@_PORT
@_MODEL
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Accept requests from the pages of this origin.",
)
@_HOSTS
@click.option(
    "--samples",
    type=click.Path(path_type=Path),
    default=Path("rowscan-samples"),
    show_default=True,
    metavar="FOLDER",
    help="Where the page keeps corrections, if its user says so.",
)
@click.option(
    "--form",
    "forms",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Read the fields of this form (a form.toml) at /v1/forms/NAME.",
)
def serve(
    host: str,
    port: int,
    model: Path | None,
    origins: tuple[str, ...],
    hosts: tuple[str, ...],
    samples: Path,
    forms: tuple[Path, ...],
) -> None:
    """Serve the reader over HTTP, with a page to write on, until Ctrl-C."""
    with requires("server", "serving"):
        from rowscan import server
        from rowscan.review.samples import Samples
    server.serve(
        host,
        port,
        model=model,
        allow_origins=origins,
        allow_hosts=hosts,
        samples=Samples(samples, model),
        forms=forms,
    )


@cli.command("review")
@click.argument("folder", type=click.Path(path_type=Path))
@_HOST
@_PORT
@_HOSTS
@_MODEL
@click.option(
    "--form",
    "forms",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Review the fields of this form (a form.toml); may be given several times. The next "
    "review of FOLDER knows it.",
)
@click.option("--user", metavar="NAME", help="Who corrects; by default the user of this machine.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Processes that read; by default one core is left for the page.",
)
@click.option("--learn", is_flag=True, help="Learn from what has been reviewed so far.")
@click.option(
    "--export",
    "output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write what is known into FILE (.csv, .jsonl, .xlsx, labels.csv), and end.",
)
def review_folder(
    folder: Path,
    host: str,
    port: int,
    hosts: tuple[str, ...],
    model: Path | None,
    forms: tuple[Path, ...],
    user: str | None,
    jobs: int | None,
    learn: bool,
    output: Path | None,
) -> None:
    """Read FOLDER, and check and correct the readings on a page, the doubtful ones first."""
    with requires("server", "reviewing"):
        from rowscan.review.exports import export
        from rowscan.review.run import review
    if output is not None:
        click.echo(f"{output}: {export(folder, output):,} pages")
    else:
        review(
            folder,
            host=host,
            port=port,
            allow_hosts=hosts,
            model=model,
            user=user,
            jobs=jobs,
            learn=learn,
            forms=forms,
        )


@cli.group("form")
def form_group() -> None:
    """Describe forms, for `rowscan read --form`."""


@form_group.command("new")
@click.argument("blank", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file to write; by default form.toml beside the picture. One that is there is opened.",
)
@_HOST
@_PORT
@_HOSTS
def form_new(
    blank: Path, output: Path | None, host: str, port: int, hosts: tuple[str, ...]
) -> None:
    """Find the fields of BLANK, a picture or PDF of an empty form, and name them on a page."""
    with requires("server", "naming the fields of a form"):
        from rowscan.designer import new_form
    new_form(blank, output, host=host, port=port, allow_hosts=hosts)


def main() -> NoReturn:
    """Entry point: 0 done, 1 something could not be processed, 2 wrong usage, 130 Ctrl-C."""
    try:  # click ends a command whose output nobody reads on quietly, with 1
        sys.exit(cli.main(standalone_mode=False) or 0)
    except NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        where = f"; see {context.command_path} --help" if context else ""
        click.echo(f"rowscan: {error.format_message().removesuffix('.')}{where}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except RowscanError as error:
        click.echo(f"rowscan: {error}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)


def _key_value(setting: str) -> tuple[str, str]:
    key, equals, value = setting.partition("=")
    if not equals:
        raise UsageError(f"--set takes KEY=VALUE, not {setting!r}")
    return key.strip(), value.strip()


def _summary(run: "Run") -> str:
    from rowscan.training.tasks import task_type

    assert run.result is not None
    return "\n".join(
        [
            *task_type(run.recipe).summary(run),
            f"time       {run.result.seconds:.1f} s",
            f"model      {run.model}",
            f"report     {run.report}",
        ]
    )
