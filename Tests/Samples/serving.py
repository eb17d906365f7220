"""What the sample shops have in common: routes, and a loop that takes a request a line.

    python sqlalchemy_shop.py DSN --create      creates the tables and fills them
    python sqlalchemy_shop.py DSN               reads ["GET", "/products/3", {}] and writes ["200", {"name": …}]

The line stands for what a web server would hand over; everything behind it is an ordinary program.
"""
import argparse
import datetime
import decimal
import json
import re
import sys


class NotFound(Exception):
    """There is no such thing: 404."""


class Conflict(Exception):
    """It cannot be done now, such as selling what is out of stock: 409."""


def plain(value):
    """What JSON has no word for, as text."""
    if isinstance(value, (decimal.Decimal, datetime.date)):
        return str(value)
    raise TypeError(f"{type(value)} in an answer")


class Routes:
    """Functions by method and path: `@shop.get("/products/<id>")`, where <id> is a whole number."""

    def __init__(self):
        self._routes = []

    def _add(self, method: str, path: str):
        pattern = re.compile(path.replace("<id>", r"(\d+)") + "$")

        def remember(function):
            self._routes.append((method, pattern, function))
            return function
        return remember

    def get(self, path: str):
        return self._add("GET", path)

    def post(self, path: str):
        return self._add("POST", path)

    def find(self, method: str, path: str):
        """The function of a request and the numbers in its path."""
        for known, pattern, function in self._routes:
            match = pattern.match(path)
            if known == method and match:
                return function, [int(part) for part in match.groups()]
        raise NotFound(path)


def arguments(*options: str) -> argparse.Namespace:
    """The command line: a DSN, --create, and the options that a shop has besides."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dsn")
    parser.add_argument("--create", action="store_true")
    for option in options:
        parser.add_argument("--" + option)
    return parser.parse_args()


def serve(handle):
    """Answers the requests of standard input with `handle(method, path, data)` until it ends."""
    for line in sys.stdin:
        try:
            answer = "200", handle(*json.loads(line))
        except NotFound as error:
            answer = "404", str(error)
        except Conflict as error:
            answer = "409", str(error)
        print(json.dumps(answer, default=plain), flush=True)
