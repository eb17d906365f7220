"""Which view answers what."""
from django.urls import path

from . import views

urlpatterns = [
    path("categories", views.categories),
    path("products", views.products),
    path("search", views.search),
    path("products/<int:number>", views.product),
    path("products/<int:number>/reviews", views.add_review),
    path("products/<int:number>/price", views.set_price),
    path("bestsellers", views.bestsellers),
    path("newest", views.newest),
    path("customers/<int:number>/orders", views.orders),
    path("orders", views.place_order),
    path("orders/<int:number>", views.order),
]
