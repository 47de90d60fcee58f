// Microsoft's Service Bus client for JavaScript, as it is: what it makes of the door, case by case.
// Arguments: the connection string. The door has the topics `js-*`, each with a subscription `one`,
// with locks of five seconds and three deliveries.
// Out: one JSON object per line: {"case", "ok", "why"}.
import { ServiceBusClient } from "@azure/service-bus";
import assert from "node:assert/strict";

const [connection] = process.argv.slice(2);
const client = new ServiceBusClient(connection, { retryOptions: { maxRetries: 0, timeoutInMs: 20000 } });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const dead = { subQueueType: "deadLetter" };

// A topic of its own for each case, so that all can run side by side.
const on = async (topic, work, options = {}) => {
  const sender = client.createSender(topic);
  const receiver = client.createReceiver(topic, "one", options);
  try {
    await work(sender, receiver);
  } finally {
    await receiver.close();
    await sender.close();
  }
};
const take = async (receiver, count = 1) => {
  const found = [];
  for (let tries = 0; found.length < count && tries < 10; tries++) {
    found.push(...(await receiver.receiveMessages(count - found.length, { maxWaitTimeInMs: 3000 })));
  }
  return found;
};
const code = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return error.code ?? error.name;
  }
  return "done";
};

const cases = {
  "send and complete": () =>
    on("js-complete", async (sender, receiver) => {
      await sender.sendMessages({
        body: { a: [1, "x"] }, messageId: "m-1", subject: "s", contentType: "application/json",
        correlationId: "c", applicationProperties: { n: 7, f: 1.5, t: "é", b: true },
      });
      const [message] = await take(receiver);
      assert.deepEqual(message.body, { a: [1, "x"] });
      assert.deepEqual(message.applicationProperties, { n: 7, f: 1.5, t: "é", b: true });
      assert.deepEqual(
        [message.messageId, message.subject, message.contentType, message.correlationId],
        ["m-1", "s", "application/json", "c"],
      );
      assert.equal(message.deliveryCount, 0);
      assert.equal(message.state, "active");
      await receiver.completeMessage(message);
      assert.equal((await receiver.peekMessages(5)).length, 0);
    }),
  "lists and batches": () =>
    on("js-batch", async (sender, receiver) => {
      await sender.sendMessages([{ body: 1 }, { body: 2 }]);
      const batch = await sender.createMessageBatch();
      assert.equal(batch.maxSizeInBytes, 262144);
      for (let body = 3; body < 20; body++) assert.ok(batch.tryAddMessage({ body }));
      await sender.sendMessages(batch);
      const messages = await take(receiver, 19);
      assert.deepEqual(messages.map((message) => message.body), [...Array(19).keys()].map((n) => n + 1));
      await Promise.all(messages.map((message) => receiver.completeMessage(message)));
    }),
  "abandon counts": () =>
    on("js-abandon", async (sender, receiver) => {
      await sender.sendMessages({ body: "x" });
      for (const count of [0, 1]) {
        const [message] = await take(receiver);
        assert.equal(message.deliveryCount, count);
        await receiver.abandonMessage(message);
      }
    }),
  "dead letters": () =>
    on("js-dead", async (sender, receiver) => {
      await sender.sendMessages({ body: "x", applicationProperties: { kept: "yes" } });
      const [message] = await take(receiver);
      await receiver.deadLetterMessage(message, {
        deadLetterReason: "why", deadLetterErrorDescription: "because",
      });
      await on("js-dead", async (_sender, graves) => {
        const [peeked] = await graves.peekMessages(1);
        assert.equal(peeked.deadLetterReason, "why");
        const [buried] = await take(graves);
        assert.equal(buried.deadLetterReason, "why");
        assert.equal(buried.deadLetterErrorDescription, "because");
        assert.equal(buried.applicationProperties.kept, "yes");
        assert.ok(buried.deadLetterSource.toLowerCase().startsWith("js-dead"));
        await graves.completeMessage(buried);
      }, dead);
    }),
  "too many deliveries": () =>
    on("js-often", async (sender, receiver) => {
      await sender.sendMessages({ body: "x" });
      for (let count = 0; count < 3; count++) {
        const [message] = await take(receiver);
        await receiver.abandonMessage(message);
      }
      await on("js-often", async (_sender, graves) => {
        const [buried] = await take(graves);
        assert.equal(buried.deadLetterReason, "MaxDeliveryCountExceeded");
      }, dead);
    }),
  "locks are renewed": () =>
    on("js-renew", async (sender, receiver) => {
      await sender.sendMessages({ body: "x" });
      const [message] = await take(receiver);
      const until = message.lockedUntilUtc;
      for (let step = 0; step < 4; step++) {
        await sleep(1500);
        assert.ok((await receiver.renewMessageLock(message)) > until);
      }
      await receiver.completeMessage(message);
    }, { maxAutoLockRenewalDurationInMs: 0 }),
  "lost locks": () =>
    on("js-lost", async (sender, receiver) => {
      await sender.sendMessages({ body: "x" });
      const [message] = await take(receiver);
      await sleep(5200);
      assert.equal(await code(receiver.renewMessageLock(message)), "MessageLockLost");
      assert.equal(await code(receiver.abandonMessage(message)), "MessageLockLost");
      const [again] = await take(receiver);
      assert.equal(again.deliveryCount, 1);
      await receiver.completeMessage(again);
    }, { maxAutoLockRenewalDurationInMs: 0 }),
  "schedule and cancel": () =>
    on("js-schedule", async (sender, receiver) => {
      const numbers = await sender.scheduleMessages(
        [{ body: "never" }, { body: "neither" }],
        new Date(Date.now() + 3600_000),
      );
      assert.equal(numbers.length, 2);
      const at = new Date(Date.now() + 1500);
      await sender.scheduleMessages({ body: "b" }, at);
      await sender.cancelScheduledMessages(numbers[0]);
      assert.equal(await code(sender.cancelScheduledMessages(numbers[0])), "MessageNotFound");
      const [message] = await take(receiver);
      assert.equal(message.body, "b");
      assert.ok(Date.now() >= at.getTime() - 50);
      await receiver.completeMessage(message);
    }),
  "peek goes on": () =>
    on("js-peek", async (sender, receiver) => {
      await sender.sendMessages([{ body: 1 }, { body: 2 }, { body: 3 }]);
      const seen = [];
      while (seen.length < 3) seen.push(...(await receiver.peekMessages(2)));
      assert.deepEqual(seen.map((message) => message.body), [1, 2, 3]);
      assert.equal((await receiver.peekMessages(2)).length, 0);
    }),
  "defer": () =>
    on("js-defer", async (sender, receiver) => {
      await sender.sendMessages({ body: "later" });
      const [message] = await take(receiver);
      await receiver.deferMessage(message);
      const [peeked] = await receiver.peekMessages(1, { fromSequenceNumber: message.sequenceNumber });
      assert.equal(peeked.state, "deferred");
      const [again] = await receiver.receiveDeferredMessages(message.sequenceNumber);
      assert.equal(again.body, "later");
      await receiver.completeMessage(again);
      assert.equal(
        await code(receiver.receiveDeferredMessages(message.sequenceNumber)), "MessageNotFound");
    }),
  "receive and delete": () =>
    on("js-delete", async (sender, receiver) => {
      await sender.sendMessages([{ body: 1 }, { body: 2 }]);
      assert.equal((await take(receiver, 2)).length, 2);
      assert.equal((await receiver.peekMessages(5)).length, 0);
    }, { receiveMode: "receiveAndDelete" }),
  "large messages": () =>
    on("js-large", async (sender, receiver) => {
      await sender.sendMessages({ body: "x".repeat(200_000) });
      const [message] = await take(receiver);
      assert.equal(message.body.length, 200_000);
      await receiver.completeMessage(message);
      assert.equal(
        await code(sender.sendMessages({ body: "x".repeat(300_000) })), "MessageSizeExceeded");
      await sender.sendMessages({ body: "the link lives on" });
    }),
  "values and sequences": () =>
    on("js-bodies", async (sender, receiver) => {
      await sender.sendMessages([
        { body: { a: 1 }, bodyType: "value" }, { body: [1, "x"], bodyType: "sequence" },
      ]);
      const [value, sequence] = await take(receiver, 2);
      assert.deepEqual(value._rawAmqpMessage.bodyType, "value");
      assert.deepEqual(value.body, { a: 1 });
      assert.deepEqual(sequence._rawAmqpMessage.bodyType, "sequence");
      assert.deepEqual(sequence.body, [1, "x"]);
    }),
  "subscribe": () =>
    on("js-subscribe", async (sender, receiver) => {
      const seen = [];
      let all;
      const done = new Promise((resolve) => (all = resolve));
      const subscription = receiver.subscribe(
        {
          processMessage: async (message) => {
            await receiver.completeMessage(message);
            if (seen.push(message.body) === 50) all();
          },
          processError: async ({ error }) => all(error),
        },
        { autoCompleteMessages: false, maxConcurrentCalls: 20 },
      );
      await sender.sendMessages([...Array(50).keys()].map((body) => ({ body })));
      assert.equal(await done, undefined);
      await subscription.close();
      assert.equal(new Set(seen).size, 50);
    }),
  "an empty receive ends": () =>
    on("js-empty", async (sender, receiver) => {
      for (let round = 0; round < 2; round++) {
        assert.equal((await receiver.receiveMessages(5, { maxWaitTimeInMs: 300 })).length, 0);
      }
      await sender.sendMessages({ body: "x" });
      assert.equal((await take(receiver)).length, 1); // the drained link is as good as before
    }),
  "rules": async () => {
    const rules = client.createRuleManager("js-rules", "one");
    await rules.createRule("sql", { sqlExpression: "a = 1" });
    await rules.createRule("like", { correlationId: "c", applicationProperties: { n: 1, t: "x" } });
    const found = {};
    for (const rule of await rules.getRules()) found[rule.name] = rule.filter;
    assert.equal(found.sql.sqlExpression, "a = 1");
    assert.equal(found.like.correlationId, "c");
    assert.deepEqual(found.like.applicationProperties, { n: 1, t: "x" });
    assert.deepEqual(Object.keys(found).sort(), ["$Default", "like", "sql"]);
    assert.equal(await code(rules.createRule("sql", { sqlExpression: "a = 2" })), "MessagingEntityAlreadyExists");
    await rules.deleteRule("like");
    assert.equal(await code(rules.deleteRule("like")), "MessagingEntityNotFound");
  },
  "unknown entities": async () => {
    const begun = Date.now();
    const sender = client.createSender("nowhere");
    assert.equal(await code(sender.sendMessages({ body: 1 })), "MessagingEntityNotFound");
    const receiver = client.createReceiver("js-empty", "nobody");
    assert.equal(await code(receiver.receiveMessages(1)), "MessagingEntityNotFound");
    assert.ok(Date.now() - begun < 3000);
  },
  "wrong keys": async () => {
    const wrong = new ServiceBusClient(connection.replace("SAS_KEY_VALUE", "another"), {
      retryOptions: { maxRetries: 0 },
    });
    assert.equal(await code(wrong.createSender("js-empty").sendMessages({ body: 1 })), "UnauthorizedAccess");
    await wrong.close();
  },
  "sessions are refused": async () => {
    assert.equal(await code(client.acceptSession("js-empty", "one", "s")), "SessionCannotBeLocked");
  },
};

await Promise.all(
  Object.entries(cases).map(async ([name, work]) => {
    let why = null;
    try {
      await work();
    } catch (error) {
      why = String(error.stack ?? error);
    }
    console.log(JSON.stringify({ case: name, ok: why === null, why }));
  }),
);
await client.close();
