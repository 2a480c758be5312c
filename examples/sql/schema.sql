-- 200,000 orders of 20,000 customers in three years. Times are UTC, "2026-03-14T09:26:53".
CREATE TABLE customers (
    id     INTEGER PRIMARY KEY,
    name   TEXT NOT NULL,
    region TEXT NOT NULL, -- north, east, south, west
    tier   TEXT           -- gold, silver, or NULL
);

CREATE TABLE orders (
    id          INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    placed      TEXT    NOT NULL,
    status      TEXT    NOT NULL, -- paid, shipped, returned, cancelled
    total_cents INTEGER           -- NULL where the price is still open
);

CREATE INDEX orders_by_customer ON orders (customer_id);
