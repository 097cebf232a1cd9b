// kafkajs against the broker named by BOOTSTRAP. It knows no compression but gzip; the others are plugged in.
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs');
const lz4 = require('lz4js');
const { hash } = require('lz4js/xxh32.js');
const zstd = require('@bokuweb/zstd-wasm');
const { execFile, execFileSync } = require('child_process');

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy');
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => {
    // One block of up to 4 MB, which depends on no other; Kafka wants that said in the frame's flags.
    const frame = Buffer.from(lz4.compress(encoder.buffer));
    frame[4] |= 0x20;
    frame[6] = hash(0, frame, 4, 2) >> 8;
    return frame;
  },
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(zstd.decompress(buffer)),
});

const kafka = new Kafka({
  clientId: 'js', brokers: [process.env.BOOTSTRAP], logLevel: logLevel.NOTHING,
  retry: { initialRetryTime: 50, retries: 30, maxRetryTime: 500 },
});
const name = () => 'js-' + Math.random().toString(16).slice(2, 10);
const ctl = (action) => {
  const words = process.env.BROKER_CTL.split(' ').concat(action);
  execFileSync(words[0], words.slice(1));
};
const equal = (got, want, what = '') => {
  if (JSON.stringify(got) !== JSON.stringify(want)) throw new Error(`${what} is ${JSON.stringify(got)}, not ${JSON.stringify(want)}`);
};
const eventually = async (check, what) => {
  const end = Date.now() + 40000;
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`${what} did not come true`);
    await new Promise((r) => setTimeout(r, 50));
  }
};
const withAdmin = async (work) => {
  const admin = kafka.admin();
  await admin.connect();
  try { return await work(admin); } finally { await admin.disconnect(); }
};
const create = (topic, numPartitions = 1, configEntries = []) =>
  withAdmin((a) => a.createTopics({ topics: [{ topic, numPartitions, replicationFactor: -1, configEntries }] }));
const produce = async (topic, messages, options = {}, config = {}) => {
  const producer = kafka.producer(config);
  await producer.connect();
  try { return await producer.send({ topic, messages, ...options }); } finally { await producer.disconnect(); }
};
const values = (from, to) => Array.from({ length: to - from }, (_, i) => ({ key: `k${from + i}`, value: String(from + i), headers: { h: 'x' } }));
const read = async (topic, count, groupId = name(), seen = []) => {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 10000, heartbeatInterval: 500, maxWaitTimeInMs: 200 });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({ eachMessage: async ({ message }) => { seen.push(message); } });
  await eventually(() => seen.length >= count, `${count} messages`);
  await consumer.disconnect();
  return seen;
};

