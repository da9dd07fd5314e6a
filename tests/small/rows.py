"""One row for each objective: what the tables of tests here are made of."""

from typing import Any, NamedTuple


class Row(NamedTuple):
    choices: list[dict[str, str]]  # its estimators, and the choices that they ask for
    numbers: dict[str, Any]  # of its own keys, not at an end of their range


LANDING = {"gradient": "sticking_the_landing", "kl": "sampled"}
DOUBLY = {"gradient": "doubly_reparameterized"}
ROWS = {
    "elbo": Row([{}, {"kl": "sampled"}, LANDING], {}),
    "iwae": Row([{}, DOUBLY, {"gradient": "wake_wake"}, {"gradient": "wake_sleep"}], {}),
    "miwae": Row([{}, DOUBLY], {"num_groups": 2}),
    "ciwae": Row([{}, DOUBLY], {"elbo_weight": 0.2}),
    "piwae": Row([{}, DOUBLY], {"num_groups": 2}),
    "renyi": Row([{}, DOUBLY], {"alpha": 0.3}),
    "m2": Row([{}, {"kl": "sampled"}], {}),
}
