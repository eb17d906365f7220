"""What the sample shops sell, and to whom: the same rows each time."""
import random

CATEGORIES = ["Books", "Games", "Garden", "Kitchen", "Music", "Toys"]
ADJECTIVES = ["Blue", "Quiet", "Large", "Old", "Bright", "Small", "Wooden", "Round"]
THINGS = ["Lamp", "Chair", "Kettle", "Spade", "Flute", "Robot", "Atlas"]
PRODUCTS, CUSTOMERS, ORDERS = 24, 10, 20


def products():
    """(name, description, price, stock, category by position)"""
    draw = random.Random(1)
    for number in range(PRODUCTS):
        name = f"{ADJECTIVES[number % 8]} {THINGS[number % 7]}"
        yield (name, f"The {name.lower()} that everybody wants. " * 4, f"{draw.randint(3, 90)}.95",
               draw.randint(3, 60), number % len(CATEGORIES))


def customers():
    """(name, email)"""
    for number in range(CUSTOMERS):
        yield f"Customer {number + 1}", f"customer{number + 1}@example.com"


def orders():
    """(customer by position, [(product by position, quantity)])"""
    draw = random.Random(2)
    for _ in range(ORDERS):
        bought = draw.sample(range(PRODUCTS), draw.randint(1, 4))
        yield draw.randrange(CUSTOMERS), [(product, draw.randint(1, 3)) for product in bought]


def reviews():
    """(product by position, customer by position, rating, text)"""
    draw = random.Random(3)
    for product in range(PRODUCTS):
        for customer in draw.sample(range(CUSTOMERS), draw.randint(0, 5)):
            yield product, customer, draw.randint(1, 5), draw.choice(["Good.", "As described.", "Broke after a day."])
