from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowscan.errors import UsageError
from rowscan.recipes import (
    RECIPES,
    LineRecipe,
    LSTMRecipe,
    MLPRecipe,
    Recipe,
    SweepRecipe,
    change,
    checked,
    decode,
    describe,
    find,
    load,
)


def test_the_published_hyper_parameters_are_those_of_the_publications() -> None:
    b32, b64 = find("lstm-rows-b32", LSTMRecipe), find("lstm-rows-b64", LSTMRecipe)
    assert (b32.hidden, b32.batch_size, b32.learning_rate, b32.epochs) == (64, 32, 0.01, 1)
    assert (b32.optimizer, b32.seed, b32.monitor_images, b32.monitor_every) == (
        "adam",
        2019,
        2000,
        50,
    )
    assert msgspec.structs.replace(
        b32,
        name=b64.name,
        summary=b64.summary,
        batch_size=64,
        seed=1,
        samples=10,
        published=b64.published,
    ) == b64  # fmt: skip
    mlp = find("mlp-numpy", MLPRecipe)
    assert (mlp.hidden, mlp.batch_size, mlp.learning_rate, mlp.epochs) == (50, 100, 0.001, 5)
    assert (mlp.pixels, mlp.init, mlp.sampling, mlp.optimizer) == (
        "raw",
        "normal",
        "replacement",
        "sgd",
    )
    columns = find("lstm-columns", LSTMRecipe)
    assert (columns.layers, columns.hidden, columns.scan) == (2, 100, "columns")
    assert (columns.optimizer, columns.learning_rate, columns.epochs) == ("adadelta", 0.1, 10)
    assert columns.pixels == "signed"
    tensorflow = find("lstm-rows-tf", LSTMRecipe)
    assert (tensorflow.engine, tensorflow.hidden, tensorflow.scan, tensorflow.pixels) == (
        "tensorflow",
        128,
        "rows",
        "unit",
    )
    assert (tensorflow.init, tensorflow.forget_bias, tensorflow.biases) == ("glorot", 1, 1)
    assert (tensorflow.optimizer, tensorflow.learning_rate) == ("adam", 0.001)
    assert (tensorflow.batch_size, tensorflow.epochs * tensorflow.steps_per_epoch) == (128, 5000)
    assert (tensorflow.train_on, tensorflow.steps_per_epoch) == ("split", 1000)
    assert tensorflow.published is not None
    assert (tensorflow.published.accuracy, tensorflow.published.images) == (None, 128)


def test_text_values_become_the_field_s_type() -> None:
    values = {"epochs": "3", "learning_rate": "5e-3", "scan": "snake", "biases": "1"}
    changed = change(find("lstm-rows", LSTMRecipe), values)
    assert (changed.epochs, changed.learning_rate, changed.scan) == (3, 0.005, "snake")
    assert changed.biases == 1


