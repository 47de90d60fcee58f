// How fast Microsoft's Service Bus client for JavaScript receives and completes.
// Arguments: the connection string, the topic, its subscription, how many messages, how many calls
// at once. Out: seconds from the first message to the last completion.
import { ServiceBusClient } from "@azure/service-bus";

const [connection, topic, subscription, count, concurrency] = process.argv.slice(2);
const client = new ServiceBusClient(connection);
const receiver = client.createReceiver(topic, subscription);
let begun;
let left = Number(count);
await new Promise((resolve, reject) => {
  receiver.subscribe(
    {
      processMessage: async (message) => {
        begun ??= performance.now();
        await receiver.completeMessage(message);
        if (--left === 0) resolve();
      },
      processError: async ({ error }) => reject(error),
    },
    { autoCompleteMessages: false, maxConcurrentCalls: Number(concurrency) },
  );
});
console.log((performance.now() - begun) / 1000);
await client.close();
