// front.mjs serves a base URL at an address of this machine, for SDKs that do not use the global fetch. It makes their requests with
// it, so that run.mjs notes them. With tls, the PEM of a key and a certificate, it serves HTTPS.
import http from 'node:http';
import https from 'node:https';

export async function front(base, tls) {
  const handle = async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { host, connection, 'transfer-encoding': coding, 'content-length': length, ...headers } = request.headers;
    const answer = await fetch(base + request.url, { method: request.method, headers, body: chunks.length ? Buffer.concat(chunks) : undefined });
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'text/plain' });
    response.end(Buffer.from(await answer.arrayBuffer()));
  };
  const server = tls ? https.createServer(tls, handle) : http.createServer(handle);
  await new Promise(listening => server.listen(0, '127.0.0.1', listening));
  return { port: server.address().port, close: () => { server.close(); server.closeAllConnections(); } };
}
