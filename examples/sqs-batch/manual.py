"""A queue's messages, every span made by hand: the invocation's, one for each message, one with the totals.

Each message is handled in the trace of whoever sent it, so that its way can be followed from there to here;
links lead from the invocation to all of them, and back.
"""

from onboarding import onboard

import lambent

tracer = lambent.init(
    service_name="onboarding", propagators="tracecontext,baggage,xray", cold_start_canary=True
)


def handler(event, context):
    with tracer.invocation(event, context, name="lambent.invoke", kind=lambent.SpanKind.SERVER) as invocation:
        records = event["Records"]
        senders, failures = [], []
        for record in records:
            sender = lambent.extract(record)
            if sender is not None:
                senders.append(lambent.Link(sender))
            if not process(record, sender, len(records), invocation.span):
                failures.append({"itemIdentifier": record["messageId"]})
        with tracer.start_span("sqs.batch", kind=lambent.SpanKind.CONSUMER, links=senders) as span:
            span.set_attribute("messaging.system", "aws_sqs")
            span.set_attribute("messaging.batch.message_count", len(records))
            span.set_attribute("lambent.batch.succeeded", len(records) - len(failures))
            span.set_attribute("lambent.batch.failed", len(failures))
            if failures:
                span.set_status("ERROR", f"{len(failures)} of {len(records)} records failed")
        response = {"batchItemFailures": failures}
        invocation.set_response(response)
    return response


def process(record, sender, count, invocation):
    try:
        with tracer.start_span(
            "sqs.process",
            context=sender,
            kind=lambent.SpanKind.CONSUMER,
            links=[lambent.Link(invocation.context)],
        ) as span:
            span.set_attribute("messaging.system", "aws_sqs")
            span.set_attribute("messaging.message.id", record["messageId"])
            span.set_attribute("messaging.batch.message_count", count)
            span.set_attribute("customer.id", onboard(record)["customer_id"])
    except ValueError as error:  # it is on the span; the queue delivers the message again
        print(f"{record['messageId']}: {error}")
        return False
    return True
