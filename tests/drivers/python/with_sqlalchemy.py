"""A small application with SQLAlchemy, on each of three drivers."""

import decimal

import sqlalchemy
from script import CA, HOST, PASSWORD, PORT, READS_PORT, SCHEMA, UNICODE, USER, show
from sqlalchemy import ForeignKey, MetaData, String, create_engine, func, inspect, select, text
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

TLS = {
    "pymysql": {"ssl_ca": CA, "ssl_verify_cert": True, "ssl_verify_identity": True},
    "mysqldb": {"ssl": {"ca": CA}},
    "mysqlconnector": {"ssl_ca": CA, "ssl_verify_cert": True},
}


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)
    fee: Mapped[decimal.Decimal | None] = mapped_column(sqlalchemy.Numeric(12, 4))
    settings: Mapped[dict | None] = mapped_column(sqlalchemy.JSON)
    books: Mapped[list["Book"]] = relationship(back_populates="author", cascade="all, delete-orphan", order_by="Book.id")


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(100))
    cover: Mapped[bytes | None] = mapped_column(sqlalchemy.LargeBinary)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    author: Mapped[Author] = relationship(back_populates="books")


def engine_of(driver, port=PORT, **options):
    tls = TLS[driver] if CA else {"ssl_disabled": True} if driver == "mysqlconnector" else {}
    if driver == "mysqlconnector":
        tls["use_pure"] = True
    url = sqlalchemy.URL.create(f"mysql+{driver}", USER, PASSWORD, HOST, port, SCHEMA)
    return create_engine(url, connect_args=tls, pool_pre_ping=True, pool_size=2, max_overflow=0, **options)


def application(engine):
    show(engine.dialect.name, engine.dialect.driver)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add(Author(name=UNICODE, fee=decimal.Decimal("12.3400"), settings={"tags": ["☃", None]}))
        session.add_all(Author(name=f"author {n}", books=[Book(title=f"book {n}.{m}", cover=bytes(m)) for m in range(n)]) for n in range(5))
    show(engine.dialect.server_version_info, engine.dialect.is_mariadb)
    with Session(engine) as session:
        for author in session.scalars(select(Author).order_by(Author.id)):
            show(author.id, author.name, author.fee, author.settings, [(book.title, book.cover) for book in author.books])
        author = session.scalars(select(Author).where(Author.name == "author 3")).one()
        author.books.pop()
        author.books[0].title = "naïve ☃"
        session.commit()
        show(session.execute(select(Author.name, func.count(Book.id)).join(Book).group_by(Author.id).order_by(Author.id)).all())
        locked = session.scalars(select(Author).where(Author.id == 2).with_for_update()).one()
        locked.name = "in vain"
        session.rollback()
        show(locked.name)
        with session.begin_nested() as savepoint:
            session.add(Author(name="nested"))
            session.flush()
            savepoint.rollback()
        session.add(Author(name="author 1"))
        try:
            session.commit()
        except IntegrityError as error:
            show(type(error).__name__, error.orig.args[0])
            session.rollback()
        show(session.scalar(select(func.count()).select_from(Author)))
    with engine.connect() as connection:
        try:
            connection.execute(text("SELECT * FROM missing"))
        except ProgrammingError as error:
            show(type(error).__name__, error.orig.args[0])


def reflection(engine):
    inspector = inspect(engine)
    show(sorted(inspector.get_table_names()))
    metadata = MetaData()
    metadata.reflect(engine, only=["types", "books"])
    for table in metadata.sorted_tables:
        for column in table.columns:
            show(column.name, repr(column.type), column.nullable)
    show(inspector.get_foreign_keys("books")[0]["referred_table"], inspector.get_indexes("authors"))


def pool(engine):
    """What a connection leaves behind is gone when it comes out of the pool again; two at once are two."""
    with engine.connect() as one, engine.connect() as two:
        one.execute(text("INSERT INTO accounts VALUES (7, 7)"))
        show(two.scalar(text("SELECT COUNT(*) FROM accounts")))
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
        show(connection.scalar(text("SELECT COUNT(*) FROM accounts")))
    with engine.connect() as connection:
        show(connection.get_isolation_level())


def reads(engine):
    with engine.connect() as connection:
        show([connection.scalar(text("SELECT name FROM items WHERE id = :id"), {"id": id}) for id in range(1, 21)])
    engine.dispose()
    print("reads", 20)


print("version", sqlalchemy.__version__)
for driver in TLS:
    engine = engine_of(driver)
    for check in (application, reflection, pool):
        print("==", check.__name__)
        check(engine)
    engine.dispose()
    print("== reads")
    reads(engine_of(driver, READS_PORT, isolation_level="AUTOCOMMIT"))
print("== end")
