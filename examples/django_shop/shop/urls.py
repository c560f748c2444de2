"""Where the pages are."""

from django.urls import path

from shop import views

urlpatterns = [
    path("products", views.shelf),
    path("products/<int:number>", views.product),
    path("products/<int:number>/price", views.price),
    path("orders", views.order),
    path("orders.csv", views.export),
    path("alive", views.alive),
    path("health", views.health),
]
