"""The pages of the shop, as JSON."""
import json

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.db.models import Avg, Count, F, Sum
from django.http import JsonResponse
from django.shortcuts import get_object_or_404

from .models import Category, Order, OrderItem, Product, Review

PAGE = 10


def categories(request):
    found = Category.objects.annotate(count=Count("products")).values("id", "name", "count").order_by("name")
    return JsonResponse(list(found), safe=False)


def products(request):
    found = Product.objects.all()
    if "category" in request.GET:
        found = found.filter(category__name=request.GET["category"])
    if request.GET.get("sort") == "price":
        found = found.order_by("price", "id")
    pages = Paginator(found, PAGE)
    page = pages.get_page(int(request.GET.get("page", 0)) + 1)
    return JsonResponse({
        "total": pages.count,
        "products": [{"id": each.id, "name": each.name, "price": each.price} for each in page]})


def search(request):
    found = Product.objects.filter(name__icontains=request.GET["words"], stock__gt=0).select_related("category")
    return JsonResponse(
        [{"id": each.id, "name": each.name, "category": each.category.name} for each in found], safe=False)


def product(request, number):
    found = get_object_or_404(Product.objects.select_related("category"), pk=number)
    reviews = found.reviews.select_related("customer")
    return JsonResponse({
        "name": found.name, "description": found.description, "price": found.price, "stock": found.stock,
        "category": found.category.name,
        "rating": found.reviews.aggregate(rating=Avg("rating"))["rating"],
        "reviews": [{"by": each.customer.username, "rating": each.rating, "text": each.text} for each in reviews],
        "bought": request.user.is_authenticated
        and OrderItem.objects.filter(order__customer=request.user, product=found).exists()})


def bestsellers(request):
    found = (OrderItem.objects.values("product_id", "product__name").annotate(sold=Sum("quantity"))
             .order_by("-sold", "product_id")[:5])
    return JsonResponse(list(found), safe=False)


def newest(request):
    found = Product.objects.prefetch_related("reviews").order_by("-id")[:3]
    return JsonResponse([{"name": each.name, "reviews": len(each.reviews.all())} for each in found], safe=False)


@login_required
def orders(request, number):
    customer = get_object_or_404(User, pk=number)
    found = customer.orders.prefetch_related("items")
    return JsonResponse({
        "name": customer.username, "orders": [{"id": each.id, "total": each.total()} for each in found]})


@login_required
def order(request, number):
    found = get_object_or_404(Order.objects.select_related("customer"), pk=number)
    return JsonResponse({
        "customer": found.customer.username, "total": found.total(),
        "items": [{"name": item.product.name, "quantity": item.quantity, "price": item.price}
                  for item in found.items.select_related("product")]})


@login_required
def place_order(request):
    placed = Order.objects.create(customer=request.user)
    for number, quantity in json.loads(request.body)["items"]:
        bought = get_object_or_404(Product.objects.select_for_update(), pk=number)
        if bought.stock < quantity:
            # The order is there already, and stays: an exception would have taken it back.
            placed.delete()
            return JsonResponse({"error": f"{bought.name} is out of stock"}, status=409)
        Product.objects.filter(pk=number).update(stock=F("stock") - quantity)
        placed.items.create(product=bought, quantity=quantity, price=bought.price)
    return JsonResponse({"id": placed.id, "total": placed.total()})


@login_required
def add_review(request, number):
    data = json.loads(request.body)
    found = get_object_or_404(Product, pk=number)
    Review.objects.create(product=found, customer=request.user, rating=data["rating"], text=data["text"])
    return JsonResponse({"reviews": found.reviews.count()})


def set_price(request, number):
    changed = get_object_or_404(Product, pk=number)
    changed.price = json.loads(request.body)["price"]
    changed.save()
    changed.refresh_from_db()
    return JsonResponse({"price": changed.price})
