"""A web shop on psycopg 3 and SQL by hand: one connection, which begins a transaction with the first statement
of each request, as psycopg does by itself, and commits at its end."""
import psycopg
from psycopg.rows import dict_row

import stock
from serving import Conflict, NotFound, Routes, arguments, serve

SCHEMA = """
create table category (id serial primary key, name text not null unique);
create table product (
    id serial primary key, name text not null, description text not null, price numeric(10, 2) not null,
    stock int not null check (stock >= 0), category_id int not null references category);
create index on product (category_id);
create table customer (id serial primary key, name text not null, email text not null unique);
create table orders (
    id serial primary key, placed timestamptz not null default now(), customer_id int not null references customer);
create index on orders (customer_id);
create table order_item (
    id serial primary key, order_id int not null references orders, product_id int not null references product,
    quantity int not null, price numeric(10, 2) not null);
create index on order_item (order_id);
create table review (
    id serial primary key, product_id int not null references product, customer_id int not null references customer,
    rating int not null, text text not null);
create index on review (product_id);
"""
PAGE = 10

shop = Routes()


@shop.get("/categories")
def categories(database, data: dict):
    return database.execute("""
        select c.id, c.name, count(p.id) as products
        from category c left join product p on p.category_id = c.id
        group by c.id, c.name order by c.name""").fetchall()


@shop.get("/products")
def products(database, data: dict):
    order = {"price": "p.price, p.id", "name": "p.name, p.id"}[data.get("sort", "name")]
    start = PAGE * data.get("page", 0)
    if "category" in data:
        condition, values = "where c.name = %(category)s", {"category": data["category"]}
    else:
        condition, values = "", {}
    source = f"from product p join category c on c.id = p.category_id {condition}"
    total = database.execute(f"select count(*) as n {source}", values).fetchone()["n"]
    page = database.execute(
        f"select p.id, p.name, p.price {source} order by {order} limit {PAGE} offset %(start)s",
        {**values, "start": start}).fetchall()
    return {"total": total, "products": page}


@shop.get("/search")
def search(database, data: dict):
    return database.execute("""
        select p.id, p.name, c.name as category from product p join category c on p.category_id = c.id
        where p.name ilike %s and p.stock > 0 order by p.id""", [f"%{data['words']}%"]).fetchall()


@shop.get("/products/<id>")
def product(database, data: dict, number: int):
    found = database.execute("""
        select p.name, p.description, p.price, p.stock, c.name as category
        from product p join category c on c.id = p.category_id where p.id = %s""", [number]).fetchone()
    if found is None:
        raise NotFound("no such product")
    found["rating"] = database.execute(
        "select avg(rating) from review where product_id = %s", [number]).fetchone()["avg"]
    found["reviews"] = database.execute("""
        select u.name as by, r.rating, r.text from review r join customer u on u.id = r.customer_id
        where r.product_id = %s order by r.id""", [number]).fetchall()
    return found


@shop.get("/bestsellers")
def bestsellers(database, data: dict):
    return database.execute("""
        select p.id, p.name, sum(i.quantity) as sold from order_item i join product p on p.id = i.product_id
        group by p.id, p.name order by sold desc, p.id limit 5""").fetchall()


@shop.get("/newest")
def newest(database, data: dict):
    return database.execute("""
        select p.name, (select count(*) from review r where r.product_id = p.id) as reviews
        from product p order by p.id desc limit 3""").fetchall()


@shop.get("/customers/<id>/orders")
def orders(database, data: dict, number: int):
    customer = database.execute("select name from customer where id = %s", [number]).fetchone()
    if customer is None:
        raise NotFound("no such customer")
    customer["orders"] = database.execute("""
        select o.id, sum(i.quantity * i.price) as total from orders o join order_item i on i.order_id = o.id
        where o.customer_id = %s group by o.id order by o.id desc""", [number]).fetchall()
    return customer


@shop.get("/orders/<id>")
def order(database, data: dict, number: int):
    found = database.execute("""
        select c.name as customer from orders o join customer c on c.id = o.customer_id
        where o.id = %s""", [number]).fetchone()
    if found is None:
        raise NotFound("no such order")
    found["items"] = database.execute("""
        select p.name, i.quantity, i.price from order_item i join product p on p.id = i.product_id
        where i.order_id = %s order by i.id""", [number]).fetchall()
    return found


@shop.post("/orders")
def place_order(database, data: dict):
    number = database.execute(
        "insert into orders (customer_id) values (%s) returning id", [data["customer"]]).fetchone()["id"]
    for bought, quantity in data["items"]:
        try:
            with database.transaction():
                price = database.execute(
                    "update product set stock = stock - %s where id = %s returning price",
                    [quantity, bought]).fetchone()["price"]
        except psycopg.errors.CheckViolation:
            raise Conflict(f"product {bought} is out of stock")
        database.execute(
            "insert into order_item (order_id, product_id, quantity, price) values (%s, %s, %s, %s)",
            [number, bought, quantity, price])
    total = database.execute(
        "select sum(quantity * price) as total from order_item where order_id = %s", [number]).fetchone()["total"]
    return {"id": number, "total": total}


@shop.post("/products/<id>/reviews")
def add_review(database, data: dict, number: int):
    database.execute(
        "insert into review (product_id, customer_id, rating, text) values (%s, %s, %s, %s)",
        [number, data["customer"], data["rating"], data["text"]])
    return database.execute("select count(*) as reviews from review where product_id = %s", [number]).fetchone()


@shop.post("/products/<id>/price")
def set_price(database, data: dict, number: int):
    changed = database.execute(
        "update product set price = %s where id = %s returning price", [data["price"], number]).fetchone()
    if changed is None:
        raise NotFound("no such product")
    return changed


def create(database):
    """The tables, and what is in them."""
    database.execute(SCHEMA)
    with database.cursor() as cursor:
        cursor.executemany("insert into category (name) values (%s)", [(name,) for name in stock.CATEGORIES])
        cursor.executemany(
            "insert into product (name, description, price, stock, category_id) values (%s, %s, %s, %s, %s + 1)",
            stock.products())
        cursor.executemany("insert into customer (name, email) values (%s, %s)", stock.customers())
        for who, bought in stock.orders():
            cursor.execute("insert into orders (customer_id) values (%s + 1) returning id", [who])
            number = cursor.fetchone()["id"]
            cursor.executemany(
                "insert into order_item (order_id, product_id, quantity, price) "
                "select %s, id, %s, price from product where id = %s + 1",
                [(number, quantity, what) for what, quantity in bought])
        with cursor.copy("copy review (product_id, customer_id, rating, text) from stdin") as rows:
            for what, who, rating, text in stock.reviews():
                rows.write_row((what + 1, who + 1, rating, text))
    database.commit()


def main():
    options = arguments()
    with psycopg.connect(options.dsn, row_factory=dict_row) as database:
        if options.create:
            create(database)
            return

        def handle(method: str, path: str, data: dict):
            function, numbers = shop.find(method, path)
            try:
                answer = function(database, data, *numbers)
                database.commit()
                return answer
            except BaseException:
                database.rollback()
                raise

        serve(handle)


if __name__ == "__main__":
    main()
