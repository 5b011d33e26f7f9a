// inbox.mjs SDK serves the webhook handler of an SDK, and prints a JSON line for each request: what the handler answered and understood.
// The first line has the port. SDKTEST has the secret. The program ends with its input.
import { createServer } from 'node:http';

const { secret, key, number } = JSON.parse(process.env.SDKTEST);
const { inbox } = await import(`./${process.argv[2]}.mjs`);
const handle = await inbox({ secret, key, number });

// Some SDKs tell what they understood through callbacks of the whole program: requests are handled one after the other, so that none gets what
// belongs to another one.
let turn = Promise.resolve();

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const raw = Buffer.concat(chunks).toString('utf8');
  const line = { status: 200, statuses: [], messages: [], error: '' };
  const mine = turn.then(() => handle({ raw, headers: request.headers, statuses: line.statuses, messages: line.messages }));
  turn = mine.catch(() => {});
  try {
    await mine;
  } catch (e) {
    line.status = 400;
    line.error = e?.message ?? String(e);
  }
  console.log(JSON.stringify(line));
  response.writeHead(line.status).end();
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
process.stdin.on('end', () => process.exit(0)).resume();
