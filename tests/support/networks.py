"""Networks of all kinds for property tests."""

from typing import Any

from hypothesis import strategies as st

CLASSIC = {"p": 0.5, "scaling": "classic"}
ACTIVATIONS = ["relu", "tanh", "logistic", "gelu", "selu", "mish", "maxout"]


def networks(*, widest: int, batchwise: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy of the fields of an MLPConfig; `batchwise` dropout only if asked for."""

    @st.composite
    def fields(draw: st.DrawFn) -> dict[str, Any]:
        members = draw(st.sampled_from([1, 1, 2, 3]), label="members")
        batch_norm = members == 1 and draw(st.booleans(), label="batch norm")
        activation = draw(st.sampled_from(ACTIVATIONS), label="activation")
        parametric = activation != "maxout" and draw(st.booleans(), label="parametric")
        dropouts: list[Any] = [0.0, 0.5, CLASSIC, {"kind": "gaussian", "p": 0.5}]
        of_hidden = list(dropouts)
        if members == 1:
            of_hidden.append({"kind": "dropconnect", "p": 0.5})
            if batchwise and not batch_norm and not parametric:
                dropouts.append({"kind": "batchwise", "p": 0.5})
                of_hidden.append({"kind": "batchwise", "p": 0.5})
        return {
            "hidden": draw(st.lists(st.integers(1, widest), max_size=3), label="hidden"),
            "activation": activation,
            "parametric_activation": parametric,
            "input_scaling": draw(st.booleans(), label="input scaling"),
            "members": members,
            "member_sharing": draw(st.sampled_from(["backbone", "nothing"]), label="sharing"),
            "batch_norm": batch_norm,
            "input_dropout": draw(st.sampled_from(dropouts), label="input dropout"),
            "hidden_dropout": draw(st.sampled_from(of_hidden), label="hidden dropout"),
        }

    return fields()
