"""What test_sqlsmith.py tries, with every answer from rows: the memo is off. Only in a soak."""
from query_schema import ROWS_SCHEMA as SCHEMA  # noqa: F401 (read by the `database` fixture)
from rowtier import ROWS
from test_sqlsmith import test_what_sqlsmith_makes  # noqa: F401 (a test)

ONE_REACTOR = True
PROXY = ROWS
