"""A web shop on SQLAlchemy 2: declarative models, a Session for each request, autobegin, commit by who writes.

--driver names the DBAPI: psycopg (default), psycopg2, or asyncpg, with an AsyncSession.
"""
from __future__ import annotations

import asyncio
import datetime
from decimal import Decimal

from sqlalchemy import ForeignKey, Numeric, create_engine, func, make_url, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import (DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship,
                            selectinload, sessionmaker)

import stock
from serving import Conflict, NotFound, Routes, arguments, serve

PAGE = 10


class Base(DeclarativeBase):
    pass


class Category(Base):
    __tablename__ = "category"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    products: Mapped[list[Product]] = relationship(back_populates="category")


class Product(Base):
    __tablename__ = "product"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str]
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    stock: Mapped[int]
    category_id: Mapped[int] = mapped_column(ForeignKey("category.id"), index=True)
    category: Mapped[Category] = relationship(back_populates="products")
    reviews: Mapped[list[Review]] = relationship(order_by="Review.id")


class Customer(Base):
    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str] = mapped_column(unique=True)
    orders: Mapped[list[Order]] = relationship(back_populates="customer", order_by="Order.id.desc()")


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    placed: Mapped[datetime.datetime] = mapped_column(server_default=func.now())
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"), index=True)
    customer: Mapped[Customer] = relationship(back_populates="orders")
    items: Mapped[list[OrderItem]] = relationship(back_populates="order", order_by="OrderItem.id")

    def total(self) -> Decimal:
        return sum((item.price * item.quantity for item in self.items), Decimal())


class OrderItem(Base):
    __tablename__ = "order_item"
    id: Mapped[int] = mapped_column(primary_key=True)
    quantity: Mapped[int]
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), index=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), index=True)
    order: Mapped[Order] = relationship(back_populates="items")
    product: Mapped[Product] = relationship()


class Review(Base):
    __tablename__ = "review"
    id: Mapped[int] = mapped_column(primary_key=True)
    rating: Mapped[int]
    text: Mapped[str]
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), index=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))
    customer: Mapped[Customer] = relationship()


shop = Routes()


@shop.get("/categories")
def categories(session: Session, data: dict):
    rows = session.execute(
        select(Category.id, Category.name, func.count(Product.id).label("products"))
        .outerjoin(Category.products).group_by(Category.id).order_by(Category.name))
    return [dict(row._mapping) for row in rows]


@shop.get("/products")
def products(session: Session, data: dict):
    query = select(Product)
    if "category" in data:
        query = query.join(Product.category).where(Category.name == data["category"])
    total = session.scalar(query.with_only_columns(func.count(Product.id)))
    order = {"price": Product.price, "name": Product.name}[data.get("sort", "name")]
    page = session.scalars(
        query.order_by(order, Product.id).limit(PAGE).offset(PAGE * data.get("page", 0))).all()
    return {"total": total, "products": [{"id": each.id, "name": each.name, "price": each.price} for each in page]}


@shop.get("/search")
def search(session: Session, data: dict):
    found = session.scalars(
        select(Product).where(Product.name.ilike(f"%{data['words']}%"), Product.stock > 0)
        .options(joinedload(Product.category)).order_by(Product.id))
    return [{"id": each.id, "name": each.name, "category": each.category.name} for each in found]


@shop.get("/products/<id>")
def product(session: Session, data: dict, number: int):
    found = session.get(Product, number, options=[
        joinedload(Product.category), selectinload(Product.reviews).joinedload(Review.customer)])
    if found is None:
        raise NotFound("no such product")
    rating = session.scalar(select(func.avg(Review.rating)).where(Review.product_id == number))
    return {"name": found.name, "description": found.description, "price": found.price, "stock": found.stock,
            "category": found.category.name, "rating": rating,
            "reviews": [{"by": each.customer.name, "rating": each.rating, "text": each.text}
                        for each in found.reviews]}


@shop.get("/bestsellers")
def bestsellers(session: Session, data: dict):
    sold = func.sum(OrderItem.quantity).label("sold")
    rows = session.execute(
        select(Product.id, Product.name, sold).join(OrderItem.product)
        .group_by(Product.id, Product.name).order_by(sold.desc(), Product.id).limit(5))
    return [dict(row._mapping) for row in rows]


