import ast
from pathlib import Path

from refrain.pipeline import schema


def test_values_live_in_conf_and_in_no_second_place():
    tree = ast.parse(Path(schema.__file__).read_text())
    kinds = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    given = {
        f"{kind}.{field.target.id}": ast.unparse(field.value or ast.Constant("none at all"))
        for kind, node in kinds.items()
        for field in node.body
        if isinstance(field, ast.AnnAssign)
    }
    assert given.pop("Config.composed") == "None"  # `dvc exp run` leaves it out
    of_elements = {
        field
        for field in given
        if field.split(".")[0] in ("SourceConfig", "QuantizationConfig", "Thresholds", "VariantConfig")
    }
    assert {default for field, default in given.items() if field not in of_elements} == {"MISSING"}
