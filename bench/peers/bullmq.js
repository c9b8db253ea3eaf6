// SPDX-License-Identifier: Apache-2.0
// BullMQ with client and worker in this process: 64 jobs in flight, arrays of 100, and round trips.
// REDIS_PORT=… NODE_PATH=… node bullmq.js COUNT ROUND-TRIPS; prints JSON on the last line.
const { Queue, Worker, QueueEvents } = require("bullmq");

const [count, trips] = process.argv.slice(2).map(Number);
const connection = { host: "127.0.0.1", port: Number(process.env.REDIS_PORT), maxRetriesPerRequest: null };
const seconds = (since) => Number(process.hrtime.bigint() - since) / 1e9;

async function main() {
  const queue = new Queue("bench", { connection });
  const events = new QueueEvents("bench", { connection });
  await events.waitUntilReady();
  let done = 0;
  let wanted = 0;
  let finish = () => {};
  const worker = new Worker("bench", async (job) => job.data, { connection, concurrency: 10 });
  worker.on("completed", () => { done += 1; if (done === wanted) finish(); });
  const all = (n) => new Promise((resolve) => { done = 0; wanted = n; finish = resolve; });

  const measure = async (enqueue) => {
    const ended = all(count);
    const cpu = process.cpuUsage();
    const start = process.hrtime.bigint();
    await enqueue();
    const enqueued = seconds(start);
    await ended;
    const spent = process.cpuUsage(cpu);
    return [count / seconds(start), count / enqueued, (spent.user + spent.system) / count];
  };
  const single = await measure(async () => {
    let sent = 0;
    await Promise.all([...Array(64)].map(async () => { while (sent < count) { sent += 1; await queue.add("run", { n: 1 }); } }));
  });
  const bulk = await measure(async () => {
    for (let sent = 0; sent < count; sent += 100)
      await queue.addBulk([...Array(Math.min(100, count - sent))].map(() => ({ name: "run", data: { n: 1 } })));
  });
  finish = () => {};
  const times = [];
  for (let i = 0; i < trips; i += 1) {
    const start = process.hrtime.bigint();
    await (await queue.add("run", { n: 1 })).waitUntilFinished(events);
    times.push(seconds(start) * 1e3);
  }
  times.sort((a, b) => a - b);
  console.log(JSON.stringify({
    "executions/s": single[0], "accepted/s": single[1], "CPU us/execution": single[2], "executions/s, arrays of 100": bulk[0],
    "p50 ms": times[times.length >> 1], "p99 ms": times[Math.floor(times.length * 0.99)],
  }));
  await worker.close();
  await queue.close();
  await events.close();
  process.exit(0);
}

main();
