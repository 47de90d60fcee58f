// Microsoft's client across a restart of the door: what is said on stdin is sent, what is received
// is printed. Its pauses between tries are shortened: its own are 30 seconds.
import { createInterface } from "node:readline";
import { ServiceBusClient } from "@azure/service-bus";

const [connection, topic, subscription] = process.argv.slice(2);
const client = new ServiceBusClient(connection, {
  retryOptions: { retryDelayInMs: 100, maxRetryDelayInMs: 100, maxRetries: 50 },
});
const sender = client.createSender(topic);
const receiver = client.createReceiver(topic, subscription);
receiver.subscribe({
  processMessage: async (message) => console.log(`received ${message.body}`),
  processError: async () => console.log("told that it is away"),
});
createInterface({ input: process.stdin }).on("line", async (line) => {
  await sender.sendMessages({ body: line });
  console.log(`sent ${line}`);
});
