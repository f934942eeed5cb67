"""Add up orders as they are posted: python examples/take_orders.py 8080 kept

    curl -H 'content-type: application/json' -d '{"customer": "ann", "total": 2.5}' http://127.0.0.1:8080/orders

An order that was answered 202 is on the disk, below `kept`: kill the process, start it again, and it is counted once.
"""

import sys

import msgspec

import sage


class Order(msgspec.Struct):
    """What is posted; anything else is refused, and whoever posted it is told why."""

    customer: str
    total: float


def take_orders(port: int, kept: str, num_orders: int | None = None) -> None:
    """Print the sum of each customer at every order; end after `num_orders`, or never."""
    flow = sage.Flow("orders")
    orders = flow.from_http("orders", port=port, as_type=Order, max_posts=num_orders)
    orders.key_by(lambda order: order.customer).sum(lambda order: order.total).print()
    flow.run(checkpoint=sage.Checkpoint(kept))


if __name__ == "__main__":
    take_orders(int(sys.argv[1]), sys.argv[2])