@shop.get("/newest")
def newest(session: Session, data: dict):
    # A LIMIT together with the rows of a collection: SQLAlchemy wraps the products in a subquery.
    found = session.scalars(
        select(Product).options(joinedload(Product.reviews)).order_by(Product.id.desc()).limit(3)).unique()
    return [{"name": each.name, "reviews": len(each.reviews)} for each in found]


@shop.get("/customers/<id>/orders")
def orders(session: Session, data: dict, number: int):
    customer = session.get(Customer, number)
    if customer is None:
        raise NotFound("no such customer")
    found = session.scalars(
        select(Order).where(Order.customer == customer).options(selectinload(Order.items))
        .order_by(Order.id.desc()))
    return {"name": customer.name, "orders": [{"id": each.id, "total": each.total()} for each in found]}


@shop.get("/orders/<id>")
def order(session: Session, data: dict, number: int):
    found = session.get(Order, number)
    if found is None:
        raise NotFound("no such order")
    # Nothing is loaded ahead here: each customer and product is a statement of its own.
    return {"customer": found.customer.name, "total": found.total(),
            "items": [{"name": item.product.name, "quantity": item.quantity, "price": item.price}
                      for item in found.items]}


@shop.post("/orders")
def place_order(session: Session, data: dict):
    placed = Order(customer_id=data["customer"])
    for number, quantity in data["items"]:
        bought = session.get(Product, number, with_for_update=True)
        if bought.stock < quantity:
            raise Conflict(f"{bought.name} is out of stock")
        bought.stock -= quantity
        placed.items.append(OrderItem(product=bought, quantity=quantity, price=bought.price))
    session.add(placed)
    session.commit()
    return {"id": placed.id, "total": placed.total()}


@shop.post("/products/<id>/reviews")
def add_review(session: Session, data: dict, number: int):
    session.add(Review(product_id=number, customer_id=data["customer"], rating=data["rating"], text=data["text"]))
    session.commit()
    return {"reviews": session.scalar(select(func.count()).where(Review.product_id == number))}


@shop.post("/products/<id>/price")
def set_price(session: Session, data: dict, number: int):
    changed = session.get(Product, number)
    if changed is None:
        raise NotFound("no such product")
    changed.price = Decimal(data["price"])
    session.commit()
    return {"price": changed.price}


def create(session: Session):
    """The tables, and what is in them."""
    Base.metadata.create_all(session.connection())
    shelves = [Category(name=name) for name in stock.CATEGORIES]
    goods = [Product(name=name, description=text, price=Decimal(price), stock=left, category=shelves[shelf])
             for name, text, price, left, shelf in stock.products()]
    people = [Customer(name=name, email=email) for name, email in stock.customers()]
    session.add_all(shelves + goods + people)
    session.flush()
    for who, bought in stock.orders():
        session.add(Order(customer=people[who], items=[
            OrderItem(product=goods[what], quantity=quantity, price=goods[what].price)
            for what, quantity in bought]))
    for what, who, rating, text in stock.reviews():
        session.add(Review(product_id=goods[what].id, customer=people[who], rating=rating, text=text))
    session.commit()


def sessions(url):
    """A function that runs another one with a session of its own."""
    open_session = sessionmaker(create_engine(url, pool_pre_ping=True))

    def within(function, *arguments):
        with open_session() as session:
            return function(session, *arguments)

    return within


def asynchronous_sessions(url):
    """The same with asyncio."""
    open_session = async_sessionmaker(create_async_engine(url, pool_pre_ping=True))
    loop = asyncio.new_event_loop()

    async def answer(function, *arguments):
        async with open_session() as session:
            return await session.run_sync(function, *arguments)

    return lambda *call: loop.run_until_complete(answer(*call))


def main():
    options = arguments("driver")
    driver = options.driver or "psycopg"
    url = make_url(options.dsn).set(drivername=f"postgresql+{driver}")
    within_session = asynchronous_sessions(url) if driver == "asyncpg" else sessions(url)
    if options.create:
        within_session(create)
        return

    def handle(method: str, path: str, data: dict):
        function, numbers = shop.find(method, path)
        return within_session(function, data, *numbers)

    serve(handle)


if __name__ == "__main__":
    main()
