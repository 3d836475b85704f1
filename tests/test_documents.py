"""The documents say what is true: commands and code run, links and names lead somewhere."""

import builtins
import functools
import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from rowscan.cli import cli
from rowscan.recipes import RECIPES, change, find, load

ROOT = Path(__file__).parent.parent
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
DOCUMENTS = [*READMES, *sorted((ROOT / "docs").glob("*.md"))]

every_readme = pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def blocks(document: Path, language: str) -> list[str]:
    """The code blocks of one language."""
    text = document.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def commands(document: Path) -> Iterator[tuple[list[str], str]]:
    """Each `$ command` as its words, without its comment, and the output that stands below it."""
    for block in blocks(document, "console"):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            line, _, output = part.partition("\n")
            yield shlex.split(line, comments=True), output


def rowscan_commands() -> Iterator[tuple[list[str], str]]:
    seen = set()
    for document in DOCUMENTS:
        for words, output in commands(document):
            if words[0] == "rowscan" and tuple(words) not in seen:
                seen.add(tuple(words))
                yield words[1:], output


def tables(document: Path) -> list[list[str]]:
    """The tables, each as its rows."""
    found = re.findall(r"(?:^\|.*\n)+", document.read_text(encoding="utf-8"), re.M)
    return [table.splitlines() for table in found]


def slugs(document: Path) -> set[str]:
    """The anchors of a document's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture
def workplace(tmp_path: Path, tiny: Path) -> Path:
    """A folder with all that the documents' examples speak of."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "my-digits.npz").symlink_to(tiny)
    (tmp_path / "photo.jpg").symlink_to(ROOT / "examples" / "numbers" / "note.jpg")
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "1.jpg").symlink_to(ROOT / "examples" / "numbers" / "cheque.jpg")
    (tmp_path / "my-recipe.toml").write_text(blocks(READMES[0], "toml")[0], encoding="utf-8")
    return tmp_path


@every_readme
def test_each_command_and_each_recipe_is_named(readme: Path) -> None:
    used = {words[1] for words, _ in commands(readme) if words[0] == "rowscan"}
    assert used == set(cli.commands)
    text = readme.read_text(encoding="utf-8")
    assert [name for name in RECIPES if f"`{name}`" not in text] == []


@every_readme
def test_each_make_target_is_there(readme: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [words[1] for words, _ in commands(readme) if words[0] == "make"]
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M)
    echoed = re.findall(r"^(\.venv/bin/.*)$", "\n".join(blocks(readme, "console")), re.M)
    assert echoed
    for line in echoed:
        assert f"\t{line.replace('.venv/bin', '$(BIN)')}\n" in makefile


@pytest.mark.parametrize(("words", "output"), list(rowscan_commands()), ids=lambda x: str(x)[:60])
def test_each_command_is_understood(
    words: list[str], output: str, workplace: Path, rowscan: Callable[..., object]
) -> None:
    name, *rest = words
    command = cli.commands[name]
    if isinstance(command, click.Group):
        command, rest = command.commands[rest[0]], rest[1:]
    parameters = command.make_context(name, list(rest)).params
    if output.startswith("rowscan: "):  # the example shows an error
        done = rowscan(*words)
        assert isinstance(done, subprocess.CompletedProcess)
        assert (done.stderr.strip(), done.returncode) == (output.strip(), 2)
    elif name == "train":
        recipe = parameters["recipe"]
        if recipe is None:
            assert parameters["resumed"] is not None
        else:
            base = load(workplace / recipe) if recipe.endswith(".toml") else find(recipe)
            changed = change(base, dict(setting.split("=") for setting in parameters["settings"]))
            assert changed != base or not parameters["settings"]
    elif name == "reproduce":
        assert all(find(recipe).published for recipe in parameters["recipes"])
    elif name in ("serve", "review", "form"):
        assert parameters["host"] == "127.0.0.1"
    elif words == ["evaluate"]:
        assert not output  # it takes long, and test_training compares what it prints
    elif name not in ("evaluate", "read") or parameters["model"] is None:
        done = rowscan(*words)
        assert isinstance(done, subprocess.CompletedProcess)
        assert done.returncode == 0, done.stderr
        assert done.stdout or parameters["output"]
        assert output.strip() in done.stdout


def test_explain_draws_what_the_documents_show(
    workplace: Path, rowscan: Callable[..., object]
) -> None:
    examples = [words for words, _ in rowscan_commands() if words[0] == "explain"]
    assert examples
    for words in examples:
        rowscan(*words)
        with Image.open(workplace / words[words.index("--output") + 1]) as picture:
            assert picture.width > 1000
            assert len(np.unique(np.asarray(picture.convert("L")))) > 50


