-- March 2026 by region and tier: orders, customers, revenue, and how many orders came from customers who had bought before.
SELECT c.region,
       coalesce(c.tier, 'none') AS tier,
       count(*) AS orders,
       count(DISTINCT o.customer_id) AS customers,
       sum(o.total_cents) AS revenue_cents,
       sum((SELECT count(*)
            FROM orders AS earlier
            WHERE earlier.customer_id = o.customer_id
              AND earlier.placed < o.placed
              AND earlier.status IN ('paid', 'shipped')) > 0) AS returning_orders
FROM orders AS o
JOIN customers AS c ON c.id = o.customer_id
WHERE strftime('%Y-%m', o.placed) = '2026-03'
  AND o.status IN ('paid', 'shipped')
GROUP BY c.region, coalesce(c.tier, 'none')
ORDER BY revenue_cents DESC, c.region, tier;
