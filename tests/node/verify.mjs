// Verifies webhooks with the published Standard Webhooks library.
// In: one JSON object per line, {"secret", "headers", "body"}.
// Out: one JSON object per line, {"payload"} or {"error"}.
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";

for await (const line of createInterface({ input: process.stdin })) {
  const { secret, headers, body } = JSON.parse(line);
  let answer;
  try {
    answer = { payload: new Webhook(secret).verify(body, headers) };
  } catch (error) {
    answer = { error: error.constructor.name };
  }
  console.log(JSON.stringify(answer));
}