@pytest.mark.parametrize(("text", "number"), [(".05", 0.05), ("5.", 5.0), ("+1", 1.0), ("2", 2.0)])
def test_a_number_may_be_written_as_people_write_it(text: str, number: float) -> None:
    changed = change(find("lstm-rows"), {"weight_decay": text, "learning_rate": text})
    assert (changed.weight_decay, changed.learning_rate) == (number, number)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("learningrate", "0.1", "did you mean 'learning_rate'?"),
        ("epoch", "2", "did you mean 'epochs'?"),
        ("zzz", "2", "expected one of: name"),
        ("epochs", "two", "epochs: 'two'"),
        ("epochs", "0", "epochs: '0'"),
        ("epochs", 2.5, "epochs: 2.5"),
        ("learning_rate", "0,1", "learning_rate: '0,1'"),
        ("learning_rate", "-.1", "learning_rate: '-.1'"),
        ("optimizer", "adma", "did you mean 'adam'?"),
        ("engine", "tensorflo", "did you mean 'tensorflow'?"),
        ("biases", "3", "biases: expected 1 or 2, got '3'"),
        ("scan", "colums", "did you mean 'columns'?"),
        ("published", "1", "no key 'published'"),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_the_nearest_right_one(
    key: str, value: object, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        change(find("lstm-rows"), {key: value})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'lstm-columns'"):
        find("lstm-colums")


def test_a_changed_recipe_makes_no_published_claim_but_another_seed_does() -> None:
    recipe = find("lstm-rows-b64")
    assert change(recipe, {"seed": 7, "engine": "numpy"}).published == recipe.published
    assert change(recipe, {"epochs": 1}).published == recipe.published  # as it was
    assert change(recipe, {"epochs": 2}).published is None


def test_a_toml_file_is_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "lstm-rows"\nhidden = 32\nscan = "patches"\n')
    recipe = load(path)
    assert isinstance(recipe, LSTMRecipe)
    assert (recipe.name, recipe.hidden, recipe.scan) == ("mine", 32, "patches")
    assert recipe.batch_size == find("lstm-rows").batch_size


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hidden = 32", 'base = "'),
        ('base = "lstm-row"', "did you mean 'lstm-rows'"),
        ('base = "lstm-rows"\nhiden = 32', "did you mean 'hidden'"),
        ('base = "lstm-rows"\nhidden = "32x"', "hidden: '32x'"),
        ("base = ", "expected a recipe in TOML"),
        (f'base = "lstm-rows"\nhidden = {"9" * 5000}', "expected a recipe in TOML"),
        (f'base = "lstm-rows"\nhidden = "{"x" * 5000}"', "hidden: 'xxx"),
        ("a = " + "[" * 3000, "expected a recipe in TOML"),
    ],
)
def test_a_wrong_toml_file_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_described_loads_as_the_same_recipe(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.toml"
    path.write_text(describe(find(name)))
    same = load(path)
    assert msgspec.structs.replace(same, summary=find(name).summary) == find(name)


@given(st.sampled_from(sorted(RECIPES)))
def test_a_recipe_survives_its_json(name: str) -> None:
    recipe = find(name)
    assert decode(msgspec.json.encode(recipe)) == recipe


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("line", "scan=columns"),
        ("line", "pixels=raw"),
        ("line", "engine=numpy"),
        ("line", "augmentation=handwriting"),
        ("line", "negatives=1"),
        ("line", "tta=true"),
        ("line", "sampling=replacement"),
        ("line", "init=glorot"),
        ("sweep", "biases=1"),
        ("sweep", "init=glorot"),
        ("mlp-numpy", "layers=2"),
        ("mlp-numpy", "forget_bias=1"),
    ],
)
def test_a_key_that_the_network_has_no_use_for_does_not_exist(name: str, settings: str) -> None:
    key, _, value = settings.partition("=")
    network = find(name).network
    with pytest.raises(UsageError, match=f"network {network!r} has no key {key!r}"):
        change(find(name), {key: value})


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("line", {"steps_per_epoch": "0"}, "steps_per_epoch: '0'"),
        ("mlp-numpy", {"scan": "rows"}, "scan: expected whole, got 'rows'"),
        ("sweep", {"scan": "rows"}, "scan: expected patches or pixels, got 'rows'"),
        ("sweep", {"engine": "numpy"}, "engine: expected torch, got 'numpy'"),
        ("mlp-numpy", {"engine": "tensorflow"}, "engine: expected torch or numpy, got 'tensorf"),
        ("lstm-rows", {"network": "mlp"}, "start from another recipe"),
        ("sweep", {"look_again": "true"}, "it is called 'tta' now"),
        ("lstm-rows", {"train_on": "all"}, "set monitor=test"),
        ("sweep", {"train_on": "all", "monitor": "test"}, "set calibrate=false"),
    ],
)
def test_values_that_make_no_sense_are_refused(
    name: str, settings: dict[str, object], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        change(find(name), settings)


def test_a_recipe_made_in_python_is_checked_too() -> None:
    assert checked(find("sweep")) == find("sweep")
    with pytest.raises(UsageError, match="expected a whole number >= 1"):
        checked(msgspec.structs.replace(find("line", LineRecipe), steps_per_epoch=0))
    with pytest.raises(UsageError, match="did you mean 'columns'"):
        checked(msgspec.structs.replace(find("lstm-rows", LSTMRecipe), scan="colums"))


def test_a_recipe_as_rowscan_0_1_stored_it_is_still_read() -> None:
    sweep = msgspec.to_builtins(find("sweep", SweepRecipe))
    old = {"look_again": "tta", "no_digits": "negatives", "expect_no_digits": "expected_negatives"}
    for before, now in old.items():
        sweep[before] = sweep.pop(now)
    everywhere = {"init": "uniform", "forget_bias": 0.0, "biases": 2}
    assert decode(sweep | everywhere) == find("sweep")
    line: dict[str, object] = msgspec.to_builtins(find("line"))
    everywhere |= {"engine": "torch", "scan": "rows", "pixels": "unit", "no_digits": 0.0}
    assert decode(msgspec.json.encode(line | everywhere)) == find("line")
    for wrong in ({}, {"network": "cnn"}, {"network": "line", "hiden": 3}):
        with pytest.raises(UsageError, match="not a recipe"):
            decode(line | wrong if wrong else wrong)


def test_a_recipe_of_another_type_is_refused() -> None:
    assert isinstance(find("line"), Recipe)
    with pytest.raises(UsageError, match="expected a SweepRecipe, got 'line': LineRecipe"):
        find("line", SweepRecipe)


def test_text_that_is_not_unicode_is_refused() -> None:
    """As a command line passes bytes that are no UTF-8."""
    with pytest.raises(UsageError, match="hidden: "):
        change(find("lstm-rows"), {"hidden": "\udcff"})
