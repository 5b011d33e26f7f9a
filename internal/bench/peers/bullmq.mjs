// BullMQ with an HTTP client, used as its documentation shows, for `sluice bench peers`.
//
//   node bullmq.mjs enqueue SETTINGS   adds the jobs and ends
//   node bullmq.mjs work SETTINGS      processes jobs until SIGTERM
//
// SETTINGS is a JSON object: port of Redis, url of the far side, n jobs, concurrency, and the
// body of a message with {{i}} where nine digits of its number belong.
import { Queue, Worker } from 'bullmq'
import { Agent, request } from 'undici'

const [command, text] = process.argv.slice(2)
const settings = JSON.parse(text)
const connection = { host: '127.0.0.1', port: settings.port, maxRetriesPerRequest: null }
const queueName = 'messages'
const batch = 500
const opts = { removeOnComplete: true, attempts: 5, backoff: { type: 'exponential', delay: 1000 } }

async function enqueue () {
  const queue = new Queue(queueName, { connection })
  const job = i => ({ name: 'send', data: JSON.parse(settings.body.replace('{{i}}', String(i).padStart(9, '0'))), opts })
  for (let first = 0; first < settings.n; first += batch) {
    await queue.addBulk(Array.from({ length: Math.min(batch, settings.n - first) }, (_, k) => job(first + k)))
  }
  await queue.close()
}

function work () {
  const dispatcher = new Agent({ connections: settings.concurrency, pipelining: 1 })
  const headers = { authorization: 'Bearer rig-access-token', 'content-type': 'application/json' }
  const worker = new Worker(queueName, async job => {
    const { statusCode, body } = await request(settings.url, { method: 'POST', dispatcher, headers, body: JSON.stringify(job.data) })
    const answer = await body.json()
    if (statusCode !== 200) throw new Error(`answered ${statusCode}`)
    return answer.messages[0].id
  }, { connection, concurrency: settings.concurrency })
  process.on('SIGTERM', () => worker.close().then(() => process.exit(0)))
}

await { enqueue, work }[command]()
