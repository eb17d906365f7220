"""The statements of test_differential.py with every answer from rows: the memo is off.

Their tables have nothing of what keeps a table out of the row tier, so nearly all must be answered from it.
"""
import statements as generated
from rowtier import ROWS
from test_differential import TestGeneratedStatements, floors, sessions, statements  # noqa: F401 (tests and fixtures)

ONE_REACTOR = True
PROXY = ROWS
# The text of money depends on lc_monetary, so its table is not in the row tier.
SCHEMA = generated.SCHEMA.replace("cost money", "cost numeric(9, 2)").replace("::numeric::money", "")

# Of each pattern the share that must come from rows.
FLOORS = {"all": 0.95}