const tests = {
  async topics_are_created_described_grown_and_deleted() {
    const topic = name();
    equal(await create(topic, 3), true, 'creation');
    equal(await create(topic, 3), false, 'a second creation');
    await withAdmin(async (a) => {
      await eventually(async () => (await a.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length === 3, '3 partitions');
      await a.createPartitions({ topicPartitions: [{ topic, count: 5 }] });
      await eventually(async () => (await a.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length === 5, '5 partitions');
      await a.deleteTopics({ topics: [topic] });
      await eventually(async () => !(await a.listTopics()).includes(topic), 'the deletion');
    });
  },
  async records_round_trip_in_every_compression() {
    for (const codec of ['None', 'GZIP', 'Snappy', 'LZ4', 'ZSTD']) {
      const topic = name();
      await create(topic);
      const base = Date.now() - 10000;
      const sent = values(0, 300).map((m, i) => ({ ...m, key: i % 3 === 0 ? null : m.key, value: m.value + 'v'.repeat(100), timestamp: String(base + i) }));
      await produce(topic, sent, { compression: CompressionTypes[codec] });
      const got = await read(topic, 300);
      equal(got.map((m) => m.value.toString()), sent.map((m) => m.value), `values in ${codec}`);
      equal(got.map((m) => m.key && m.key.toString()), sent.map((m) => m.key), `keys in ${codec}`);
      equal(got.map((m) => m.timestamp), sent.map((m) => m.timestamp), `timestamps in ${codec}`);
      equal(got[7].headers.h.toString(), 'x', 'the header');
    }
  },
  async a_reader_seeks_by_time() {
    const topic = name();
    await create(topic);
    const base = Date.now() - 100000;
    await produce(topic, Array.from({ length: 50 }, (_, i) => ({ value: String(i), timestamp: String(base + i * 1000) })));
    const [{ partition, offset }] = await withAdmin((a) => a.fetchTopicOffsetsByTimestamp(topic, base + 30000));
    const seen = [];
    const consumer = kafka.consumer({ groupId: name(), maxWaitTimeInMs: 200 });
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await consumer.run({ eachMessage: async ({ message }) => { seen.push(message.value.toString()); } });
    consumer.seek({ topic, partition, offset });
    await eventually(() => seen.includes('49'), 'the end');
    await consumer.disconnect();
    equal(seen, Array.from({ length: 20 }, (_, i) => String(30 + i)), 'records from the time on');
  },
  async offsets_are_found_by_time() {
    const topic = name();
    await create(topic);
    const base = Date.now() - 100000;
    await produce(topic, Array.from({ length: 50 }, (_, i) => ({ value: 'v', timestamp: String(base + i * 1000) })));
    // One batch holds them all; the broker must look inside.
    const found = await withAdmin((a) => a.fetchTopicOffsetsByTimestamp(topic, base + 20500));
    equal(found[0].offset, '21', 'offset');
  },
  async a_group_resumes_over_stop_and_kill() {
    for (const action of ['stop', 'kill']) {
      const topic = name();
      const group = name();
      await create(topic);
      await produce(topic, values(0, 50));
      await read(topic, 50, group);
      ctl(action);
      ctl('start');
      await produce(topic, values(50, 100));
      const rest = await read(topic, 50, group);
      equal(rest.map((m) => m.value.toString()), values(50, 100).map((m) => m.value), `values after ${action}`);
    }
  },
  async two_members_share_and_one_leaves() {
    const topic = name();
    const groupId = name();
    await create(topic, 4);
    const shares = [0, 0];
    const open = async (i) => {
      const consumer = kafka.consumer({ groupId, sessionTimeout: 10000, heartbeatInterval: 300, maxWaitTimeInMs: 200 });
      consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { shares[i] = (payload.memberAssignment[topic] || []).length; });
      await consumer.connect();
      await consumer.subscribe({ topics: [topic] });
      await consumer.run({ eachMessage: async () => {} });
      return consumer;
    };
    const a = await open(0);
    const b = await open(1);
    await eventually(() => shares[0] === 2 && shares[1] === 2, 'an even share');
    await b.disconnect();
    await eventually(() => shares[0] === 4, 'the whole for the one left');
    await a.disconnect();
  },
  async an_idempotent_producer_writes_each_record_once() {
    const topic = name();
    await create(topic);
    for (let i = 0; i < 3; i++) await produce(topic, values(i * 100, i * 100 + 100), { acks: -1 }, { idempotent: true, maxInFlightRequests: 1 });
    equal((await read(topic, 300)).length, 300, 'records');
  },
  async nothing_acknowledged_is_lost_by_a_kill_in_the_middle() {
    const topic = name();
    await create(topic, 3);
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    const acknowledged = [];
    const words = process.env.BROKER_CTL.split(' ');
    let next = 0;
    const pump = async (until) => {
      while (acknowledged.length < until) {
        // To one partition: of what goes to several leaders kafkajs forgets the part of one that has died, if the next leader
        // has taken its own part already, and tells that all was written.
        const partition = (next / 10) % 3;
        const batch = values(next, next + 10).map((m) => ({ ...m, partition }));
        next += 10;
        await producer.send({ topic, messages: batch });
        acknowledged.push(...batch.map((m) => m.value));
      }
    };
    await pump(300);
    const restarted = new Promise((done) => {
      execFile(words[0], words.slice(1).concat('kill'), () => execFile(words[0], words.slice(1).concat('start'), done));
    });
    await pump(900);
    await restarted;
    await producer.disconnect();
    const got = (await read(topic, next)).map((m) => m.value.toString());
    equal(got.length, next, 'records, without duplicates,');
    const known = new Set(got);
    equal(acknowledged.filter((v) => !known.has(v)), [], 'acknowledged and lost');
  },
  async a_record_too_large_is_refused() {
    const topic = name();
    await create(topic, 1, [{ name: 'max.message.bytes', value: '2000' }]);
    let type = 'nothing';
    try { await produce(topic, [{ value: 'x'.repeat(5000) }]); } catch (e) { type = e.type || (e.cause && e.cause.type); }
    equal(type, 'MESSAGE_TOO_LARGE', 'the error');
  },
  async a_copy_in_transactions_has_each_record_once() {
    const [source, target, groupId] = [name(), name(), name()];
    await create(source);
    await create(target, 2);
    await produce(source, values(0, 20));
    const producer = kafka.producer({ transactionalId: groupId, idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    for (let from = 0; from < 20; from += 5) {
      for (const ends of ['abort', 'commit']) {
        const transaction = await producer.transaction();
        await transaction.send({ topic: target, messages: values(from, from + 5) });
        await transaction.sendOffsets({ consumerGroupId: groupId, topics: [{ topic: source, partitions: [{ partition: 0, offset: String(from + 5) }] }] });
        await transaction[ends]();
      }
    }
    await producer.disconnect();
    // kafkajs reads committed records unless it is told otherwise.
    const copied = await read(target, 20);
    equal(copied.map((m) => Number(m.value.toString())).sort((a, b) => a - b), [...Array(20).keys()], 'the copy');
    await withAdmin(async (a) => equal((await a.fetchOffsets({ groupId, topics: [source] }))[0].partitions[0].offset, '20', 'the offset'));
  },
  async an_unknown_topic_is_unknown() {
    let type = 'nothing';
    try { await withAdmin((a) => a.fetchTopicMetadata({ topics: [name()] })); } catch (e) { type = e.type; }
    equal(type, 'UNKNOWN_TOPIC_OR_PARTITION', 'the error');
  },
};

(async () => {
  await zstd.init();
  let failed = 0;
  for (const [title, run] of Object.entries(tests)) {
    try {
      await run();
      console.log('ok', title);
    } catch (e) {
      failed++;
      console.log('not ok', `${title}: ${e.message}`);
    }
  }
  process.exit(failed ? 1 : 0);
})();