def test_the_python_of_the_readme_runs(workplace: Path) -> None:
    """The English one's; the other has the same but for its comments, which a test below holds."""
    (code,) = blocks(READMES[0], "python")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=workplace,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    numbers, digit, accuracy, evaluated, trained, error = done.stdout.splitlines()
    assert numbers.startswith("4071 / 90210 / 86 35 ")
    assert digit.startswith("7 ")
    assert float(accuracy) > 0.95
    assert evaluated == "1.0 0.0"
    assert error.startswith("missing.jpg ")
    assert trained.endswith(" runs/mine/model.onnx")
    assert (workplace / "runs/mine/model.onnx").exists()


def test_the_python_of_the_other_documents_runs() -> None:
    found = [code for path in DOCUMENTS if path not in READMES for code in blocks(path, "python")]
    assert found
    defined: list[dict[str, np.ndarray]] = []
    for code in found:
        defined.append({})
        exec(code, defined[-1])
    (names,) = (names for names in defined if "sequences" in names)
    assert names["sequences"].shape == (100, 28, 28)
    assert names["barcodes"].shape == (100, 784, 1)
    np.testing.assert_array_equal(names["sequences"], names["images"])
    np.testing.assert_array_equal(names["barcodes"].reshape(100, 28, 28), names["images"])


@every_document
def test_each_link_leads_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    if document in READMES:
        assert links
    for link in links:
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in slugs(target), link


FOREIGN = {
    *("train_data", "train_labels", "test_data", "test_labels"),  # torchvision's, once
    *("tensorflow.examples.tutorials.mnist.input_data", "tf.contrib", "tf.compat.v1"),
    "tf.placeholder",
    *("AWS_PROFILE", "AWS_ENDPOINT_URL", "RAY_AUTH_TOKEN"),
    *("zsh_source", "fish_source", "bash_source"),  # click's
    *dir(builtins),
}
"""Names in the documents that belong to others."""


@every_document
def test_each_name_and_file_in_code_font_exists(document: Path) -> None:
    """A name with a dot, an underscore or capitals inside, a call, a key with its value."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    for words in re.findall(r"`([^`\n]+)`", text):
        for path in re.findall(r"[\w/-]+\.(?:py|toml|onnx)\b", words):
            assert path in {"my-recipe.toml", "form.toml", "model.onnx"} or exists(path), words
        found = re.fullmatch(r"([A-Za-z]\w*(?:\.[A-Za-z]\w*)*)(\(.*\)| = .*)?", words)
        if found and (found[2] or re.search(r"[._]|[a-z][A-Z]", found[1])):
            known = found[1] in FOREIGN or exists(found[1])
            assert known or set(found[1].split(".")) <= source_words(), words


@every_document
def test_a_file_is_called_what_its_link_says(document: Path) -> None:
    for name, target in re.findall(
        r"\[`([\w.]+\.py)`\]\(([^)#]+)", document.read_text(encoding="utf-8")
    ):
        assert Path(target).name == name


def exists(end: str) -> bool:
    """Whether the path of some file of the repository ends so."""
    return any(f"/{path}".endswith(f"/{end}") for path in files())


@functools.cache
def files() -> list[str]:
    """The files of the repository, relative to its root."""
    folders = [ROOT / name for name in ("benchmarks", "docs", "examples", "src", "tests")]
    found = [*ROOT.glob("*"), *itertools.chain(*(folder.rglob("*") for folder in folders))]
    return [path.relative_to(ROOT).as_posix() for path in found if path.is_file()]


@functools.cache
def source_words() -> set[str]:
    """Each identifier in the package."""
    sources = [name for name in files() if re.match(r"src/.*\.(py|js)$", name)]
    text = " ".join((ROOT / name).read_text(encoding="utf-8") for name in sources)
    return set(re.findall(r"\w+", text))


def test_each_picture_is_shown_and_light_enough_for_a_page() -> None:
    pictures = sorted((ROOT / "docs" / "pictures").iterdir())
    assert pictures
    shown = "".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    for picture in pictures:
        assert f"pictures/{picture.name})" in shown
        assert picture.stat().st_size < 110_000


def test_both_readmes_have_the_same_figures_commands_and_code() -> None:
    english, chinese = READMES
    assert [words for words, _ in commands(english)] == [words for words, _ in commands(chinese)]
    outputs = [[output for _, output in commands(readme)] for readme in READMES]
    assert outputs[0] == outputs[1]
    codes = [
        [re.sub(r" *#.*", "", code) for code in blocks(readme, language)]
        for language in ("python", "toml")
        for readme in READMES
    ]
    assert codes[0] == codes[1]
    assert codes[2] == codes[3]
    # Words stand in another order in another language; the figures of a cell are the same ones.
    figures = [
        [
            [
                sorted(re.findall(r"`[^`]+`|@@\w+@@|\d+(?:[,.]\d+)*%?", cell))
                for cell in row.split("|")
            ]
            for table in tables(readme)
            for row in table
        ]
        for readme in READMES
    ]
    assert len(figures[0]) > 15
    assert figures[0] == figures[1]


@every_document
def test_no_figure_is_left_to_be_filled_in(document: Path) -> None:
    assert re.findall(r"@@\w*", document.read_text(encoding="utf-8")) == []
