"""asyncmy, of asyncio."""

import asyncio
import inspect
from importlib.metadata import version as version_of
import ssl

import asyncmy
import asyncmy.errors
import script

LOOP = asyncio.new_event_loop()


class Waiting:
    """Waits for what the methods of an object do, so that the script can call them."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        found = getattr(self.inner, name)
        return (lambda *given: waited(found(*given))) if callable(found) else found


def waited(result):
    if inspect.isawaitable(result):
        result = LOOP.run_until_complete(wait(result))
    return Waiting(result) if hasattr(result, "execute") or hasattr(result, "cursor") else result


async def wait(awaitable):
    return await awaitable


class Asyncmy(script.Driver):
    version = version_of("asyncmy")
    error = asyncmy.errors.Error

    def options(self, **other):
        tls = {"ssl": ssl.create_default_context(cafile=script.CA)} if script.CA else {}
        return dict(
            {"host": script.HOST, "port": script.PORT, "user": script.USER, "password": script.PASSWORD,
             "db": script.SCHEMA, "autocommit": True}, **tls, **other,
        )  # fmt: skip

    def connect(self, autocommit=True, port=script.PORT, password=script.PASSWORD, database=script.SCHEMA):
        options = dict(self.options(), autocommit=autocommit, port=port, password=password, db=database)
        return waited(asyncmy.connect(**options))

    def multi(self, connection, sql):
        script.show("asyncmy sends one statement", len(sql.split(";")))

    def reset(self, connection):
        connection.rollback()
        waited(connection.inner.autocommit(True))
        connection.cursor().execute("DROP TEMPORARY TABLE IF EXISTS items")
        LOOP.run_until_complete(self.pool())

    async def pool(self):
        """Many at once, over few connections."""
        pool = await asyncmy.create_pool(**self.options(minsize=1, maxsize=3, pool_recycle=1))

        async def read(number):
            async with pool.acquire() as connection, connection.cursor() as cursor:
                await cursor.execute("SELECT %s + id FROM items WHERE id = %s", (number, number + 1))
                return await cursor.fetchone()

        script.show(await asyncio.gather(*map(read, range(20))))
        pool.close()
        await pool.wait_closed()


script.run(Asyncmy())
