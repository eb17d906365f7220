"""`python -m django_shop DSN [--create]`, run from the folder of the samples; see serving.py.

A customer's requests carry the customer's number, here by Django's test client, which keeps the cookies of each.
"""
import os

import django
from django.core.management import call_command

import stock
from serving import Conflict, NotFound, arguments, serve


def create():
    """The tables, by Django, and what is in them."""
    from django.contrib.auth.models import User

    from .models import Banner, Category, Order, OrderItem, Product, Review

    call_command("migrate", verbosity=0)
    shelves = [Category.objects.create(name=name) for name in stock.CATEGORIES]
    goods = Product.objects.bulk_create(
        Product(name=name, description=text, price=price, stock=left, category=shelves[shelf])
        for name, text, price, left, shelf in stock.products())
    people = User.objects.bulk_create(User(username=name, email=email) for name, email in stock.customers())
    for who, bought in stock.orders():
        placed = Order.objects.create(customer=people[who])
        OrderItem.objects.bulk_create(
            OrderItem(order=placed, product=goods[what], quantity=quantity, price=goods[what].price)
            for what, quantity in bought)
    Review.objects.bulk_create(
        Review(product=goods[what], customer=people[who], rating=rating, text=text)
        for what, who, rating, text in stock.reviews())
    Banner.objects.create(text="Free delivery on Mondays")


def visitors():
    """What answers a request as the customer that it names, who logs in with the first."""
    from django.contrib.auth.models import User
    from django.test import Client

    clients = {None: Client()}

    def handle(method: str, path: str, data: dict):
        who = data.get("customer")
        if who not in clients:
            clients[who] = Client()
            clients[who].force_login(User.objects.get(pk=who))
        if method == "GET":
            response = clients[who].get(path, data)
        else:
            response = clients[who].post(path, data, content_type="application/json")
        if response.status_code == 404:
            raise NotFound(path)
        if response.status_code == 409:
            raise Conflict(response.json()["error"])
        assert response.status_code == 200, response
        return {"banner": response["X-Banner"], "page": response.json()}

    return handle


options = arguments()
os.environ["SHOP_DATABASE"] = options.dsn
os.environ["DJANGO_SETTINGS_MODULE"] = "django_shop.settings"
django.setup()
if options.create:
    create()
else:
    serve(visitors())
