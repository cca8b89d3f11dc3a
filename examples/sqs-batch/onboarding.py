"""The business: a customer is welcomed once all that is known of them makes sense."""

import json


def onboard(record):
    """Return the customer of a message; one without a plan cannot be served."""
    customer = json.loads(record["body"])
    if customer.get("plan") not in {"free", "team", "enterprise"}:
        raise ValueError(f"customer {customer['customer_id']} has no plan")
    return customer
