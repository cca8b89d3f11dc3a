"""A queue's messages, the short form: a function for one message, and a decorator for all the rest."""

from onboarding import onboard

import lambent

tracer = lambent.init(
    service_name="onboarding", propagators="tracecontext,baggage,xray", cold_start_canary=True
)


@tracer.batch_handler(
    name="sqs.process", batch_name="sqs.batch", invocation_name="lambent.invoke", kind="SERVER"
)
def handler(record):
    lambent.current_span().set_attribute("customer.id", onboard(record)["customer_id"])
