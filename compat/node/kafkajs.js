// kafkajs against a cluster: admin, a group's consumer, and transactions. Prints a line "ok NAME" or
// "failed NAME: reason" a check. Arguments: the bootstrap address, and what its names begin with.
"use strict";

const { Kafka, logLevel } = require("kafkajs");

const [bootstrap, prefix] = process.argv.slice(2);
const kafka = new Kafka({
  clientId: prefix,
  brokers: bootstrap.split(","),
  logLevel: logLevel.NOTHING,
  connectionTimeout: 20_000,
  retry: { retries: 20, initialRetryTime: 100, maxRetryTime: 1_000 },
});
const topic = `${prefix}-topic`;
const COUNT = 60;

function values(name) {
  return Array.from({ length: COUNT }, (_, number) => `${name} ${number}`);
}

function check(condition, text) {
  if (!condition) throw new Error(text);
}

async function administer() {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const configEntries = [{ name: "retention.ms", value: "86400007" }];
    const made = await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: 3, replicationFactor: 3, configEntries }] });
    check(made, "the topic was there already");
    check((await admin.listTopics()).includes(topic), "the topic is not listed");
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    check(topics[0].partitions.length === 3, JSON.stringify(topics));
    check(topics[0].partitions.every((each) => each.replicas.length === 3 && each.leader > 0), JSON.stringify(topics));
    const cluster = await admin.describeCluster();
    check(cluster.brokers.length === 3 && cluster.controller > 0, JSON.stringify(cluster));
    // 2 is a topic.
    const { resources } = await admin.describeConfigs({ resources: [{ type: 2, name: topic, configNames: ["retention.ms"] }] });
    check(resources[0].configEntries[0].configValue === "86400007", JSON.stringify(resources));
  } finally {
    await admin.disconnect();
  }
}

// Consumes as a group until `expected` have come, and commits; fails at any value that is not expected.
async function consume(groupId, expected) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 30_000, maxWaitTimeInMs: 200 });
  const missing = new Set(expected);
  const positions = {};
  await consumer.connect();
  try {
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await new Promise((done, fail) => {
      consumer.on(consumer.events.CRASH, ({ payload }) => fail(payload.error));
      const eachMessage = async ({ partition, message }) => {
        const value = message.value.toString();
        if (!missing.delete(value)) fail(new Error(`${value} was not expected`));
        positions[partition] = (BigInt(message.offset) + 1n).toString();
        if (missing.size === 0) done();
      };
      consumer.run({ autoCommit: false, eachMessage }).catch(fail);
    });
    const offsets = Object.entries(positions).map(([partition, offset]) => ({ topic, partition: Number(partition), offset }));
    await consumer.commitOffsets(offsets);
  } finally {
    await consumer.disconnect();
  }
  const admin = kafka.admin();
  await admin.connect();
  try {
    const [committed] = await admin.fetchOffsets({ groupId, topics: [topic] });
    for (const each of committed.partitions) {
      check(each.offset === (positions[each.partition] ?? "-1"), `${JSON.stringify(committed)}, but ${JSON.stringify(positions)} was committed`);
    }
  } finally {
    await admin.disconnect();
  }
}

async function group() {
  const producer = kafka.producer();
  await producer.connect();
  try {
    const messages = values("plain").map((value) => ({ key: value, value }));
    await producer.send({ topic, acks: -1, messages });
  } finally {
    await producer.disconnect();
  }
  await consume(`${prefix}-group`, values("plain"));
}

async function transactions() {
  const producer = kafka.producer({ transactionalId: `${prefix}-transaction`, idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  try {
    for (const kept of [false, true]) {
      const transaction = await producer.transaction();
      await transaction.send({ topic, messages: values(kept ? "kept" : "aborted").map((value) => ({ value })) });
      await (kept ? transaction.commit() : transaction.abort());
    }
  } finally {
    await producer.disconnect();
  }
  await consume(`${prefix}-committed`, [...values("plain"), ...values("kept")]);
}

async function main() {
  let code = 0;
  for (const [name, run] of Object.entries({ administer, group, transactions })) {
    try {
      await run();
      console.log(`ok ${name}`);
    } catch (error) {
      console.log(`failed ${name}: ${error.stack ?? error}`);
      code = 1;
    }
  }
  process.exit(code);
}

// Whoever waits for this programme should not wait for ever.
setTimeout(() => {
  console.log("failed: not within two minutes");
  process.exit(1);
}, 120_000).unref();
main();
