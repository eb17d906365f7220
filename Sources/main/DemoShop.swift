/// The demo's data and statements: a small shop.
///
/// Every read belongs to a key, so that the load can spread over keys and the comparison can ask each of
/// them. Two tables are written while they are read; a row's `changes` counts its writes, which is how staleness
/// is measured. `orders` has full old images, because its rows are looked for by a column that is not its key;
/// `products` has the default.
enum DemoShop {
    static let products = 1200
    static let customers = 200
    static let ordersPerCustomer = 10
    static var orders: Int { customers * ordersPerCustomer }
    static let tables = 4

    /// Two roles with the same rights, so that the origin's statistics tell the two ways apart.
    static let roleThroughCache = "shop"
    static let roleDirect = "shop_direct"
    static let database = "shop"

    static let rolesSQL = [
        "create role \(roleThroughCache) login", "create role \(roleDirect) login",
        "create database \(database)",
    ]

    static let schemaSQL = [
        "create table regions (id integer primary key, name text not null)",
        """
        create table customers (id integer primary key, name text not null, \
        region_id integer not null references regions)
        """,
        """
        create table products (id integer primary key, name text not null, price numeric(10,2) not null, \
        stock integer not null, changes bigint not null default 0)
        """,
        """
        create table orders (id integer primary key, customer_id integer not null references customers, \
        status text not null, total numeric(12,2) not null, changes bigint not null default 0)
        """,
        "create index on orders (customer_id)",
        "alter table orders replica identity full",
        "insert into regions select n, 'region ' || n from generate_series(1, 10) n",
        """
        insert into customers select n, 'customer ' || n, 1 + n % 10 from generate_series(1, \(customers)) n
        """,
        """
        insert into products select n, 'product ' || n, (n * 7 % 1000) / 10.0 + 1, 1000 \
        from generate_series(1, \(products)) n
        """,
        """
        insert into orders select n, 1 + (n - 1) / \(ordersPerCustomer), 'open', n % 500 + 0.99 \
        from generate_series(1, \(orders)) n
        """,
        """
        grant select, update on all tables in schema public to \(roleThroughCache), \(roleDirect)
        """,
        "vacuum analyze",
    ]

    /// What is read, each with its keys 1…count.
    enum Read: CaseIterable, Sendable {
        case product, ordersOfCustomer, spentByCustomer, customerWithRegion

        var keys: Int { self == .product ? DemoShop.products : DemoShop.customers }

        func sql(_ key: Int) -> String {
            switch self {
            case .product: "select id, name, price, stock, changes from products where id = \(key)"
            case .ordersOfCustomer:
                "select id, status, total, changes from orders where customer_id = \(key) order by id"
            case .spentByCustomer: "select count(*), sum(total) from orders where customer_id = \(key)"
            case .customerWithRegion:
                "select c.id, c.name, r.name from customers c join regions r on r.id = c.region_id "
                    + "where c.id = \(key)"
            }
        }
    }

    /// Every read there is.
    static var everyRead: [(read: Read, key: Int)] {
        Read.allCases.flatMap { read in (1...read.keys).map { (read, $0) } }
    }

    enum Write: Sendable {
        case product, order

        var keys: Int { self == .product ? DemoShop.products : DemoShop.orders }

        /// Answers the row's new `changes`.
        func sql(_ key: Int) -> String {
            switch self {
            case .product:
                "update products set stock = stock - 1, changes = changes + 1 where id = \(key) "
                    + "returning changes"
            case .order:
                "update orders set total = total + 1, changes = changes + 1 where id = \(key) "
                    + "returning changes"
            }
        }
    }
}

/// Numbers that look random and are the same for the same seed (SplitMix64).
struct DemoDice {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// 0 ≤ result < bound.
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(max(bound, 1))) }

    /// A key of 1…count; low ones come more often, as in most applications: half of all draws fall on the
    /// lowest eighth, and every key is drawn.
    mutating func key(of count: Int) -> Int {
        let bound = below(2) == 0 ? max(1, count / 8) : count
        return 1 + below(bound)
    }

    mutating func read() -> (read: DemoShop.Read, key: Int) {
        let read: DemoShop.Read
        switch below(100) {
        case 0..<55: read = .product
        case 55..<75: read = .customerWithRegion
        case 75..<88: read = .ordersOfCustomer
        default: read = .spentByCustomer
        }
        return (read, key(of: read.keys))
    }

    /// One in ten writes an order, the others a product.
    mutating func write() -> (write: DemoShop.Write, key: Int) {
        let write: DemoShop.Write = below(10) == 0 ? .order : .product
        return (write, key(of: write.keys))
    }
}
