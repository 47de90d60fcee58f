// Microsoft's Web PubSub client for JavaScript, with its defaults, driven over stdin and stdout.
// In:  one JSON object per line: {"url"} for each that was asked for, {"join"}, {"send", "data"},
//      {"stop": true}.
// Out: one JSON object per line: {"ask": "url"}, {"what": "connected" | "server" | …, …}.
import { createInterface } from "node:readline";
import { WebPubSubClient } from "@azure/web-pubsub-client";

const say = (document) => console.log(JSON.stringify(document));
const asked = [];
const client = new WebPubSubClient({
  getClientAccessUrl: () =>
    new Promise((resolve) => {
      asked.push(resolve);
      say({ ask: "url" });
    }),
});

client.on("connected", (event) => say({ what: "connected", id: event.connectionId, user: event.userId }));
client.on("disconnected", (event) => say({ what: "disconnected", message: event.message?.message }));
client.on("server-message", ({ message }) =>
  say({ what: "server", number: message.sequenceId, data: message.data }));
client.on("group-message", ({ message }) =>
  say({ what: "group", number: message.sequenceId, data: message.data }));
client.on("stopped", () => say({ what: "stopped" }));

client.start().catch((error) => say({ what: "failed", message: String(error) }));

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  if (order.url) {
    asked.shift()(order.url);
  } else if (order.join) {
    client.joinGroup(order.join).then(
      () => say({ what: "done" }),
      (error) => say({ what: "failed", message: String(error) }),
    );
  } else if (order.send) {
    client.sendToGroup(order.send, order.data, "json").then(
      () => say({ what: "done" }),
      (error) => say({ what: "failed", message: String(error) }),
    );
  } else {
    break;
  }
}
client.stop();
process.exit(0);
