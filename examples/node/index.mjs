export const handler = async (event, context) => {
  console.log("greeting", event.name ?? "nobody in particular");
  return { message: `Hello, ${event.name ?? "world"}!`, remaining: context.getRemainingTimeInMillis() > 0 };
};
