"""A small application with Django, on mysqlclient: the migrations of its own applications, and a model of ours."""

import datetime
import decimal
import uuid

import django
from django.conf import settings
from script import CA, HOST, PASSWORD, PORT, READS_PORT, SCHEMA, UNICODE, USER, show


def database(port, **other):
    tls = {"ssl": {"ca": CA}, "ssl_mode": "VERIFY_CA"} if CA else {}
    return {"ENGINE": "django.db.backends.mysql", "HOST": HOST, "PORT": port, "USER": USER, "PASSWORD": PASSWORD,
            "NAME": SCHEMA, "OPTIONS": {"charset": "utf8mb4", **tls}, **other}  # fmt: skip


settings.configure(
    DATABASES={
        "default": database(PORT, CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=True),
        "reads": database(READS_PORT),
    },
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    CACHES={"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cached"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    SECRET_KEY="a test's",
)
django.setup()

from django.contrib.auth.models import Permission, User  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import IntegrityError, close_old_connections, connection, connections, models, transaction  # noqa: E402


class Order(models.Model):
    number = models.UUIDField(unique=True)
    customer = models.ForeignKey(User, models.CASCADE, null=True)
    total = models.DecimalField(max_digits=12, decimal_places=4)
    placed = models.DateTimeField()
    waited = models.DurationField(null=True)
    lines = models.JSONField(default=list)
    scan = models.BinaryField(null=True)
    paid = models.BooleanField(default=False)

    class Meta:
        app_label = "shop"


class Item(models.Model):
    id = models.IntegerField(primary_key=True)
    name = models.CharField(max_length=40)

    class Meta:
        app_label = "shop"
        db_table = "items"
        managed = False


def migrate():
    call_command("migrate", verbosity=1, no_color=True)
    call_command("createcachetable")
    call_command("migrate", verbosity=1, no_color=True)
    with connection.schema_editor() as editor:
        editor.create_model(Order)
    show(sorted(connection.introspection.table_names()))
    show(Permission.objects.count())


def orders():
    user = User.objects.create_user("naïve ☃", password=None)
    placed = datetime.datetime(2024, 2, 29, 12, 34, 56, 789012, tzinfo=datetime.timezone.utc)
    for n in range(10):
        Order.objects.create(
            number=uuid.UUID(int=n), customer=user if n % 2 else None, total=decimal.Decimal(n) / 8, placed=placed,
            waited=datetime.timedelta(hours=n), lines=[{"item": UNICODE.replace("\0", "")}] * n, scan=bytes(range(n)),
        )  # fmt: skip
        show(Order.objects.filter(number=uuid.UUID(int=n)).values_list())
    Order.objects.bulk_create(Order(number=uuid.UUID(int=100 + n), total=n, placed=placed) for n in range(50))
    show(Order.objects.filter(paid=False, total__gte=1).update(total=models.F("total") + 1))
    show(Order.objects.values("customer__username").annotate(sum=models.Sum("total"), n=models.Count("id")).order_by("n"))
    show(Order.objects.filter(lines__0__item__contains="☃").count())
    show(Order.objects.get_or_create(number=uuid.UUID(int=3), defaults={"total": 1, "placed": placed})[1])
    show(Order.objects.dates("placed", "month"), [order.id for order in Order.objects.order_by("-id")[:3]])


def transactions():
    happened = []
    with transaction.atomic():
        order = Order.objects.select_for_update().get(number=uuid.UUID(int=3))
        order.paid = True
        order.save()
        transaction.on_commit(lambda: happened.append("commit"))
        try:
            with transaction.atomic():
                Order.objects.create(number=order.number, total=0, placed=order.placed)
        except IntegrityError as error:
            show(error.args[0])
        show(Order.objects.filter(paid=True).count())
    try:
        with transaction.atomic():
            Order.objects.all().delete()
            show(Order.objects.count())
            raise KeyError("rolled back")
    except KeyError as error:
        happened.append(str(error))
    show(Order.objects.count(), happened)


def requests():
    """What a web server does over and over: sessions, the cache, and the habits of persistent connections."""
    store = SessionStore()
    store["cart"] = [1, 2, "☃"]
    store.create()
    for n in range(10):
        close_old_connections()
        found = SessionStore(session_key=store.session_key)
        found["visits"] = found.get("visits", 0) + 1
        found.save()
        cache.set("n", n)
        show(cache.get("n"), SessionStore(session_key=store.session_key)["visits"])
    cache.set("big", "x" * 1_000_000)
    show(len(cache.get("big")))


def reads():
    show([Item.objects.using("reads").get(id=id).name for id in range(1, 21)])
    connections.close_all()
    print("reads", 20)


print("version", django.__version__)
for check in (migrate, orders, transactions, requests, reads):
    print("==", check.__name__)
    check()
print("== end")
