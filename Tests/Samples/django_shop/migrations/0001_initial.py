"""The tables of the shop, as `makemigrations` finds them in the models."""
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

CASCADE = django.db.models.deletion.CASCADE
PROTECT = django.db.models.deletion.PROTECT


def key():
    return "id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


class Migration(migrations.Migration):
    initial = True
    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]
    operations = [
        migrations.CreateModel("Banner", [
            key(),
            ("text", models.CharField(max_length=100)),
            ("active", models.BooleanField(default=True)),
        ]),
        migrations.CreateModel("Category", [
            key(),
            ("name", models.CharField(max_length=50, unique=True)),
        ], options={"ordering": ["name"]}),
        migrations.CreateModel("Order", [
            key(),
            ("placed", models.DateTimeField(auto_now_add=True)),
            ("customer", models.ForeignKey(settings.AUTH_USER_MODEL, CASCADE, related_name="orders")),
        ], options={"ordering": ["-id"]}),
        migrations.CreateModel("Product", [
            key(),
            ("name", models.CharField(max_length=100)),
            ("description", models.TextField()),
            ("price", models.DecimalField(decimal_places=2, max_digits=10)),
            ("stock", models.PositiveIntegerField()),
            ("category", models.ForeignKey("django_shop.category", PROTECT, related_name="products")),
        ], options={"ordering": ["name", "id"]}),
        migrations.CreateModel("OrderItem", [
            key(),
            ("quantity", models.PositiveIntegerField()),
            ("price", models.DecimalField(decimal_places=2, max_digits=10)),
            ("order", models.ForeignKey("django_shop.order", CASCADE, related_name="items")),
            ("product", models.ForeignKey("django_shop.product", PROTECT)),
        ], options={"ordering": ["id"]}),
        migrations.CreateModel("Review", [
            key(),
            ("rating", models.PositiveSmallIntegerField()),
            ("text", models.TextField()),
            ("customer", models.ForeignKey(settings.AUTH_USER_MODEL, CASCADE)),
            ("product", models.ForeignKey("django_shop.product", CASCADE, related_name="reviews")),
        ], options={"ordering": ["id"]}),
    ]
