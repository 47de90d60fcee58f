// The unmodified administration client of `@azure/service-bus` and the door's https port.
//
//     NODE_EXTRA_CA_CERTS=door-cert.pem node service-bus-admin.mjs CONNECTION
//
// Prints what it saw, in one line of JSON.

import { ServiceBusAdministrationClient } from "@azure/service-bus";

const client = new ServiceBusAdministrationClient(process.argv[2], {
  retryOptions: { maxRetries: 0 },
});

async function all(list) {
  const found = [];
  for await (const one of list) found.push(one);
  return found;
}

async function refusal(asked) {
  try {
    await asked;
    return "taken";
  } catch (error) {
    return `${error.statusCode} ${error.code}`;
  }
}

const topic = await client.createTopic("js-admin", { defaultMessageTimeToLive: "PT2H" });
await client.createSubscription("js-admin", "plain");
const made = await client.createSubscription("js-admin", "full", {
  lockDuration: "PT30S",
  maxDeliveryCount: 4,
  defaultRuleOptions: { name: "first", filter: { sqlExpression: "size > 10" } },
});
await client.updateSubscription({ ...made, maxDeliveryCount: 5 });
await client.createRule("js-admin", "full", "same", {
  subject: "x",
  applicationProperties: { text: "a", flag: true, number: 7 },
});
const full = await client.getSubscription("js-admin", "full");
const counts = await client.getSubscriptionRuntimeProperties("js-admin", "full");
const seen = {
  ttl: topic.defaultMessageTimeToLive,
  lock: full.lockDuration,
  deliveries: full.maxDeliveryCount,
  subscriptions: (await all(client.listSubscriptions("js-admin"))).map((one) => one.subscriptionName),
  rules: (await all(client.listRules("js-admin", "full"))).map(({ name, filter }) => ({ name, filter })),
  active: counts.activeMessageCount,
  exists: [await client.topicExists("js-admin"), await client.topicExists("js-none")],
  again: await refusal(client.createTopic("js-admin")),
  sessions: await refusal(client.createSubscription("js-admin", "s", { requiresSession: true })),
  namespace: (await client.getNamespaceProperties()).name,
};
await client.deleteRule("js-admin", "full", "same");
await client.deleteSubscription("js-admin", "full");
await client.deleteTopic("js-admin");
seen.gone = await refusal(client.getTopic("js-admin"));
console.log(JSON.stringify(seen));
