"""The smallest traced function: a greeting, made in two steps."""

import lambent

tracer = lambent.init()


@tracer.handler
def handler(event, context):
    with tracer.trace("choose greeting") as span:
        language = event.get("language", "en")
        span.set_attribute("greeting.language", language)
        greeting = {"en": "Hello", "de": "Hallo", "fr": "Bonjour"}.get(language, "Hello")
    with tracer.trace("compose message", attributes={"greeting.name": event.get("name", "world")}):
        message = f"{greeting}, {event.get('name', 'world')}!"
    return {"message": message}
